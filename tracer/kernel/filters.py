# SPDX-License-Identifier: Apache-2.0
"""What to trace, as macros for the kernel side (see bpf/packet.h)."""

from __future__ import annotations

import ipaddress
import re
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
    return "(" + " && ".join(f"(name)[{i}] == {byte}" for i, byte in enumerate(fixed)) + ")"


def target_macro(targets: Sequence[ipaddress.IPv4Address] | None) -> str:
    """C that matches a ``__be32`` against the targets; None is any."""
    if targets is None:
        return "1"
    tests = (f"(ip) == __builtin_bswap32({int(t):#010x}u)" for t in targets)
    return "(" + " || ".join(tests) + ")"


def netns_macro(netns: int | None) -> str:
    """C that matches a network namespace's inode; None is any."""
    return "1" if netns is None else f"((inode) == {netns}u)"
