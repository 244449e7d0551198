# SPDX-License-Identifier: Apache-2.0
"""The conditions that the kernel asks for, in its order, and the causes that fail each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from tracer.node.look import Look


class State(StrEnum):
    """``UNREAD``: not everything could be read that it takes to judge. ``UNREACHED``: the
    kernel refuses before it asks.
    """

    PASS = "pass"
    WARNING = "warning"
    FAIL = "fail"
    UNREAD = "unread"
    UNREACHED = "unreached"


@dataclass(frozen=True, slots=True)
class Condition:
    """``causes``: names of those that fail it. ``read``: whether a look could tell.

    ``failures``: beginnings of what a look says that it could not read, under which
    ``read`` is not so either. ``asks`` is the question, for people.
    """

    name: str
    asks: str
    causes: frozenset[str]
    read: Callable[[Look], bool]
    failures: tuple[str, ...] = ()


def _route_read(look: Look) -> bool:
    """arp_filter asks for the way back to the sender (net/ipv4/arp.c), which must be known."""
    if look.route is None:
        return False
    filtered = look.arp_filter_interface or look.arp_filter_all
    return bool(look.sender_ip) or not (look.route.type == "local" and filtered)


def _source_read(look: Look) -> bool:
    """Without rp_filter a sender that is not known would do as any other."""
    if look.route is None or look.rp_filter_interface is None or look.rp_filter_all is None:
        return False
    return bool(look.sender_ip) or not max(look.rp_filter_interface, look.rp_filter_all)


CONDITIONS = (
    Condition(
        "link",
        "Is the link up, with carrier, and ARP on?",
        frozenset({"link_down", "arp_disabled"}),
        lambda look: None not in (look.up, look.carrier, look.noarp),
    ),
    Condition(
        "in",
        "Does nothing take or filter what comes in (bridge, XDP, tc, nftables, arptables)?",
        frozenset({"dropped_before_arp", "filtered_in"}),
        lambda look: look.up is not None,
        ("tc filters", "tcx", "nftables", "arptables"),
    ),
    Condition(
        "route",
        "Is there a route to the target that can be proxied for?",
        frozenset({"no_route", "local_address_ignored", "not_unicast_route"}),
        _route_read,
    ),
    Condition(
        "forwarding",
        "Is forwarding on, on this interface?",
        frozenset({"forwarding_off"}),
        lambda look: look.forwarding is not None,
    ),
    Condition(
        "source",
        "Is the sender valid: does the way back to it lead here?",
        frozenset({"source_rejected"}),
        _source_read,
    ),
    Condition(
        "other_interface",
        "Does the route to the target leave through another interface?",
        frozenset({"route_same_interface"}),
        lambda look: look.route is not None,
    ),
    Condition(
        "proxy_arp",
        "Is proxy_arp on, the interface's or all's?",
        frozenset({"proxy_arp_off"}),
        lambda look: None not in (look.proxy_arp_interface, look.proxy_arp_all),
    ),
    Condition(
        "medium_id",
        "Does medium_id allow the proxy?",
        frozenset({"medium_id"}),
        lambda look: look.medium_id is not None,
    ),
    Condition(
        "out",
        "Does nothing delay or filter the reply (proxy_delay, nftables, tc, queues)?",
        frozenset({"proxy_queue_full", "filtered_out", "rate_limited", "reply_dropped"}),
        lambda look: look.up is not None,
        ("tc filters", "tcx", "nftables", "arptables"),
    ),
)


def states(
    looks: Iterable[Look], reasons: Collection[str], warned: Collection[str]
) -> dict[str, State]:
    """By the condition's name. ``warned``: conditions that a warning is about."""
    found: dict[str, State] = {}
    failed = False
    looks = tuple(looks)
    for condition in CONDITIONS:
        if not condition.causes.isdisjoint(reasons):
            state = State.FAIL
            failed = True
        elif failed:
            state = State.UNREACHED
        elif not all(_read(condition, look) for look in looks):
            state = State.UNREAD
        elif condition.name in warned:
            state = State.WARNING
        else:
            state = State.PASS
        found[condition.name] = state
    return found


def _read(condition: Condition, look: Look) -> bool:
    if any(failure.startswith(condition.failures) for failure in look.failures):
        return False
    return condition.read(look)
