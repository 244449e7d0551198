# SPDX-License-Identifier: Apache-2.0
"""Fills a Look, in the network namespace that the thread is in."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from tracer.node import addresses, claims, nftables, routes, sysctl, tcx, traffic_control
from tracer.node.look import STAND_IN, Dropping, Look, Refusal, RouteAnswer, Unserved
from tracer.node.moment import Moment
from tracer.node.refusals import Question

T = TypeVar("T")

_OF_ALL = {
    "proxy_arp_all": "proxy_arp",
    "rp_filter_all": "rp_filter",
    "arp_ignore_all": "arp_ignore",
    "arp_filter_all": "arp_filter",
    "ip_forward": "forwarding",  # the same variable (net/ipv4/devinet.c, ctl_forward_entry)
}
_OF_INTERFACE = {
    "proxy_arp_interface": "proxy_arp",
    "proxy_arp_pvlan": "proxy_arp_pvlan",
    "medium_id": "medium_id",
    "forwarding": "forwarding",
    "rp_filter_interface": "rp_filter",
    "arp_ignore_interface": "arp_ignore",
    "arp_filter_interface": "arp_filter",
    "route_localnet": "route_localnet",
    "accept_local": "accept_local",
}
_PLACES = frozenset({"ingress", "egress", "arp_input", "arp_output"})


class Reading:
    """One interface, one sender, one target. ``found`` has fields of Look, and ``failures``
    what could not be read, each with its name.
    """

    def __init__(
        self, moment: Moment, ifindex: int, interface: str, sender_ip: str, target_ip: str
    ) -> None:
        self.found: dict[str, Any] = {}
        self.failures: list[str] = []
        self._moment = moment
        self._ifindex = ifindex
        self._interface = interface
        self._sender = sender_ip
        self._target = target_ip

    def read(self, *, filters: bool) -> None:
        """Never raises for what the node looks like."""
        try:
            self._link()
        except (OSError, ValueError) as error:
            self._failed(f"interface {self._interface} (index {self._ifindex})", error)
            return
        self._sysctls()
        self._routes()
        self.found["proxy_entry"] = self._try("proxy neighbours", self._proxy_entry)
        self.found["arp_listeners"] = self._try("packet sockets", self._listeners)
        if filters:
            self._traffic_control()
            self._netfilter()

    def look(self, netns: int, netns_path: str | None = None) -> Look:
        """What was read, so far."""
        return Look(
            netns=netns,
            ifindex=self._ifindex,
            sender_ip=self._sender,
            target_ip=self._target,
            netns_path=netns_path,
            failures=tuple(self.failures),
            **{"interface": self._interface, **self.found},
        )

    def _link(self) -> None:
        link = self._moment.link(self._ifindex)
        self._interface = link.name  # it may be renamed
        master = routes.interface_name(link.master)
        self.found |= {
            "interface": link.name,
            "up": link.up,
            "carrier": link.carrier,
            "noarp": link.noarp,
            "mac": link.mac,
            "master": master or (None if link.master is None else str(link.master)),
            "master_kind": link.master_kind,
            "xdp": link.xdp,
        }
        if not link.conf:
            self.failures.append(f"net.ipv4.conf.{link.name}: IPv4 is not on the interface")
        self.found |= {field: link.conf.get(name) for field, name in _OF_INTERFACE.items()}

    def _sysctls(self) -> None:
        for field, name in _OF_ALL.items():
            key = f"net.ipv4.conf.all.{name}"
            self.found[field] = self._try(key, partial(self._moment.setting, "all", name))
        for name in ("proxy_delay", "proxy_qlen"):
            path = sysctl.of_neighbours(self._interface, name)
            self.found[name] = self._try(str(path), partial(sysctl.read, path))

    def _routes(self) -> None:
        found = self.found
        sender = self._sender or STAND_IN
        try:
            route = found["route"] = routes.ask(
                self._moment.route, self._target, sender, self._ifindex
            )
            if not route.ok or not found.get("forwarding"):
                # With forwarding off whatever fails fails alike. And a blackhole for the target
                # fails as a sender does that was not valid: alone, there is no sender.
                found["route_from_node"] = routes.ask(self._moment.route, self._target)
            if self._sender:
                found["sender_route"] = routes.ask(self._moment.route, self._sender)
        except OSError as error:
            self._failed("route", error)
            return
        if route.ok and route.out_ifindex is not None:
            out = route.out_ifindex
            found["medium_id_out"] = self._try(
                "medium_id of the way out", lambda: self._moment.link(out).conf.get("medium_id")
            )
        found["refused_by"] = self._try("what refuses the target", self._refused)
        found["unserved"] = self._try("what would lead to the target", self._unserved)
        found["sender_refused_by"] = self._try("what refuses the sender", self._sender_refused)
        ways = (route, found.get("route_from_node"))
        found["target_owner"] = self._try("addresses", partial(self._owner, self._target, *ways))
        way = found.get("sender_route")
        found["sender_owner"] = self._try("addresses", partial(self._owner, self._sender, way))

        if way is not None and not (route.ok and way.ok and way.out_ifindex == self._ifindex):
            found["sender_others"] = self._try("whose the sender's address is", self._others)

    def _others(self) -> tuple[str, ...]:
        return claims.others(self._moment.route, self._sender, self._ifindex)

    def _refused(self) -> Refusal | None:
        refusals = self._moment.refusals
        route: RouteAnswer = self.found["route"]
        alone: RouteAnswer | None = self.found.get("route_from_node")
        asked = self._asked()
        if route.ok:
            served = route.type == "unicast" and route.out_ifindex != self._ifindex
            return None if served or route.type == "local" else refusals.leads(asked)
        # With forwarding off whatever fails fails alike.
        number = route.errno if self.found.get("forwarding") else None
        if alone is not None and alone.ok and alone.type not in ("unicast", "local"):
            return refusals.leads(asked)  # A martian destination.
        return refusals.by_errno(number, asked)

    def _asked(self) -> Question:
        return Question(self._target, self._sender or STAND_IN, self._ifindex, self._interface)

    def _unserved(self) -> Unserved | None:
        """Why the target has no route."""
        route: RouteAnswer = self.found["route"]
        refused: Refusal | None = self.found.get("refused_by")
        if route.ok or route.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return None
        if refused is not None and refused.without is None:
            return None
        return self._moment.refusals.unserved(self._asked()) or self._down()

    def _down(self) -> Unserved | None:
        """An interface with an address of the node's, whose routes went when it went down."""
        for ifindex, address in addresses.networks(self._moment.route):
            link = self._moment.link(ifindex)
            if ifindex != self._ifindex and not link.loopback and not link.up:
                return Unserved(f"{link.name} ({address})", "down")
        return None

    def _sender_refused(self) -> Refusal | None:
        way: RouteAnswer | None = self.found.get("sender_route")
        if way is None or way.ok:
            return None
        # The way back comes in by the loopback interface (net/ipv4/fib_frontend.c,
        # __fib_validate_source: LOOPBACK_IFINDEX).
        return self._moment.refusals.by_errno(way.errno, Question(self._sender, "", 0, "lo"))

    def _owner(self, address: str, *ways: RouteAnswer | None) -> str | None:
        """Only asked where it is the node's own: under IPVS a node has thousands."""
        if not any(way is not None and way.type == "local" for way in ways):
            return None
        return routes.interface_name(self._moment.owners.get(address))

    def _proxy_entry(self) -> bool:
        places = ((self._ifindex, self._target), (0, self._target))
        return any(place in self._moment.proxied for place in places)

    def _listeners(self) -> tuple[str, ...]:
        heard = [each.inode for each in self._moment.arp_sockets if each.hears(self._ifindex)]
        names = self._moment.arp_programs if heard else {}
        return tuple(sorted({names[inode] for inode in heard if inode in names}))

    def _traffic_control(self) -> None:
        for direction in ("ingress", "egress"):
            filters = self._try("tc filters", partial(self._filters, direction)) or ()
            programs = self._try("tcx", partial(tcx.programs, self._ifindex, direction)) or ()
            for name in (*filters, *programs):
                self._hangs(direction, name)
        for name in traffic_control.queue(self._moment.link(self._ifindex).qdisc):
            self._hangs("egress", name, self._try("qdiscs", lambda: self._qdiscs().drops) or None)

    def _filters(self, direction: str) -> tuple[str, ...]:
        names = traffic_control.filters(self._moment.route, self._ifindex, direction)
        # An ingress qdisc, unlike clsact, has filters at ingress alone, and shows them at both
        # (net/sched/sch_ingress.c, ingress_tcf_block).
        return () if names and direction == "egress" and not self._qdiscs().clsact else names

    def _qdiscs(self) -> traffic_control.Qdiscs:
        return self._moment.qdiscs.get(self._ifindex, traffic_control.Qdiscs())

    def _netfilter(self) -> None:
        moment, interface = self._moment, self._interface
        for chain in self._try("nftables", lambda: moment.netdev_chains) or ():
            if chain.on(interface):
                self._hangs(
                    chain.hook, str(chain), self._try("nftables", partial(self._drops, chain))
                )
        for chain in self._try("nftables", lambda: moment.arp_chains) or ():
            drops = self._try("nftables", partial(self._drops, chain))
            self._hangs(f"arp_{chain.hook}", str(chain), drops)
        for table in self._try("arptables", lambda: moment.arptables) or ():
            drops_here = table.drops_on(interface)
            if drops_here:
                others = any(table.drops_on(name) is not False for name in self._strangers())
                self._dropping(Dropping(str(table), others=others))
            self._hangs(f"arp_{table.name.lower()}", str(table), drops_here)

    def _drops(self, chain: nftables.Chain) -> bool | None:
        rules = self._moment.rules(chain.family)
        drops, handle = nftables.verdict(chain, rules, self._interface)
        if drops:
            others = any(
                chain.on(name) and nftables.verdict(chain, rules, name)[0] is not False
                for name in self._strangers()
            )
            decides = (chain.table, handle)
            left = tuple(rule for rule in rules if (rule.table, rule.handle) != decides)
            after, _ = nftables.verdict(chain, left, self._interface)
            without = handle is not None and after is False
            self._dropping(Dropping(str(chain), handle, others, without))
        return drops

    def _strangers(self) -> set[str]:
        """Names of other interfaces, and one that differs in its last letter alone: it meets
        what is for all names with the same beginning.
        """
        last = "0" if self._interface[-1:] != "0" else "1"
        there = {name for _, name in socket.if_nameindex()}
        return (there | {self._interface[:-1] + last}) - {self._interface}

    def _dropping(self, found: Dropping) -> None:
        self.found["droppings"] = (*self.found.get("droppings", ()), found)

    def _hangs(self, field: str, name: str, drops: bool | None = None) -> None:
        """``drops``: all, none (that is in nobody's way), or it depends (None)."""
        if drops is False or field not in _PLACES:
            return
        self.found[field] = (*self.found.get(field, ()), name)
        if drops:
            self.found.setdefault(f"{field}_drops", name)

    def _try(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (OSError, ValueError) as error:
            self._failed(what, error)
            return None

    def _failed(self, what: str, error: Exception) -> None:
        number = getattr(error, "errno", None)
        said = f"{what}: {os.strerror(number) if number else error or type(error).__name__}"
        if said not in self.failures:
            self.failures.append(said)
