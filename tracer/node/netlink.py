# SPDX-License-Identifier: Apache-2.0
"""The few bytes of netlink that the look at the node needs.

pyroute2 takes about a millisecond a message and a fifth of a second to be imported, its
socket classes differ between 0.7 and 0.9 in how they wait, and 0.9 does not hand dump
filters to the kernel. Here a look asks a dozen questions, a survey of a thousand
interfaces several thousand; link events need a file descriptor that poll understands.
Layouts: linux/netlink.h, linux/rtnetlink.h, linux/netfilter/nfnetlink.h.
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
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_GETROUTE = 26
RTM_GETNEIGH = 30
RTM_GETRULE = 34
RTM_GETQDISC = 38
RTM_GETTFILTER = 46
RTM_GETNSID = 90
RTMGRP_LINK = 1
ROUTE, NETFILTER = 0, 12  # NETLINK_ROUTE, NETLINK_NETFILTER

_NLM_F_REQUEST = 0x1
_NLM_F_DUMP_INTR = 0x10
_NLM_F_DUMP = 0x300
_SOL_NETLINK = 270
_NETLINK_GET_STRICT_CHK = 12
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, seq, pid
_NUMBER = struct.Struct("=I")
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
BUFFER = 1 << 17
_TRIES = 5


class DumpInterruptedError(OSError):
    """The dumped table changed every time while it was read."""


def listening(groups: int, protocol: int = ROUTE) -> socket.socket:
    """A non-blocking socket bound to these groups, of the thread's namespace."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.bind((0, groups))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, flags, body) of each message in ``data``."""
    for kind, flags, _, body in _messages(data):
        yield kind, flags, body


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """With its sequence number."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            raise ValueError("truncated netlink message")
        yield kind, flags, sequence, data[at + _HEADER.size : at + length]
        at += _aligned(length)


def attributes(body: bytes, start: int) -> dict[int, bytes]:
    """The attributes that follow a message's fixed part, which is ``start`` bytes long."""
    return dict(each(body, start))


def each(body: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """The same one by one: a list has several of one kind."""
    at = start
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size or at + length > len(body):
            raise ValueError("truncated netlink attribute")
        yield kind & _TYPE_MASK, body[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute of a request."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def number(raw: bytes | None) -> int | None:
    """An attribute that holds a 32-bit number in the machine's byte order."""
    return None if raw is None else int(_NUMBER.unpack(raw)[0])


def text(raw: bytes | None) -> str | None:
    """An attribute that holds a name."""
    return None if raw is None else raw.rstrip(b"\0").decode("utf-8", "surrogateescape")


class Connection:
    """A socket that asks the kernel about the network namespace it was made in.

    Raises OSError where netlink is not to be had. Not to be shared between threads.
    """

    def __init__(self, protocol: int = ROUTE) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        self._socket.settimeout(5.0)
        self._sequence = 0
        with contextlib.suppress(OSError):  # Before 4.20: the caller filters.
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, kind: int, body: bytes) -> bytes:
        """The body of the one answer. Raises OSError, with the kernel's errno if it refuses."""
        self._send(kind, _NLM_F_REQUEST, body)
        for answer, _, content in self._answers():
            if answer == NLMSG_ERROR:
                raise _refusal(content)
            return content
        raise AssertionError("answers do not end by themselves")

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The bodies of a dump's messages.

        ``body`` is the request's fixed part and attributes; since Linux 4.20 they filter
        the dump in the kernel, before that they do not. Raises OSError.
        """
        for _ in range(_TRIES):
            self._send(kind, _NLM_F_REQUEST | _NLM_F_DUMP, body)
            answers: list[bytes] = []
            whole = True
            for answer, flags, content in self._answers():
                whole = whole and not flags & _NLM_F_DUMP_INTR
                if answer == NLMSG_DONE and not any(content[:4]):
                    break
                if answer in (NLMSG_DONE, NLMSG_ERROR):  # a dump that fails says so at its end
                    raise _refusal(content)
                answers.append(content)
            if whole:
                return answers
        raise DumpInterruptedError("the table changed during each of several dumps")

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0)
        self._socket.sendto(header + body, (0, 0))

    def _answers(self) -> Iterator[tuple[int, int, bytes]]:
        """Those to the last request: an earlier dump may have been given up half-way."""
        while True:
            data = self._socket.recv(BUFFER)
            for kind, flags, sequence, body in _messages(data):
                if sequence == self._sequence:
                    yield kind, flags, body


def dump(kind: int, body: bytes) -> list[bytes]:
    """:meth:`Connection.dump`, asked of routing netlink in the thread's namespace."""
    with Connection() as connection:
        return connection.dump(kind, body)


def _refusal(content: bytes) -> OSError:
    errno = -struct.unpack_from("=i", content)[0]
    return OSError(errno, os.strerror(errno))


def _aligned(length: int) -> int:
    return (length + 3) & ~3
