# SPDX-License-Identifier: Apache-2.0
"""Legacy arptables' built-in chains (arptables-nft's are nftables chains)."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LOADED = Path("/proc/thread-self/net/arp_tables_names")
_TABLE = b"filter"
# linux/netfilter_arp/arp_tables.h: struct arpt_getinfo (name, valid hooks, where each hook's
# chain begins, where its policy is, entries, bytes), arpt_get_entries, arpt_entry.
_GET_INFO, _GET_ENTRIES = 96, 97
_INFO = struct.Struct("=32sI3I3III")
_ENTRIES = struct.Struct("=32sI4x")  # its entries are aligned to 8
_OPERATION, _OFFSETS = 82, 164
_INTERFACES = {"INPUT": (94, 126), "OUTPUT": (110, 142)}  # name and mask
_TARGET_HEADER = 32  # struct xt_entry_target
_DROP, _ACCEPT = -1, -2  # -NF_DROP - 1
_OPERATIONS = {"INPUT": bytes.fromhex("0001ffff"), "OUTPUT": bytes.fromhex("0002ffff")}

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Rule:
    """``verdict`` is the kernel's own number; None for a target that is no verdict.

    ``plain``: it asks for nothing but the interface, and a request (OUTPUT: a reply).
    """

    verdict: int | None
    plain: bool
    interface: bytes
    mask: bytes

    def meets(self, interface: str) -> bool:
        name = interface.encode(errors="surrogateescape").ljust(16, b"\0")
        wanted = zip(name, self.interface, self.mask, strict=True)
        return not any((own ^ other) & mask for own, other, mask in wanted)


@dataclass(frozen=True, slots=True)
class Chain:
    """``drops``: its policy."""

    name: str
    rules: tuple[Rule, ...]
    drops: bool

    def __str__(self) -> str:
        return f"arptables {self.name}"

    def drops_on(self, interface: str) -> bool | None:
        """Whether it drops every ARP request that comes in by the interface (OUTPUT: every
        reply that goes out by it); False: none; None: it depends.
        """
        for rule in self.rules:
            if not rule.plain or rule.verdict not in (_DROP, _ACCEPT):
                return None
            if rule.meets(interface):
                return rule.verdict == _DROP
        return self.drops


def chains() -> tuple[Chain, ...]:
    """Those of the thread's namespace that have rules or drop. Raises OSError.

    Only asked for where the table is there already: the question itself would load it.
    """
    try:
        if _TABLE not in _LOADED.read_bytes().split():
            return ()
    except FileNotFoundError:
        return ()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        info = _ask(sock, _GET_INFO, _INFO.pack(_TABLE, *(9 * (0,))))
        size = _INFO.unpack(info)[-1]
        entries = _ask(sock, _GET_ENTRIES, _ENTRIES.pack(_TABLE, size) + bytes(size))
    return tuple(parse(info, entries[_ENTRIES.size :]))


def parse(info: bytes, entries: bytes) -> Iterator[Chain]:
    """What the two questions were answered with; chains that do nothing left out."""
    places = _INFO.unpack(info)
    for number, name in enumerate(_INTERFACES):
        at, policy = places[2 + number], places[5 + number]
        rules = []
        while at < policy:
            rules.append(_rule(entries, at, name))
            at += _length(entries, at)
        drops = _verdict(entries, policy) == _DROP
        if rules or drops:
            yield Chain(name, tuple(rules), drops)


def _rule(entries: bytes, at: int, chain: str) -> Rule:
    entry = bytearray(entries[at : at + _OFFSETS])
    interface, mask = (bytes(entry[where : where + 16]) for where in _INTERFACES[chain])
    operation = bytes(entry[_OPERATION : _OPERATION + 4])
    for where, length in ((_OPERATION, 4), *((each, 16) for each in _INTERFACES[chain])):
        entry[where : where + length] = bytes(length)
    plain = operation in (bytes(4), _OPERATIONS[chain]) and not any(entry)
    return Rule(_verdict(entries, at), plain, interface, mask)


def _verdict(entries: bytes, at: int) -> int | None:
    """Of the standard target, which has no name."""
    target = at + struct.unpack_from("=H", entries, at + _OFFSETS)[0]
    if entries[target + 2]:
        return None
    return int(struct.unpack_from("=i", entries, target + _TARGET_HEADER)[0])


def _length(entries: bytes, at: int) -> int:
    return max(1, int(struct.unpack_from("=H", entries, at + _OFFSETS + 2)[0]))


def _ask(sock: socket.socket, option: int, question: bytes) -> bytes:
    """getsockopt with something in the buffer, which Python's cannot do."""
    buffer = ctypes.create_string_buffer(question, len(question))
    length = ctypes.c_uint32(len(question))
    asked = _libc.getsockopt(sock.fileno(), socket.SOL_IP, option, buffer, ctypes.byref(length))
    if asked != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw[: length.value]
