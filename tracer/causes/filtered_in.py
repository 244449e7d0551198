# SPDX-License-Identifier: Apache-2.0
"""Netfilter's ARP input hook dropped the request."""

from __future__ import annotations

from dataclasses import replace

from tracer.causes import conditions, hooks
from tracer.causes.cause import EXAMPLE, Cause, Sample
from tracer.causes.remedy import Remedy
from tracer.node.look import Look
from tracer.seen import Seen


def _observed(seen: Seen, look: Look) -> str | None:
    if seen.dropped != "request":
        return None
    malformed = seen.header is not None or seen.drop_function == "arp_rcv"
    if seen.dropped_in == "arp_rcv" and (seen.dropped_by_netfilter or not malformed):
        return "netfilter's ARP input hook dropped the request, below arp_rcv"
    if seen.dropped_in is not None or not seen.dropped_by_netfilter:
        return None
    # Nothing says where. There are two hooks on the way in, and only this one has a chain.
    if look.arp_input and not any(name.startswith("nft ") for name in look.ingress):
        return "netfilter dropped the request, and of its hooks only ARP input has a chain"
    return None


def _holds(look: Look) -> str | None:
    if look.arp_input_drops is None:
        return None
    return f"{look.arp_input_drops} drops every ARP packet that comes in"


def _remedy(look: Look, seen: Seen) -> Remedy:
    names = (look.arp_input_drops,) if look.arp_input_drops else look.arp_input
    return hooks.netfilter(look, names, "in")


CAUSE = Cause(
    name="filtered_in",
    condition=conditions.IN,
    means="Netfilter's ARP input hook (arptables, nft arp) dropped the request.",
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The kernel frees the request below arp_rcv, but not in it: NETFILTER_DROP. An nft netdev "
        "chain frees it in the same function; the stack tells the two apart. By configuration "
        "alone only a chain that drops everything is certain."
    ),
    lasting=(
        "Usually a ruleset against ARP spoofing that knows no pods: /etc/nftables.conf, "
        "/etc/arptables.conf, firewalld, libvirt's or OpenStack's filters. Accept there what comes "
        'in on cali*, before the rule that drops: for nftables iifname "cali*" accept, in the '
        "same chain."
    ),
    field_reports=(),
    shown_by=("nft_arp_input", "nft_arp_input_policy", "arptables_input"),
    samples=(
        Sample(when="by nftables", look=replace(EXAMPLE, arp_input=("nft arp TABLE CHAIN",))),
        Sample(when="by arptables", look=replace(EXAMPLE, arp_input=("arptables INPUT",))),
    ),
    drops="request",
)
