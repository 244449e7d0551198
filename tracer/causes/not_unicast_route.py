# SPDX-License-Identifier: Apache-2.0
"""The route to the target is a broadcast, multicast or otherwise non-unicast one."""

from __future__ import annotations

import shlex
from dataclasses import replace

from tracer.causes import conditions
from tracer.causes.cause import EXAMPLE, Cause, Sample
from tracer.causes.martian import martian_target
from tracer.causes.remedy import Remedy, advise, propose, removal, see_on_node
from tracer.node.look import Look, RouteAnswer
from tracer.seen import Seen

# What ip_route_input_slow makes of a lookup that failed, or of the node's own address.
_OTHER_CAUSES = frozenset({"none", "unicast", "local", "unreachable"})


def _observed(seen: Seen, look: Look) -> str | None:
    martian = martian_target(look)
    refused = seen.refused and seen.given_route == "none"
    # arp_process itself drops a multicast or loopback target (net/ipv4/arp.c).
    if martian and (refused or seen.dropped_in == "arp_process") and seen.target_lookup is None:
        return f"{look.target_ip} is {martian}"
    if not seen.refused or seen.given_route is None:
        return None
    if seen.given_route not in _OTHER_CAUSES:
        return f"the route to {look.target_ip} is of type {seen.given_route}"
    # Found, and refused before the sender was looked up: net/ipv4/route.c,
    # ip_route_input_slow, a martian destination, or a broadcast of no IP packet.
    found = refused and seen.target_lookup == "ok" and seen.source_lookup is None
    answer = _not_unicast(look)
    if found and answer is not None:
        return f"the route to {look.target_ip} was found, and is of type {answer.type}"
    return None


def _not_unicast(look: Look) -> RouteAnswer | None:
    for answer in (look.route, look.route_from_node):
        if answer is not None and answer.ok:
            return None if answer.type in _OTHER_CAUSES else answer
    return None


def _holds(look: Look) -> str | None:
    if martian := martian_target(look):
        return f"{look.target_ip} is {martian}"
    answer = _not_unicast(look)
    return None if answer is None else f"the route to {look.target_ip} is of type {answer.type}"


def _remedy(look: Look, seen: Seen) -> Remedy:
    if martian := martian_target(look):
        return advise(f"None: {look.target_ip} is {martian}, for which there is no proxy.")
    alone = look.route_from_node
    of_address = look.refused_by is None or look.refused_by.keeper is not None
    if alone is not None and alone.type == "broadcast" and alone.out_interface and of_address:
        out = shlex.quote(alone.out_interface)
        return advise(
            f"An address on {alone.out_interface} has {look.target_ip} for its broadcast address: "
            "correct its prefix length or broadcast address.",
            see_on_node(look, f"ip address show dev {out}", "ip route show table local"),
        )
    if look.refused_by is not None:
        return propose(look, removal(look.refused_by))
    return advise(
        f"Delete the route that covers {look.target_ip}, or add a unicast one that is longer.",
        see_on_node(look, f"ip route get fibmatch {look.target_ip}"),
    )


CAUSE = Cause(
    name="not_unicast_route",
    condition=conditions.ROUTE,
    means=(
        "The route found is a broadcast, multicast or otherwise non-unicast one: the kernel "
        "proxies only for what it would forward by unicast."
    ),
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The lookup for the target succeeds, and the kernel gives no route and never looks up "
        "the sender; the type is the one that ip route get shows at that moment."
    ),
    lasting=(
        "Usually an address that was given to the node with 169.254.1.1 as its broadcast address "
        "(169.254.1.0/31 or the like, a link-local range of the provisioning system): correct "
        "Address= or Broadcast= in /etc/systemd/network, or the ipv4.addresses of the connection "
        "in NetworkManager. A multicast or anycast route comes from whoever added it: a routing "
        "daemon's static routes, a start-up script."
    ),
    field_reports=(),
    shown_by=("broadcast_target", "multicast_target", "anycast_target"),
    samples=(
        Sample(
            when="a broadcast address of OUT",
            look=replace(
                EXAMPLE, route_from_node=RouteAnswer(ok=True, type="broadcast", out_interface="OUT")
            ),
        ),
        Sample(when="otherwise"),
    ),
)
