# SPDX-License-Identifier: Apache-2.0
"""What one look, or one survey of many interfaces, reads of the node: each thing once."""

from __future__ import annotations

from functools import cached_property

from tracer.node import (
    addresses,
    arptables,
    link,
    listeners,
    netlink,
    nftables,
    routes,
    sysctl,
    traffic_control,
)
from tracer.node.link import Link
from tracer.node.listeners import ArpSocket
from tracer.node.netlink import Connection
from tracer.node.refusals import Refusals
from tracer.node.traffic_control import Qdiscs


class Moment:
    """Of the network namespace that the thread is in, which it must not leave meanwhile.

    Everything is read when it is first asked for. All raise OSError.
    """

    def __init__(self) -> None:
        self.route = Connection()
        self.refusals = Refusals(self.route)
        self._links: dict[int, Link] = {}
        self._rules: dict[int, tuple[nftables.Rule, ...]] = {}

    def close(self) -> None:
        self.route.close()

    def __enter__(self) -> Moment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read_links(self) -> dict[int, Link]:
        """All interfaces at once, cheaper than one by one; by index."""
        bodies = self.route.dump(netlink.RTM_GETLINK, link.question())
        self._links = {each.ifindex: each for each in map(link.parse, bodies)}
        return self._links

    def link(self, ifindex: int) -> Link:
        if ifindex not in self._links:
            body = self.route.ask(netlink.RTM_GETLINK, link.question(ifindex))
            self._links[ifindex] = link.parse(body)
        return self._links[ifindex]

    def setting(self, owner: str, name: str) -> int:
        """A sysctl of net.ipv4.conf of ``all`` or ``default``."""
        return self._settings[owner, name]

    @cached_property
    def _settings(self) -> dict[tuple[str, str], int]:
        names = ("proxy_arp", "rp_filter", "arp_ignore", "arp_filter", "forwarding")
        wanted = [("all", name) for name in names]
        return {
            each: sysctl.read(sysctl.of_interface(*each))
            for each in (*wanted, ("default", "rp_filter"))
        }

    @cached_property
    def qdiscs(self) -> dict[int, Qdiscs]:
        return traffic_control.qdiscs(self.route)

    @cached_property
    def owners(self) -> dict[str, int]:
        return addresses.owners(self.route)

    @cached_property
    def gateways(self) -> frozenset[int]:
        return routes.gateways(self.route)

    @cached_property
    def proxied(self) -> set[tuple[int, str]]:
        return addresses.proxied(self.route)

    @cached_property
    def arp_chains(self) -> tuple[nftables.Chain, ...]:
        with Connection(netlink.NETFILTER) as connection:
            return nftables.chains(connection, nftables.ARP)

    @cached_property
    def netdev_chains(self) -> tuple[nftables.Chain, ...]:
        with Connection(netlink.NETFILTER) as connection:
            return nftables.chains(connection, nftables.NETDEV)

    def rules(self, family: int) -> tuple[nftables.Rule, ...]:
        """nftables' of that family."""
        if family not in self._rules:
            with Connection(netlink.NETFILTER) as connection:
                self._rules[family] = nftables.rules(connection, family)
        return self._rules[family]

    @cached_property
    def arp_sockets(self) -> tuple[ArpSocket, ...]:
        return listeners.sockets()

    @cached_property
    def arp_programs(self) -> dict[int, str]:
        return listeners.programs(self.arp_sockets)

    @cached_property
    def arptables(self) -> tuple[arptables.Chain, ...]:
        return arptables.chains()
