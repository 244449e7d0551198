# SPDX-License-Identifier: Apache-2.0
"""Something took the request before the ARP layer saw it."""

from __future__ import annotations

from dataclasses import replace

from tracer.causes import conditions, hooks
from tracer.causes.cause import EXAMPLE, Cause, Sample
from tracer.causes.remedy import Remedy, advise, link, propose
from tracer.node.look import Look
from tracer.seen import Seen

_RECEIVE = "__netif_receive_skb_core"
_XDP = "do_xdp_generic"
# By a driver's native XDP, or still on its way through the pod's end of the link.
_BEFORE_THE_STACK = frozenset({"net_rx_action", "napi_threaded_poll", "__dev_queue_xmit"})
# Before the stack tells anything: the drop's own reason or function (net/core/dev.c).
_REASONS = frozenset({"TC_INGRESS", "XDP", "CPU_BACKLOG"})
_FUNCTIONS = frozenset({"enqueue_to_backlog", "sch_handle_ingress", _RECEIVE, _XDP})
# Masters whose rx handler takes every frame of a port. A VRF's lets ARP pass.
_TAKES_ALL = frozenset({"bridge", "bond", "team", "openvswitch", "hsr"})
_LINK_DOWN = frozenset({"down", "no carrier"})


def _observed(seen: Seen, look: Look) -> str | None:
    if seen.link is not None and seen.link not in _LINK_DOWN:
        return f"{look.interface}: {seen.link} takes what comes in"
    if seen.taken_in is not None and not seen.reply_taken:
        return f"the request was taken in {seen.taken_in}, before arp_rcv"
    return _dropped(seen, look) if seen.dropped == "request" else None


def _dropped(seen: Seen, look: Look) -> str | None:
    if seen.dropped_in in (_XDP, _RECEIVE, *_BEFORE_THE_STACK):
        return f"the request was dropped in {seen.dropped_in}, before arp_rcv"
    if seen.dropped_in is not None:
        return None
    if seen.drop_reason in _REASONS or seen.drop_function in _FUNCTIONS:
        return f"the request was dropped before arp_rcv: {seen.drop_reason or seen.drop_function}"
    if seen.dropped_by_netfilter and _chains(look) and not look.arp_input:
        return "netfilter dropped the request, and of its hooks only netdev ingress has a chain"
    return None


def _chains(look: Look) -> list[str]:
    return [name for name in look.ingress if name.startswith("nft ")]


def _holds(look: Look) -> str | None:
    if look.master_kind in _TAKES_ALL:
        return f"{look.interface} is a port of {look.master_kind} {look.master or ''}".rstrip()
    if look.ingress_drops is not None:
        return f"{look.ingress_drops} drops every ARP request that comes in"
    return None


def _remedy(look: Look, seen: Seen) -> Remedy:
    if look.master_kind in _TAKES_ALL or (seen.link or "").split(" ")[0] in _TAKES_ALL:
        return propose(look, link(look, "nomaster"))
    if seen.link == "native XDP" or (look.xdp == "native" and seen.dropped_in in _BEFORE_THE_STACK):
        return propose(look, link(look, "xdp off"))
    if _XDP in (seen.dropped_in, seen.taken_in, seen.drop_function) or seen.drop_reason == "XDP":
        return propose(look, link(look, "xdpgeneric off"))
    if seen.drop_reason == "CPU_BACKLOG" or seen.drop_function == "enqueue_to_backlog":
        return advise(
            "A CPU's backlog of received packets is full: find what floods the node, or raise "
            "net.core.netdev_max_backlog."
        )
    if seen.dropped_by_netfilter or (seen.dropped is None and look.ingress_drops is not None):
        return hooks.netfilter(look, look.ingress, "in")
    return hooks.traffic_control(look, look.ingress, "ingress")


CAUSE = Cause(
    name="dropped_before_arp",
    condition=conditions.IN,
    means=(
        "The request was dropped before the ARP layer saw it: by tc ingress, nft netdev ingress, "
        "XDP, or an rx handler such as a bridge's."
    ),
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The kernel frees the request below __netif_receive_skb_core or do_xdp_generic, above "
        "arp_rcv on the way in: tc and nftables share the function that frees, so the stack "
        "decides, and the drop reason tells tc from netfilter. Membership of a bridge or bond "
        "and a native XDP program, under which no request is seen, come from link "
        "notifications; they are inferred."
    ),
    lasting=(
        "Usually another agent's tc or XDP program on cali* (a second CNI, a security or traffic "
        "agent), a ruleset with a netdev ingress chain in /etc/nftables.conf, or a bridge that "
        "took the interface in: an over-wide [Match] Name= in /etc/systemd/network, or "
        "/etc/network/interfaces with bridge_ports all. Exempt cali* there. In Calico's eBPF "
        "dataplane tc programs are its own, and pass ARP on: do not remove those; Felix attaches "
        "them again when calico-node is restarted."
    ),
    field_reports=(),
    shown_by=(
        "nft_netdev_ingress",
        "tc_ingress_drop",
        "tc_ingress_stolen",
        "xdp_generic_drop",
        "xdp_native_drop",
        "bridge_port",
    ),
    samples=(
        Sample(
            when="by the only tc filter",
            look=replace(EXAMPLE, ingress=("tc filter bpf pref 100",)),
            seen=Seen(drop_reason="TC_INGRESS"),
        ),
        Sample(
            when="by nft netdev ingress",
            look=replace(EXAMPLE, ingress=("nft netdev TABLE CHAIN",)),
            seen=Seen(dropped="request", drop_reason="NETFILTER_DROP"),
        ),
        Sample(when="by XDP, generic", seen=Seen(dropped_in=_XDP)),
        Sample(when="by XDP, native", seen=Seen(link="native XDP")),
        Sample(
            when="by a bridge or bond", look=replace(EXAMPLE, master="br0", master_kind="bridge")
        ),
    ),
    drops="request",
)
