# SPDX-License-Identifier: Apache-2.0
"""Programs that listen for ARP on an interface, and so may answer in the kernel's place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Of the thread's namespace: net/packet/af_packet.c, packet_seq_show.
_SOCKETS = Path("/proc/thread-self/net/packet")
_OWN_DESCRIPTORS = Path("/proc/self/fd")
# One of all protocols (0003) only looks on, as tcpdump does.
_ARP = 0x0806
_ALL_INTERFACES = 0


@dataclass(frozen=True, slots=True)
class ArpSocket:
    """A packet socket that receives ARP alone; ``ifindex`` 0: of every interface."""

    ifindex: int
    inode: int

    def hears(self, ifindex: int) -> bool:
        return self.ifindex in (_ALL_INTERFACES, ifindex)


def sockets() -> tuple[ArpSocket, ...]:
    """Those of the thread's network namespace, without this process's own: to look for their
    owner is to look through every process. Raises OSError, ValueError.
    """
    try:
        lines = _SOCKETS.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return ()  # A kernel without packet sockets.
    there = tuple(parse(lines[1:]))
    own = set(_held(_OWN_DESCRIPTORS, frozenset(each.inode for each in there))) if there else ()
    return tuple(each for each in there if each.inode not in own)


def parse(lines: Iterable[str]) -> Iterator[ArpSocket]:
    """The lines of /proc/net/packet below its head."""
    for line in lines:
        _, _, _, protocol, ifindex, running, _, _, inode = line.split()
        if int(protocol, 16) == _ARP and int(running):
            yield ArpSocket(int(ifindex), int(inode))


def programs(found: Iterable[ArpSocket]) -> dict[int, str]:
    """Whose they are, by inode; without arpwhy's own, which take no packet
    (tracer/kernel/arp_socket.py). Looks through all processes' descriptors.
    """
    owners = {each.inode: "a program that could not be named" for each in found}
    for inode, pid in _holders(frozenset(owners)):
        if _is_arpwhy(pid):
            owners.pop(inode, None)
        elif inode in owners:
            owners[inode] = f"{_name(pid)} (pid {pid})"
    return owners


def _holders(inodes: frozenset[int]) -> Iterator[tuple[int, int]]:
    """(inode, process) of each descriptor of such a socket that may be seen."""
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        for inode in _held(descriptors, inodes):
            yield inode, int(descriptors.parent.name)


def _held(descriptors: Path, inodes: frozenset[int]) -> Iterator[int]:
    """Which of the sockets a process holds."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    # Another user's process; one that ends meanwhile; a descriptor that was closed.
    with contextlib.suppress(OSError):
        for descriptor in descriptors.iterdir():
            with contextlib.suppress(OSError):
                link = os.readlink(descriptor)  # noqa: PTH115 - no path
                if link in wanted:
                    yield wanted[link]


def _is_arpwhy(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    # Python, with its options, then our script, or our module or the loading process's.
    return any(
        os.path.basename(word) == b"arpwhy" or word.partition(b".")[0] == b"tracer"  # noqa: PTH119
        for word in words[:4]
    )


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a program"
