# SPDX-License-Identifier: Apache-2.0
"""Which route or rule it is that a lookup failed by, or was led astray by."""

from __future__ import annotations

import errno
import shlex
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network

from tracer.node import netlink, routes
from tracer.node.netlink import Connection
from tracer.node.routes import Route

# Which route and which rule refuses with which errno: fib_props (net/ipv4/fib_semantics.c),
# fib4_rule_action (net/ipv4/fib_rules.c). Numbers of rule actions: linux/fib_rules.h.
_REFUSING_ROUTE = {
    errno.ENETUNREACH: 9,  # throw
    errno.EHOSTUNREACH: 7,  # unreachable
    errno.EACCES: 8,  # prohibit
    errno.EINVAL: 6,  # blackhole
}
_REFUSING_RULE = {
    errno.ENETUNREACH: (7, "unreachable"),
    errno.EACCES: (8, "prohibit"),
    errno.EINVAL: (6, "blackhole"),
}
_ODD = {"broadcast": 3, "anycast": 4, "multicast": 5}
# linux/fib_rules.h: struct fib_rule_hdr, FRA_*.
_RULE = struct.Struct("=BBBBBBBBI")
_FRA_DST, _FRA_SRC, _FRA_IIFNAME, _FRA_PRIORITY = 1, 2, 3, 6
_FRA_SUPPRESS_IFGROUP, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_PROTOCOL = 13, 14, 15, 21
# Selectors that a request always meets or that we check, and what selects nothing; a rule
# with any other attribute is not named.
_UNDERSTOOD = frozenset(
    {
        *(_FRA_DST, _FRA_SRC, _FRA_IIFNAME, _FRA_PRIORITY),
        *(_FRA_SUPPRESS_IFGROUP, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_PROTOCOL),
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """``action`` is FR_ACT_*. ``understood``: no selector but those that are here."""

    action: int
    priority: int
    source: IPv4Network
    destination: IPv4Network
    interface: str | None
    understood: bool

    def covers(self, target: str, sender: str, interface: str) -> bool:
        """``sender`` "": any, so that no rule for certain ones is met."""
        return (
            self.understood
            and IPv4Address(target) in self.destination
            and (not self.source.prefixlen or (sender != "" and _in(sender, self.source)))
            and self.interface in (None, interface)
        )


def parse_rule(body: bytes) -> Rule:
    """The body of an RTM_NEWRULE message."""
    _, to, source, tos, _, _, _, action, flags = _RULE.unpack_from(body)
    attributes = netlink.attributes(body, _RULE.size)
    return Rule(
        action=action,
        priority=netlink.number(attributes.get(_FRA_PRIORITY)) or 0,
        source=IPv4Network((attributes.get(_FRA_SRC, bytes(4)), source), strict=False),
        destination=IPv4Network((attributes.get(_FRA_DST, bytes(4)), to), strict=False),
        interface=netlink.text(attributes.get(_FRA_IIFNAME)),
        understood=not tos and not flags and _UNDERSTOOD.issuperset(attributes),
    )


class Refusals:
    """The node's rules, and those of its routes that refuse: read when first asked for.

    All raise OSError.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._routes: dict[int, list[Route]] = {}

    @cached_property
    def _rules(self) -> list[Rule]:
        question = _RULE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        return [parse_rule(each) for each in self._connection.dump(netlink.RTM_GETRULE, question)]

    def by_errno(self, number: int, target: str, sender: str, interface: str) -> str | None:
        """What refuses the target with this errno: ``route unreachable default``,
        ``rule prohibit pref 5``. None: there is none (ENETUNREACH: nothing matched), or it
        could not be told.
        """
        if number in _REFUSING_RULE:
            action, name = _REFUSING_RULE[number]
            for rule in self._rules:
                if rule.action == action and rule.covers(target, sender, interface):
                    return f"rule {name} pref {rule.priority}"
        kind = _REFUSING_ROUTE.get(number)
        return None if kind is None else _longest(self._of_type(kind), target)

    def by_type(self, kind: str, target: str) -> str | None:
        """The broadcast, anycast or multicast route that covers the target."""
        return _longest(self._of_type(_ODD[kind]), target) if kind in _ODD else None

    def through(self, ifindex: int, interface: str, target: str) -> str | None:
        """The unicast route that leads to the target through this interface."""
        ways = routes.of_type(self._connection, routes.UNICAST, ifindex=ifindex)
        found = _longest(ways, target)
        return None if found is None else f"{found} dev {shlex.quote(interface)}"

    def _of_type(self, kind: int) -> list[Route]:
        if kind not in self._routes:
            self._routes[kind] = list(routes.of_type(self._connection, kind))
        return self._routes[kind]


def _longest(ways: Iterable[Route], target: str) -> str | None:
    covering = [route for route in ways if _in(target, route.network)]
    if not covering:
        return None
    best = max(covering, key=lambda route: (route.network.prefixlen, -route.metric))
    return f"route {best.name}"


def _in(address: str, network: IPv4Network) -> bool:
    return IPv4Address(address) in network
