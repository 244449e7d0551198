# SPDX-License-Identifier: Apache-2.0
"""Which route or rule it is that a lookup failed by, or was led astray by.

The kernel tells the error alone. So its walk is done again, over the rules and the routes that
cover the address, and what it comes to counts only if its error is the kernel's.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv4Address

from tracer.node import routes, rules
from tracer.node.look import Refusal, Unserved
from tracer.node.netlink import Connection
from tracer.node.routes import Route
from tracer.node.rules import Rule

# net/ipv4/fib_semantics.c, fib_props; net/ipv4/fib_rules.c, fib4_rule_action.
_ROUTE_ERRORS = {
    "unreachable": errno.EHOSTUNREACH,
    "prohibit": errno.EACCES,
    "blackhole": errno.EINVAL,
}
_RULE_ERRORS = {
    "unreachable": errno.ENETUNREACH,
    "prohibit": errno.EACCES,
    "blackhole": errno.EINVAL,
}
_THROW = "throw"
_MAIN, _LOCAL = 254, 255
_HOST = 32


@dataclass(frozen=True, slots=True)
class Question:
    """``target`` from ``sender`` ("": the node itself asks), come in by ``interface``."""

    target: str
    sender: str
    ifindex: int
    interface: str


@dataclass(frozen=True, slots=True)
class _End:
    """Where a lookup ends. ``error``: 0 where ``route`` serves. ``rule``: that refuses, or that
    led to the route's table.
    """

    error: int
    route: Route | None = None
    rule: Rule | None = None


class Refusals:
    """The node's rules and routes, read when first asked for. All raise OSError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._covering: dict[str, list[Route]] = {}

    @cached_property
    def _rules(self) -> list[Rule]:
        return rules.read(self._connection)

    def by_errno(self, number: int | None, asked: Question) -> Refusal | None:
        """What refuses the target with this errno (None: with any). None: nothing does
        (ENETUNREACH: nothing matched), or it could not be told.
        """
        end = self._walk(asked)
        if end is None or end.error != (number or end.error) or not end.error:
            return None
        if end.route is None and end.rule is None:
            return None
        return replace(self._named(end, asked), error=errno.errorcode[end.error])

    def leads(self, asked: Question) -> Refusal | None:
        """The route that leads to the target, for a lookup that succeeds."""
        end = self._walk(asked)
        return None if end is None or end.error else self._named(end, asked)

    def unserved(self, asked: Question) -> Unserved | None:
        """The best route that would serve the target, for a lookup that finds none."""
        for route in self._others(asked):
            if route.dead:
                no_carrier = all(hop.no_carrier for hop in route.hops)
                return Unserved(route.name, "no carrier" if no_carrier else "dead")
            led = [rule for rule in self._met(asked) or () if rule.table == route.table]
            if not led:
                return Unserved(route.name, "no rule", _table(route.table))
            if by := next((rule for rule in led if _suppresses(rule, route)), None):
                return Unserved(route.name, "suppressed", by.name)
        return None

    def _others(self, asked: Question) -> list[Route]:
        """Unicast routes to the target through another interface; those of main first."""
        return sorted(
            (
                route
                for route in self._to(asked.target)
                if route.type == "unicast" and route.hops and route.ifindex != asked.ifindex
            ),
            key=lambda route: (route.table != _MAIN, -route.network.prefixlen, route.metric),
        )

    def _named(self, end: _End, asked: Question) -> Refusal:
        without = self._without(end, asked)
        if end.route is None:
            assert end.rule is not None
            return Refusal(
                kind="rule",
                name=end.rule.name,
                serves=self._served_by_rule(end.rule, asked),
                keeper=end.rule.keeper,
                without=without,
            )
        return Refusal(
            kind="route",
            name=end.route.name,
            serves=_served_by_route(end, asked),
            keeper=end.route.keeper,
            without=without,
            table=end.route.table,
        )

    def _served_by_rule(self, rule: Rule, asked: Question) -> str | None:
        back = not asked.sender and rule.destination.prefixlen == _HOST and not rule.inverted
        if not back and not rule.alone_for(asked.sender, asked.interface):
            return _whom(rule)
        # ip rule del takes the first with what it is given.
        alike = [each for each in self._rules if each.priority == rule.priority]
        return None if len(alike) == 1 else f"several rules have preference {rule.priority}"

    def _without(self, end: _End, asked: Question) -> str | None:
        after = self._walk(asked, end.route, end.rule if end.route is None else None)
        if after is None:
            return "what would be found instead is not known"
        if after.error:
            by = after.route or after.rule
            return "no other route covers it" if by is None else f"{by.name} refuses it too"
        assert after.route is not None
        if after.route.type != "unicast" or after.route.ifindex == asked.ifindex:
            return f"{after.route.name} would be found instead"
        return None

    # -- the kernel's walk -----------------------------------------------------------------------

    def _met(self, asked: Question, without: Rule | None = None) -> list[Rule] | None:
        """The rules that are met, in order; None: one could not be judged."""
        there = [rule for rule in self._rules if rule is not without]
        preferences = {rule.priority for rule in there}
        found, past = [], -1
        for rule in there:
            if rule.priority < past:
                continue
            met = rule.met(asked.target, asked.sender, asked.interface)
            if met is None:
                return None
            if met and rule.action == rules.GOTO:
                # To a preference that no rule has it leads nowhere, and is passed over.
                past = rule.goto if rule.goto in preferences else past
            elif met:
                found.append(rule)
        return found

    def _walk(
        self, asked: Question, no_route: Route | None = None, no_rule: Rule | None = None
    ) -> _End | None:
        """net/core/fib_rules.c, fib_rules_lookup. Without that route and that rule."""
        met = self._met(asked, no_rule)
        if met is None:
            return None
        thrown: _End | None = None
        for rule in met:
            if kind := rules.REFUSING.get(rule.action):
                return _End(_RULE_ERRORS[kind], rule=rule)
            if rule.action != rules.TO_TABLE:
                continue
            route = self._in_table(rule.table, asked.target, no_route)
            if route is None or _suppresses(rule, route):
                continue
            if route.type == _THROW:
                thrown = thrown or _End(errno.ENETUNREACH, route, rule)
                continue
            return _End(_ROUTE_ERRORS.get(route.type, 0), route, rule)
        return thrown or _End(errno.ENETUNREACH)

    def _in_table(self, table: int, target: str, without: Route | None) -> Route | None:
        """net/ipv4/fib_trie.c, fib_table_lookup: the longest of those that are not dead."""
        there = (
            route
            for route in self._to(target)
            if route.table == table and not route.dead and route is not without
        )
        return min(there, key=lambda each: (-each.network.prefixlen, each.metric), default=None)

    def _to(self, target: str) -> Iterable[Route]:
        if target not in self._covering:
            every = routes.of_type(self._connection, covering=IPv4Address(target))
            self._covering[target] = list(every)
        return self._covering[target]


