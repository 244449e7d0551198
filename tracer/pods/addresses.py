# SPDX-License-Identifier: Apache-2.0
"""Which addresses are behind an interface whose name says nothing, as the node knows it.

A /32 route through the interface, else its neighbours. Looked up on a thread of its own:
once for each interface that is asked for, and again when the kernel tells of a change.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tracer.node import addresses, link, netlink, routes
from tracer.node.link import IFINFOMSG
from tracer.node.netlink import Connection

# linux/rtnetlink.h: RTNLGRP_LINK, NEIGH, IPV4_ROUTE; and the messages they carry.
_GROUPS = sum(1 << (number - 1) for number in (1, 3, 7))
_RTM_DELROUTE, _RTM_NEWNEIGH, _RTM_DELNEIGH = 25, 28, 29
_RTMSG_SIZE, _RTA_OIF = 12, 4
_NDMSG = struct.Struct("=BxxxiHBB")
# Links with one workload behind them. A bridge's or an uplink's neighbours are many.
_OF_ONE = frozenset({"veth", "netkit", "tun", "macvtap", "ipvtap"})
_PAUSE_S = 0.5  # neighbours change often


class Behind(NamedTuple):
    """``since``: monotonic seconds, when this became so. ``ifindex`` 0: not looked at yet."""

    addresses: tuple[str, ...]
    since: float
    ifindex: int = 0


class Addresses:
    """A call is a look-up in a dictionary, from any thread.

    Interfaces are those of the network namespace of who calls. Nothing runs before the
    first call: most nodes have no such interfaces.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[str, Behind] = {}
        self._orders: deque[str] = deque()
        self._stop = False
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __call__(self, interface: str) -> Behind:
        """What is known by now. The first call for an interface has it looked up."""
        found = self._found.get(interface)
        if found is None:
            found = self._found[interface] = Behind((), self._clock())
            self._orders.append(interface)
            self._wake()
        return found

    def close(self) -> None:
        self._stop = True
        if self._thread is not None:
            self._wake()
            self._thread.join(1.0)

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None:
                # A daemon: it must not keep the process from ending.
                self._thread = threading.Thread(
                    target=self._run, name="pods' addresses", daemon=True
                )
                self._thread.start()
        with contextlib.suppress(BlockingIOError):  # it is full of wake-ups already
            os.write(self._write_fd, b"\0")

    def _run(self) -> None:
        try:
            sock = netlink.listening(_GROUPS)
        except OSError:  # there is no netlink, so there are no names
            return
        with sock:
            self._look_and_listen(sock)

    def _look_and_listen(self, sock: socket.socket) -> None:
        poll = select.poll()
        poll.register(self._read_fd, select.POLLIN)
        poll.register(sock, select.POLLIN)
        changed: set[str] = set()
        next_look = 0.0
        while not self._stop:
            wait_s = max(0.0, next_look - self._clock())
            ready = dict(poll.poll(wait_s * 1000 if changed else None))
            if self._read_fd in ready:
                os.read(self._read_fd, 4096)
            while self._orders:
                self._look(self._orders.popleft())
            if sock.fileno() in ready:
                changed |= self._told(sock)
            if changed and self._clock() >= next_look:
                for interface in changed:
                    self._look(interface)
                changed.clear()
                next_look = self._clock() + _PAUSE_S

    def _told(self, sock: socket.socket) -> set[str]:
        """Which of the interfaces that were asked for the kernel tells of."""
        names = {found.ifindex: name for name, found in self._found.copy().items()}
        told: set[str] = set()
        while True:
            try:
                data = sock.recv(netlink.BUFFER)
            except BlockingIOError:
                return told
            except OSError:  # some were lost
                told.update(names.values())
                continue
            for kind, _, body in netlink.messages(data):
                if kind in (netlink.RTM_NEWLINK, netlink.RTM_DELLINK):
                    told.add(link.parse(body).name)
                told.add(names.get(_index(kind, body), ""))
            told &= self._found.keys()

    def _look(self, interface: str) -> None:
        try:
            ifindex = socket.if_nametoindex(interface)
            with Connection() as connection:
                found = tuple(sorted(_behind(connection, ifindex)))
        except OSError:  # it is gone; who asks again has it looked up again
            self._found.pop(interface, None)
            return
        old = self._found.get(interface)
        if old is None or (old.addresses, old.ifindex) != (found, ifindex):
            self._found[interface] = Behind(found, self._clock(), ifindex)


def _behind(connection: Connection, ifindex: int) -> set[str]:
    hosts = frozenset({32})
    found = {
        str(route.network.network_address)
        for route in routes.of_type(connection, routes.UNICAST, ifindex=ifindex, lengths=hosts)
    }
    if found:
        return found
    itself = link.parse(connection.ask(netlink.RTM_GETLINK, link.question(ifindex)))
    if itself.kind not in _OF_ONE:
        return set()
    heard = (each for each in addresses.neighbours(connection) if each.mac is not None)
    return {each.ip for each in heard if each.ifindex == ifindex}


def _index(kind: int, body: bytes) -> int:
    """Of the interface that a message is about; 0 if of none."""
    if kind in (netlink.RTM_NEWLINK, netlink.RTM_DELLINK):
        return int(IFINFOMSG.unpack_from(body)[2])
    if kind in (_RTM_NEWNEIGH, _RTM_DELNEIGH):
        return int(_NDMSG.unpack_from(body)[1])
    if kind in (netlink.RTM_NEWROUTE, _RTM_DELROUTE):
        return netlink.number(netlink.attributes(body, _RTMSG_SIZE).get(_RTA_OIF)) or 0
    return 0
