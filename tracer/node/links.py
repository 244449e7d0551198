# SPDX-License-Identifier: Apache-2.0
"""Interfaces as they come and go, from the kernel's link notifications."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from tracer.events import LinkGone, LinkSeen
from tracer.node import link, netlink, netns, pod_link, routes
from tracer.node.link import IFINFOMSG, Link

_RECEIVE_BYTES = 4 << 20

_State = tuple[str, str | None, str | None]  # name, blind, not_pod


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
        self._known: dict[int, _State] = {}
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
        there = self._matching()
        self._known = {ifindex: _state(each) for ifindex, each in there.items()}
        ts = self._now()
        return [LinkSeen(ts, self._netns, index, *self._known[index]) for index in sorted(there)]

    def read(self) -> list[LinkSeen | LinkGone]:
        """What changed since the last call; never blocks.

        One LinkSeen for each interface that appeared, one more when it is renamed within
        the globs, goes blind or sees again; a LinkGone when it leaves them or the namespace.
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
        family, _, ifindex, _, _ = IFINFOMSG.unpack_from(body)
        if family != socket.AF_UNSPEC:
            return  # A bridge tells of its ports, which are not gone when they leave it.
        if kind == netlink.RTM_DELLINK:
            self._gone(ifindex, told)
        else:
            self._seen(link.parse(body), told)

    def _seen(self, seen: Link, told: list[LinkSeen | LinkGone]) -> None:
        if not self._matches(seen.name):
            self._gone(seen.ifindex, told)
        elif self._known.get(seen.ifindex) != (state := _state(seen)):
            self._known[seen.ifindex] = state
            told.append(LinkSeen(self._now(), self._netns, seen.ifindex, *state))

    def _gone(self, ifindex: int, told: list[LinkSeen | LinkGone]) -> None:
        if ifindex in self._known:
            name = self._known.pop(ifindex)[0]
            told.append(LinkGone(self._now(), self._netns, ifindex, name))

    def _resync(self, told: list[LinkSeen | LinkGone]) -> None:
        """Notifications were lost: compares with what is there now."""
        there = self._matching()
        for ifindex in [index for index in self._known if index not in there]:
            self._gone(ifindex, told)
        for each in there.values():
            self._seen(each, told)

    def _matching(self) -> dict[int, Link]:
        dumped = netlink.dump(netlink.RTM_GETLINK, link.question())
        links = [link.parse(body) for body in dumped]
        return {each.ifindex: each for each in links if self._matches(each.name)}

    def _matches(self, name: str) -> bool:
        return any(fnmatchcase(name, glob) for glob in self._globs)


def _state(seen: Link) -> _State:
    return seen.name, seen.blind, _not_pod(seen)


def _not_pod(seen: Link) -> str | None:
    try:
        return pod_link.why_not(seen, _gateways)
    except OSError:
        return None  # Judged, as long as nothing says that it is none.


def _gateways() -> frozenset[int]:
    connection = netlink.Connection()
    try:
        return routes.gateways(connection)
    finally:
        connection.close()
