# SPDX-License-Identifier: Apache-2.0
"""What to trace, as macros for the kernel side (see bpf/packet.h)."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Sequence

NAME_MAX = 15  # IFNAMSIZ - 1
_GLOB = re.compile(r"[*?\[]")


def name_macro(globs: Sequence[str]) -> str:
    """C that matches a ``char[16]`` against the globs' fixed beginnings.

    It lets through all that a glob matches, and perhaps more: the rest of the glob
    is matched in Python.
    """
    return " || ".join(sorted({_beginning(glob) for glob in globs}))


def _beginning(glob: str) -> str:
    fixed, wild = glob.encode(), False
    if found := _GLOB.search(glob):
        fixed, wild = glob[: found.start()].encode(), True
    if len(fixed) > NAME_MAX:
        raise ValueError(f"{glob!r} is longer than an interface name ({NAME_MAX} characters)")
    if not wild:
        fixed += b"\0"
    if not fixed:
        return "1"
    # Word by word: of a chain of bytes clang may make a call to bcmp, which BPF has not.
    differences = (
        f"((WORD(name, {at // 8}) ^ {_word(fixed[at : at + 8])}) & {_mask(fixed[at : at + 8])})"
        for at in range(0, len(fixed), 8)
    )
    return f"(({' | '.join(differences)}) == 0)"


def _word(part: bytes) -> str:
    return f"{int.from_bytes(part.ljust(8, bytes(1)), sys.byteorder):#018x}ull"


def _mask(part: bytes) -> str:
    return _word(b"\xff" * len(part))


def target_macro(targets: Sequence[ipaddress.IPv4Address] | None) -> str:
    """C that matches a ``__be32`` against the targets; None is any."""
    if targets is None:
        return "1"
    tests = (f"(ip) == __builtin_bswap32({int(t):#010x}u)" for t in targets)
    return "(" + " || ".join(tests) + ")"


def netns_macro(netns: int | None) -> str:
    """C that matches a network namespace's inode; None is any."""
    return "1" if netns is None else f"((inode) == {netns}u)"
