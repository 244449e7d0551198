# SPDX-License-Identifier: Apache-2.0
"""Interfaces as they come and go, from the kernel's link notifications."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from tracer.events import LinkGone, LinkSeen
from tracer.node import netlink, netns

_IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change
_IFLA_IFNAME = 3
_RECEIVE_BYTES = 4 << 20


class LinkWatch:
    """The interfaces of the calling thread's network namespace that match ``globs``.

    Subscribed from the moment it is made, so that nothing is missed between
    :meth:`existing` and the first :meth:`read`. ``now`` gives nanoseconds since the
    Unix epoch. Raises OSError where netlink is not to be had.
    """

    def __init__(self, globs: Sequence[str], now: Callable[[], int]) -> None:
        self._globs = tuple(globs)
        self._now = now
        self._netns = netns.own()
        self._known: dict[int, str] = {}
        self._socket = netlink.listening(netlink.RTMGRP_LINK)
        # A node may lose hundreds of pods at once; beyond this we resync.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)

    def fileno(self) -> int:
        """Readable (poll, select) when :meth:`read` has something to look at."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def existing(self) -> list[LinkSeen]:
        """Those that are there now, by index; begins the watch.

        :meth:`read` tells nothing more of these until they change. May be called again:
        it then tells of all of them again.
        """
        self._known = self._matching()
        ts = self._now()
        return [LinkSeen(ts, self._netns, *link) for link in sorted(self._known.items())]

    def read(self) -> list[LinkSeen | LinkGone]:
        """What changed since the last call; never blocks.

        One LinkSeen for each interface that appeared, one more when it is renamed
        within the globs, a LinkGone when it leaves them or the namespace.
        """
        told: list[LinkSeen | LinkGone] = []
        while True:
            try:
                data = self._socket.recv(netlink.BUFFER)
            except BlockingIOError:
                return told
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._resync(told)
                continue
            for kind, _, body in netlink.messages(data):
                self._message(kind, body, told)

    def _message(self, kind: int, body: bytes, told: list[LinkSeen | LinkGone]) -> None:
        if kind not in (netlink.RTM_NEWLINK, netlink.RTM_DELLINK):
            return
        family, _, ifindex, _, _ = _IFINFOMSG.unpack_from(body)
        if family != socket.AF_UNSPEC:
            return  # A bridge tells of its ports, which are not gone when they leave it.
        if kind == netlink.RTM_DELLINK:
            self._gone(ifindex, told)
        else:
            self._seen(ifindex, _name(body), told)

    def _seen(self, ifindex: int, name: str, told: list[LinkSeen | LinkGone]) -> None:
        if not self._matches(name):
            self._gone(ifindex, told)
        elif self._known.get(ifindex) != name:
            self._known[ifindex] = name
            told.append(LinkSeen(self._now(), self._netns, ifindex, name))

    def _gone(self, ifindex: int, told: list[LinkSeen | LinkGone]) -> None:
        name = self._known.pop(ifindex, None)
        if name is not None:
            told.append(LinkGone(self._now(), self._netns, ifindex, name))

    def _resync(self, told: list[LinkSeen | LinkGone]) -> None:
        """Notifications were lost: compares with what is there now."""
        there = self._matching()
        for ifindex in [index for index in self._known if index not in there]:
            self._gone(ifindex, told)
        for ifindex, name in there.items():
            self._seen(ifindex, name, told)

    def _matching(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for body in netlink.dump(netlink.RTM_GETLINK, _IFINFOMSG.pack(0, 0, 0, 0, 0)):
            ifindex, name = _IFINFOMSG.unpack_from(body)[2], _name(body)
            if self._matches(name):
                found[ifindex] = name
        return found

    def _matches(self, name: str) -> bool:
        return any(fnmatchcase(name, glob) for glob in self._globs)


def _name(body: bytes) -> str:
    raw = netlink.attributes(body, _IFINFOMSG.size).get(_IFLA_IFNAME, b"")
    return raw.rstrip(b"\0").decode("utf-8", "surrogateescape")