def _suppresses(rule: Rule, route: Route) -> bool:
    """Not what refuses: net/ipv4/fib_rules.c, fib4_rule_suppress, is asked of what was found."""
    refuses = route.type == _THROW or route.type in _ROUTE_ERRORS
    return not refuses and route.network.prefixlen <= rule.suppress


def _whom(rule: Rule) -> str:
    """All of them, but for those of the opposite where the rule is inverted."""
    words = [f"from {rule.source}"] if rule.source.prefixlen else []
    words += [f"to {rule.destination}"] if rule.destination.prefixlen else []
    if rule.mask:
        words.append(f"with mark {rule.mark:#x}/{rule.mask:#x}")
    what = " ".join(words)
    if rule.inverted:
        return f"all but what comes {what}" if what else "nothing"
    return f"all that comes {what or 'in'}"


def _served_by_route(end: _End, asked: Question) -> str | None:
    """A route to nothing but the target is for that alone."""
    assert end.route is not None
    if end.route.network.prefixlen == _HOST:
        return None
    to = "all" if not end.route.network.prefixlen else f"all to {end.route.network}"
    if end.rule is not None and end.rule.table not in (_MAIN, _LOCAL):
        return f"{to}, by the rule {end.rule.name}"
    return to


def _table(number: int) -> str:
    return "main" if number == _MAIN else str(number)
