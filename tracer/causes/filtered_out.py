# SPDX-License-Identifier: Apache-2.0
"""Netfilter dropped the reply."""

from __future__ import annotations

from dataclasses import replace

from tracer.causes import conditions, hooks
from tracer.causes.cause import EXAMPLE, Cause, Sample
from tracer.causes.remedy import Remedy
from tracer.node.look import Look
from tracer.seen import Seen

_WHERE = {
    "arp_xmit": "in netfilter's ARP output hook, below arp_xmit",
    "__dev_queue_xmit": "in an nft netdev egress chain, below __dev_queue_xmit",
}


def _observed(seen: Seen, look: Look) -> str | None:
    if seen.dropped != "reply" or not seen.dropped_by_netfilter:
        return None
    where = _WHERE.get(seen.dropped_in or "", f"in {seen.drop_function or 'netfilter'}")
    return f"the reply was built, and netfilter dropped it {where}"


def _holds(look: Look) -> str | None:
    for drops in (look.arp_output_drops, look.egress_drops):
        if drops is not None and not drops.startswith("tc "):
            return f"{drops} drops every ARP reply that goes out"
    return None  # Another chain that is there need not drop.


def _remedy(look: Look, seen: Seen) -> Remedy:
    if seen.dropped_in == "__dev_queue_xmit":
        return hooks.netfilter(look, look.egress, "out")
    if seen.dropped_in == "arp_xmit":
        return hooks.netfilter(look, look.arp_output, "out")
    return hooks.netfilter(look, (*look.arp_output, *look.egress), "out")


CAUSE = Cause(
    name="filtered_out",
    condition=conditions.OUT,
    means="Netfilter dropped the reply (nft arp output, arptables OUTPUT, nft netdev egress).",
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "A reply to the request is seen to be freed by netfilter, in the same round: below "
        "arp_xmit by the ARP output hook, below __dev_queue_xmit by a netdev egress chain."
    ),
    lasting=(
        "Usually a ruleset against ARP spoofing: /etc/nftables.conf, /etc/arptables.conf, "
        "firewalld. Accept there what goes out on cali*, before the rule that drops: for nftables "
        'oifname "cali*" accept, in the same chain. Calico\'s own table calico-arp drops only '
        "replies that claim a pod's address, never the gateway's."
    ),
    field_reports=(),
    shown_by=("nft_arp_output", "nft_netdev_egress", "arptables_output"),
    samples=(
        Sample(
            when="by nft arp output",
            look=replace(EXAMPLE, arp_output=("nft arp TABLE CHAIN",)),
            seen=Seen(dropped_in="arp_xmit"),
        ),
        Sample(
            when="by arptables",
            look=replace(EXAMPLE, arp_output=("arptables OUTPUT",)),
            seen=Seen(dropped_in="arp_xmit"),
        ),
        Sample(
            when="by nft netdev egress",
            look=replace(EXAMPLE, egress=("nft netdev TABLE CHAIN",)),
            seen=Seen(dropped_in="__dev_queue_xmit"),
        ),
    ),
    drops="reply",
)
