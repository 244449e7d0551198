# SPDX-License-Identifier: Apache-2.0
"""The few bytes of rtnetlink that pyroute2 is too slow or too unlike itself for.

pyroute2 takes about a millisecond a message, its socket classes differ between 0.7 and
0.9 in how they wait, and 0.9 does not hand dump filters to the kernel. Link events of a
node with thousands of interfaces and dumps of large routing tables need a header, a few
attributes, and a file descriptor that poll understands. Layouts: linux/netlink.h,
linux/rtnetlink.h.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator

NLMSG_ERROR = 2
NLMSG_DONE = 3
RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWROUTE = 24
RTM_GETROUTE = 26
RTMGRP_LINK = 1

_NLM_F_REQUEST = 0x1
_NLM_F_DUMP_INTR = 0x10
_NLM_F_DUMP = 0x300
_SOL_NETLINK = 270
_NETLINK_GET_STRICT_CHK = 12
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, seq, pid
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
BUFFER = 1 << 17
_TRIES = 5


class DumpInterruptedError(OSError):
    """The dumped table changed every time while it was read."""


def listening(groups: int) -> socket.socket:
    """A non-blocking socket bound to the rtnetlink groups of the thread's namespace."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        sock.bind((0, groups))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, flags, body) of each message in ``data``."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            raise ValueError("truncated netlink message")
        yield kind, flags, data[at + _HEADER.size : at + length]
        at += _aligned(length)


def attributes(body: bytes, start: int) -> dict[int, bytes]:
    """The attributes that follow a message's fixed part, which is ``start`` bytes long."""
    found: dict[int, bytes] = {}
    at = start
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size or at + length > len(body):
            raise ValueError("truncated netlink attribute")
        found[kind & _TYPE_MASK] = body[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return found


def dump(kind: int, body: bytes) -> list[bytes]:
    """The bodies of a dump's messages, in the thread's namespace.

    ``body`` is the request's fixed part; since Linux 4.20 its fields filter the dump in
    the kernel, before that they do not. Raises OSError.
    """
    for _ in range(_TRIES):
        answers = _dump_once(kind, body)
        if answers is not None:
            return answers
    raise DumpInterruptedError("the table changed during each of several dumps")


def _dump_once(kind: int, body: bytes) -> list[bytes] | None:
    answers: list[bytes] = []
    whole = True
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as sock:
        sock.settimeout(5.0)
        with contextlib.suppress(OSError):  # Before 4.20: the caller filters.
            sock.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        flags = _NLM_F_REQUEST | _NLM_F_DUMP
        sock.sendto(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body, (0, 0))
        while True:
            for answer, flags, content in messages(sock.recv(BUFFER)):
                whole = whole and not flags & _NLM_F_DUMP_INTR
                if answer == NLMSG_DONE:
                    return answers if whole else None
                if answer == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", content)[0]
                    raise OSError(number, f"netlink dump: {os.strerror(number)}")
                answers.append(content)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
