# SPDX-License-Identifier: Apache-2.0
"""The interface has IFF_NOARP."""

from __future__ import annotations

from tracer.causes import conditions
from tracer.causes.cause import Cause
from tracer.causes.remedy import Remedy, link, propose
from tracer.node.look import Look
from tracer.seen import Seen


def _observed(seen: Seen, look: Look) -> str | None:
    if seen.noarp and seen.dropped != "reply" and seen.taken_in is None:
        return f"{look.interface} had IFF_NOARP when the request came"
    return None


def _holds(look: Look) -> str | None:
    return f"{look.interface} has IFF_NOARP" if look.noarp else None


def _remedy(look: Look, seen: Seen) -> Remedy:
    return propose(look, link(look, "arp on"))


CAUSE = Cause(
    name="arp_disabled",
    condition=conditions.LINK,
    means="The interface has IFF_NOARP: the kernel passes over every ARP frame on it.",
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised="The device's flags are read when the request comes in, as arp_rcv reads them.",
    lasting=(
        "Calico never sets it. Usually [Link] ARP=no in a file of /etc/systemd/network whose "
        "[Match] is too wide, or a script that runs ip link set arp off or ifconfig -arp (load "
        "balancers' set-up for direct return does): narrow it, or write [Match] Name=cali* and "
        "[Link] Unmanaged=yes in /etc/systemd/network/00-calico.network."
    ),
    field_reports=(),
    shown_by=("noarp", "noarp_by_ioctl"),
)
