# SPDX-License-Identifier: Apache-2.0
"""The conditions that the kernel asks for. Which of them a cause fails, its own file says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tracer.node.look import Look


@dataclass(frozen=True, slots=True)
class Condition:
    """``asks`` is the question, for people. ``read``: whether a look could tell.

    ``failures``: beginnings of what a look says that it could not read, under which
    ``read`` is not so either.
    """

    name: str
    asks: str
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


LINK = Condition(
    "link",
    "Is the link up, with carrier, and ARP on?",
    lambda look: None not in (look.up, look.carrier, look.noarp),
)
IN = Condition(
    "in",
    "Does nothing take or filter what comes in (bridge, XDP, tc, nftables, arptables)?",
    lambda look: look.up is not None,
    ("tc filters", "tcx", "nftables", "arptables"),
)
ROUTE = Condition(
    "route",
    "Is there a route to the target that can be proxied for?",
    _route_read,
)
FORWARDING = Condition(
    "forwarding",
    "Is forwarding on, on this interface?",
    lambda look: look.forwarding is not None,
)
SOURCE = Condition(
    "source",
    "Is the sender valid: does the way back to it lead here?",
    _source_read,
)
OTHER_INTERFACE = Condition(
    "other_interface",
    "Does the route to the target leave through another interface?",
    lambda look: look.route is not None,
)
PROXY_ARP = Condition(
    "proxy_arp",
    "Is proxy_arp on, the interface's or all's?",
    lambda look: None not in (look.proxy_arp_interface, look.proxy_arp_all),
)
MEDIUM_ID = Condition(
    "medium_id",
    "Does medium_id allow the proxy?",
    lambda look: look.medium_id is not None,
)
OUT = Condition(
    "out",
    "Does nothing delay or filter the reply (proxy_delay, nftables, tc, queues)?",
    lambda look: look.up is not None,
    ("tc filters", "tcx", "nftables", "arptables"),
)

CONDITIONS = (LINK, IN, ROUTE, FORWARDING, SOURCE, OTHER_INTERFACE, PROXY_ARP, MEDIUM_ID, OUT)
"""In the kernel's order."""
