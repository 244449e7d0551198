# SPDX-License-Identifier: Apache-2.0
"""The pod is answered, and asks on."""

from __future__ import annotations

import shlex
from dataclasses import replace

from tracer.causes.cause import EXAMPLE, Cause, Sample, in_pod
from tracer.causes.remedy import Remedy, advise, see
from tracer.node.look import Look
from tracer.node.peer import Peer
from tracer.seen import Seen

IN_A_ROW = 3
_PACE_MS = 500
# What an entry is whose replies did not come to it (net/core/neighbour.c).
_WAITS = frozenset({"incomplete", "failed"})


def _observed(seen: Seen, look: Look) -> str | None:
    """A pod that takes the replies has an entry; one that only asks (arping) has none."""
    if seen.answered_in_a_row is None:
        return None
    answered = f"answered {seen.answered_in_a_row} times in a row, and the pod asks on"
    peer = look.peer
    if not isinstance(peer, Peer):
        if not _is_paced(seen):
            return None
        return f"{answered}; {look.interface} {peer or 'was not looked into'}"
    if _is_for_nobody(seen, peer):
        return (
            f"{answered}: the reply goes to {seen.sender_mac}, from which it asks, and no "
            f"interface in the pod has that address ({peer.name} has {peer.mac})"
        )
    state, _ = peer.neighbours.get(look.target_ip, ("", None))
    if state in _WAITS:
        return f"{answered}: its entry for {look.target_ip} on {peer.name} is {state}"
    return None


def _is_paced(seen: Seen) -> bool:
    """Where that it asks on is all there is to tell by: does it ask as a kernel does, that
    waits for each reply (net/ipv4/arp.c, arp_tbl: a second)?"""
    asked, lasted = seen.answered_in_a_row or 0, seen.answered_for_ms or 0
    return asked > IN_A_ROW and lasted >= _PACE_MS * (asked - 1)


def _is_for_nobody(seen: Seen, peer: Peer) -> bool:
    # A bridge in the pod hands on what is for a machine behind it.
    return seen.sender_mac not in (None, *peer.macs) and not peer.enslaved


def _holds(look: Look) -> str | None:
    return None  # Only a pod that asks shows it.


def _remedy(look: Look, seen: Seen) -> Remedy:
    peer = look.peer
    if not isinstance(peer, Peer):
        return advise(
            f"Look in the pod behind {look.interface} for what loses the reply: a filter (nft list "
            "ruleset, arptables -L), or another MAC address than that which it asks from."
        )
    if _is_for_nobody(seen, peer):
        return advise(
            f"Have the pod ask from the MAC address of its {peer.name}, {peer.mac}: something "
            f"in it (a virtual machine, a macvlan, a setting of the CNI plugin) uses "
            f"{seen.sender_mac}, for which nothing there takes packets.",
            see(in_pod(peer, "ip link show")),
        )
    return advise(
        f"Find what in the pod drops the reply that came to its {peer.name}: the node has no "
        f"part in it, and its filters are not the cause.",
        see(
            in_pod(peer, "nft list ruleset"),
            in_pod(peer, f"tc filter show dev {shlex.quote(peer.name)} ingress"),
        ),
    )


# For the page.
_POD = Peer(
    name="eth0",
    mac="MAC",
    up=True,
    enslaved=False,
    macs=frozenset({"MAC"}),
    netns_path="/run/netns/POD",
)

CAUSE = Cause(
    name="reply_not_taken",
    means=(
        "The node answered, three times in a row within 5 s, and the pod asks on: the reply is "
        "lost or refused inside the pod (its own filter, another MAC address)."
    ),
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "Answered requests that do not end. Then the pod's namespace is looked into, once and "
        "again after 1 s, 2, 4, ... 60 s: its entry for the target is incomplete or failed, or no "
        "interface there has the MAC address that it asks from. A pod whose entry is good, or "
        "that has none (arping), is not flagged. Where the pod cannot be looked into, it is "
        "flagged all the same once it has asked four times about a second apart, as a kernel "
        "does, and the reason says so. The flag is cleared once the pod has not "
        "asked for 5 s. The requests are counted as answered."
    ),
    lasting=(
        "Usually a hardened image or a sidecar whose chain of family arp or netdev drops what it "
        "does not know, or a virtual machine that keeps a MAC address over a migration. The "
        "remedy is in the pod's image or its CNI plugin."
    ),
    field_reports=("kubevirt/kubevirt#1501", "kubevirt/kubevirt#5735"),
    shown_by=("pod_filters_arp", "pod_filters_all", "asks_from_another_mac"),
    samples=(
        Sample(
            when="the pod cannot be looked into",
            seen=Seen(answered_in_a_row=4, answered_for_ms=3000),
        ),
        Sample(
            when="its entry for the gateway is incomplete",
            seen=Seen(answered_in_a_row=4, sender_mac="MAC"),
            look=replace(EXAMPLE, peer=_POD),
        ),
        Sample(
            when="it asks from a MAC address that it does not have",
            seen=Seen(answered_in_a_row=4, sender_mac="OTHER"),
            look=replace(EXAMPLE, peer=_POD),
        ),
    ),
)
