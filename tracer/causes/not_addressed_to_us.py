# SPDX-License-Identifier: Apache-2.0
"""The frame's destination MAC is another host's."""

from __future__ import annotations

from dataclasses import replace

from tracer.causes.cause import EXAMPLE, Cause, Sample
from tracer.causes.remedy import Remedy, advise, link, propose
from tracer.node.look import Look
from tracer.seen import Seen

_CALICO_MAC = "ee:ee:ee:ee:ee:ee"


def _observed(seen: Seen, look: Look) -> str | None:
    if seen.destination is None or seen.dropped == "reply" or seen.taken_in is not None:
        return None
    if seen.destination == "loopback":
        return "the frame is the node's own, looped back (PACKET_LOOPBACK)"
    mac = f" ({look.mac})" if look.mac else ""
    return f"the frame's destination MAC is not that of {look.interface}{mac}: PACKET_OTHERHOST"


def _holds(look: Look) -> str | None:
    return None  # What the pod believes is not in the node's configuration.


def _remedy(look: Look, seen: Seen) -> Remedy:
    if look.mac is not None and look.mac != _CALICO_MAC and look.interface.startswith("cali"):
        return propose(look, link(look, f"address {_CALICO_MAC}"))
    return advise(
        f"The pod asks at a MAC address that {look.interface} does not have"
        f"{f' (it has {look.mac})' if look.mac else ''}: in the pod's network namespace, "
        f"ip neigh del {look.target_ip} dev eth0."
    )


CAUSE = Cause(
    name="not_addressed_to_us",
    means="The frame's destination MAC is another host's, so the ARP layer passes over it.",
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The packet's type is read when it comes in, as arp_rcv reads it: PACKET_OTHERHOST. A pod "
        "asks by unicast when it renews an entry that it has; by broadcast when it has none."
    ),
    lasting=(
        "Usually the host side's MAC was changed under a running pod, which still asks at the old "
        "one: udev's default MACAddressPolicy=persistent does that to new veths. Write "
        "[Match] OriginalName=cali* and [Link] MACAddressPolicy=none in "
        "/etc/systemd/network/10-calico.link. Else the pod has a permanent neighbour entry of "
        "its own making."
    ),
    field_reports=(),
    shown_by=("other_mac_request", "moved_mac"),
    samples=(
        Sample(
            when="the interface's MAC is not Calico's",
            look=replace(EXAMPLE, mac="02:00:00:00:00:01"),
        ),
        Sample(when="otherwise", look=replace(EXAMPLE, mac=_CALICO_MAC)),
    ),
)
