# SPDX-License-Identifier: Apache-2.0
"""A pod: its namespace, its eth0, and what it can ask of its gateway."""

from __future__ import annotations

import shutil
import socket
import subprocess
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import frames, links, traffic
from .errors import Unavailable
from .names import GATEWAY, HOST_MAC
from .netns import Netns
from .traffic import Tally

if TYPE_CHECKING:
    from .bench import Lab

OUTSIDE = "8.8.8.8"  # lives in the lab's own fabric namespace


class Pod(Netns):
    """``interface`` is its end on the node; inside it is eth0. Made by ``Lab.add_pod``."""

    def __init__(
        self, lab: Lab, *, name: str, namespace: str, interface: str, address: str, rp_filter: int
    ) -> None:
        super().__init__(f"{lab.name}-{name}", lab.adopt)
        self.lab = lab
        self.name = name
        self.namespace = namespace
        self.interface = interface
        self.address = address
        self.rp_filter = rp_filter

    def record(self) -> dict[str, Any]:
        """The constructor's arguments, for the lab's state."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "interface": self.interface,
            "address": self.address,
            "rp_filter": self.rp_filter,
        }

    @cached_property
    def mac(self) -> str:
        """The MAC address of eth0."""

        def inside(ipr: Any) -> str:
            link = next(iter(ipr.get_links(links.index(ipr, "eth0"))))
            return str(link.get_attr("IFLA_ADDRESS"))

        return self.netlink(inside)

    def delete(self) -> None:
        """Mend what is broken on it and remove it; name, interface and address are free again."""
        self.lab.delete_pod(self)

    def socket(self) -> socket.socket:
        """A raw AF_PACKET socket on eth0 that sends any frame and receives all ARP."""
        return self.lab.keep(self.call(lambda: traffic.packet_socket("eth0")))

    def send(self, frame: bytes, count: int = 1) -> None:
        """Send an arbitrary frame ``count`` times."""
        with self.call(lambda: traffic.packet_socket("eth0")) as sock:
            for _ in range(count):
                sock.send(frame)

    def request(
        self,
        target: str = GATEWAY,
        sender: str | None = None,
        *,
        destination: str = frames.BROADCAST,
    ) -> bytes:
        """The frame of an ARP request from this pod."""
        return frames.arp(
            frames.REQUEST,
            sender_mac=self.mac,
            sender_ip=self.address if sender is None else sender,
            target_ip=target,
            destination=destination,
        )

    def line(
        self,
        target: str = GATEWAY,
        sender: str | None = None,
        *,
        destination: str = frames.BROADCAST,
    ) -> traffic.Line:
        """A :class:`lab.traffic.Line` for such requests; the caller closes it."""
        frame = self.lab.frame(self, self.request(target, sender, destination=destination))
        # A fault may have the pod ask as somebody else: the reply goes to that address.
        sender = frames.sender_ip(frame)
        return traffic.Line(self, frame, target, sender, answers=self.lab.answers(self))

    def ask(
        self,
        count: int = 1,
        target: str = GATEWAY,
        sender: str | None = None,
        *,
        interval: float = 0.0,
        settle: float = 0.3,
        alone: bool = False,
        destination: str = frames.BROADCAST,
    ) -> Tally:
        """Send exactly ``count`` requests and count the replies ``target -> sender``.

        ``interval``: seconds between requests, 0 for as fast as it can. ``settle``: how
        long (seconds) nothing must come before missing replies are given up; give more
        than proxy_delay where that is on. ``alone``: see :func:`lab.traffic.exchange`; what
        is deferred is counted exactly only so.
        """
        return traffic.with_lines(
            [lambda: self.line(target, sender, destination=destination)],
            lambda lines: traffic.exchange(
                lines, [count], interval=interval, settle=settle, alone=alone
            ),
        )[0]

    def probe(self, count: int = 1, target: str = GATEWAY, **options: Any) -> Tally:
        """RFC 5227 probes: sender 0.0.0.0. The kernel does not answer them by proxy."""
        return self.ask(count, target, "0.0.0.0", **options)

    def announce(self, count: int = 1, **options: Any) -> Tally:
        """Gratuitous announcements: sender and target are the pod's own address."""
        return self.ask(count, self.address, **options)

    def unicast(self, count: int = 1, target: str = GATEWAY, **options: Any) -> Tally:
        """Requests to the host side's MAC address: answered at once even with proxy_delay."""
        return self.ask(count, target, destination=HOST_MAC, **options)

    def resolve(self, seconds: int = 3, address: str = OUTSIDE) -> subprocess.Popen[Any]:
        """Let the pod's own kernel ask, once a second while unanswered, as in the incident.

        A ping that ends by itself after ``seconds``; the lab ends it at the latest.
        """
        if shutil.which("ping") is None:
            raise Unavailable("ping: not installed (Debian: iputils-ping)")
        return self.popen(
            ["ping", "-n", "-c", str(seconds), "-i", "1", address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ping_gateway(self, seconds: int = 1, address: str = OUTSIDE) -> bool:
        """Whether the world behind the gateway answers one ping within ``seconds``."""
        if shutil.which("ping") is None:
            raise Unavailable("ping: not installed (Debian: iputils-ping)")
        done = self.run(["ping", "-n", "-c", "1", "-w", str(seconds), address])
        return done.returncode == 0
