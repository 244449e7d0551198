# SPDX-License-Identifier: Apache-2.0
"""The route question that arp_process asks, and what refuses it.

arp_process (net/ipv4/arp.c) calls ip_route_input_noref(target, sender, device);
RTM_GETROUTE with an input interface runs the same function (net/ipv4/route.c,
inet_rtm_getroute), so its answer is the kernel's, rules and source validation included.
"""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from tracer.node import netlink
from tracer.node.look import RouteAnswer

# linux/rtnetlink.h
_TYPES = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
}
_BLACKHOLE, _UNREACHABLE, _PROHIBIT, _THROW = 6, 7, 8, 9
_RTMSG = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_PRIORITY, _RTA_TABLE = 1, 6, 15
_MAIN = 254

# Which route and which rule refuses with which errno: fib_props (net/ipv4/fib_semantics.c),
# fib4_rule_action (net/ipv4/fib_rules.c). Numbers of rule actions: linux/fib_rules.h.
_REFUSING_ROUTE = {
    errno.ENETUNREACH: _THROW,
    errno.EHOSTUNREACH: _UNREACHABLE,
    errno.EACCES: _PROHIBIT,
    errno.EINVAL: _BLACKHOLE,
}
_REFUSING_RULE = {
    errno.ENETUNREACH: (7, "unreachable"),
    errno.EACCES: (8, "prohibit"),
    errno.EINVAL: (6, "blackhole"),
}
# Selectors that a request for this target from this sender always meets or that we
# check; a rule with any other is not named.
_RULE_SELECTORS = {"FRA_SRC", "FRA_DST", "FRA_IIFNAME", "FRA_PRIORITY"}
_RULE_PLAIN = {"FRA_TABLE", "FRA_PROTOCOL", "FRA_SUPPRESS_PREFIXLEN"}


def ask(route: Any, **question: Any) -> RouteAnswer:
    """One RTM_GETROUTE through ``route``, a pyroute2 IPRoute. Raises OSError."""
    try:
        answers = list(route.route("get", **question))
    except Exception as error:
        # pyroute2.NetlinkError: an OSError in no version, a ``code`` in all.
        number = getattr(error, "code", None)
        if not isinstance(number, int):
            raise
        return RouteAnswer(ok=False, errno=number)
    if not answers:
        raise OSError(errno.EPROTO, "no answer to the route question")
    answer = answers[0]
    index = answer.get_attr("RTA_OIF")
    return RouteAnswer(
        ok=True,
        out_interface=_interface_name(index),
        out_ifindex=index,
        type=_TYPES.get(answer["type"], str(answer["type"])),
        table=answer.get_attr("RTA_TABLE"),
        gateway=answer.get_attr("RTA_GATEWAY"),
    )


def refused_by(
    route: Any, number: int, target_ip: str, sender_ip: str, interface: str
) -> str | None:
    """The route or rule that refuses the target with this errno: ``route unreachable
    default``, ``rule prohibit pref 5``. None: there is none (ENETUNREACH: nothing
    matched), or it could not be told. Raises OSError.
    """
    return _refusing_rule(route, number, target_ip, sender_ip, interface) or _refusing_route(
        number, target_ip
    )


def _refusing_route(number: int, target_ip: str) -> str | None:
    kind = _REFUSING_ROUTE.get(number)
    if kind is None:
        return None
    target = IPv4Address(target_ip)
    best: tuple[int, int, str] | None = None
    # Filtered by type in the kernel: a node may carry the routes of the whole Internet.
    question = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, kind, 0)
    for body in netlink.dump(netlink.RTM_GETROUTE, question):
        _, length, _, _, table, _, _, found, _ = _RTMSG.unpack_from(body)
        if found != kind:
            continue
        attributes = netlink.attributes(body, _RTMSG.size)
        network = IPv4Network((attributes.get(_RTA_DST, bytes(4)), length))
        if target not in network:
            continue
        table = _number(attributes.get(_RTA_TABLE)) or table
        metric = _number(attributes.get(_RTA_PRIORITY)) or 0
        name = f"route {_TYPES[kind]} {network if length else 'default'}"
        name += f" metric {metric}" if metric else ""
        name += f" table {table}" if table != _MAIN else ""
        if best is None or (length, -metric) > best[:2]:
            best = (length, -metric, name)
    return best[2] if best else None


def _refusing_rule(
    route: Any, number: int, target_ip: str, sender_ip: str, interface: str
) -> str | None:
    action = _REFUSING_RULE.get(number)
    if action is None:
        return None
    for rule in route.get_rules(family=socket.AF_INET):
        selectors = dict(rule["attrs"])
        if rule["action"] != action[0] or rule["flags"] or rule["tos"]:
            continue
        if set(selectors) - _RULE_SELECTORS - _RULE_PLAIN:
            continue
        if (
            _covers(selectors.get("FRA_SRC"), rule["src_len"], sender_ip)
            and _covers(selectors.get("FRA_DST"), rule["dst_len"], target_ip)
            and selectors.get("FRA_IIFNAME", interface) == interface
        ):
            return f"rule {action[1]} pref {selectors.get('FRA_PRIORITY', 0)}"
    return None


def _covers(prefix: str | None, length: int, ip: str) -> bool:
    return prefix is None or IPv4Address(ip) in IPv4Network((prefix, length), strict=False)


def _number(raw: bytes | None) -> int | None:
    return None if raw is None else int(struct.unpack("=I", raw)[0])


def _interface_name(index: int | None) -> str | None:
    try:
        return None if index is None else socket.if_indextoname(index)
    except OSError:
        return None
