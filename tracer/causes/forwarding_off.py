# SPDX-License-Identifier: Apache-2.0
"""Forwarding is off on the interface."""

from __future__ import annotations

from dataclasses import replace

from tracer.causes import conditions
from tracer.causes.cause import EXAMPLE, Cause, Sample
from tracer.causes.remedy import Change, NodeForwarding, Remedy, propose, setting
from tracer.node.look import Look
from tracer.seen import Seen

_OTHERWISE_FAILED = frozenset({"EACCES", "EINVAL", "ENETUNREACH"})


def _observed(seen: Seen, look: Look) -> str | None:
    if not seen.refused:
        return None
    # The target was found, and yet there is no route: ip_route_input_slow (net/ipv4/route.c).
    found = seen.given_route == "unreachable" and seen.target_lookup == "ok"
    if found and seen.forwarding in (0, None) and seen.given_error not in _OTHERWISE_FAILED:
        return f"the target was found, and forwarding was off on {look.interface}"
    # Asked again, by arp_process (net/ipv4/arp.c), if it was switched off in between.
    if seen.given_route == "unicast" and seen.forwarding == 0:
        return f"forwarding was off on {look.interface}"
    return None


def _holds(look: Look) -> str | None:
    if look.forwarding != 0:
        return None
    if look.route is not None and look.route.ok and look.route.type in ("local", "broadcast"):
        return None  # Answered without forwarding; refused before forwarding is asked for.
    alone = look.route_from_node
    if alone is not None and not alone.ok:
        return None  # The lookup fails first.
    return f"net.ipv4.conf.{look.interface}.forwarding is 0"


def _remedy(look: Look, seen: Seen) -> Remedy:
    if look.ip_forward == 0:
        # Writing it writes every interface's (net/ipv4/devinet.c, inet_forward_change).
        return propose(look, Change("sysctl -w net.ipv4.ip_forward=1", NodeForwarding()))
    return propose(look, setting(look, "forwarding", 1))


CAUSE = Cause(
    name="forwarding_off",
    condition=conditions.FORWARDING,
    means="Forwarding is off on the interface, so the kernel proxies for no other address.",
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The lookup for the target is seen to succeed, and the kernel gives the request an "
        "unreachable route (EHOSTUNREACH) all the same. Only the interface's own forwarding "
        "counts, which is read with it."
    ),
    lasting=(
        "Usually ip_forward=0 (or conf.*.forwarding=0) in /etc/sysctl.d, set by a hardening "
        "profile or written again by TuneD's reapply_sysctl after Calico had set it. Take it out "
        "there, and write net.ipv4.ip_forward=1 in /etc/sysctl.d/99-kubernetes.conf; if TuneD's "
        "profile sets it, correct the profile's [sysctl]. Writing ip_forward writes every "
        "interface's forwarding."
    ),
    field_reports=(
        "projectcalico/cni-plugin#283",
        "projectcalico/felix#187",
        "redhat-performance/tuned#816",
    ),
    shown_by=("forwarding_off", "forwarding_off_all"),
    samples=(
        Sample(when="on the interface", look=replace(EXAMPLE, ip_forward=1)),
        Sample(when="on the node", look=replace(EXAMPLE, ip_forward=0)),
    ),
)
