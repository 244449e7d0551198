# SPDX-License-Identifier: Apache-2.0
"""The ARP header is not one that the kernel takes."""

from __future__ import annotations

from tracer.causes.cause import Cause
from tracer.causes.remedy import Remedy, advise
from tracer.node.look import Look
from tracer.seen import Seen


def _observed(seen: Seen, look: Look) -> str | None:
    if seen.dropped == "reply" or seen.taken_in is not None or seen.dropped_by_netfilter:
        return None
    if seen.header is not None:
        return f"the request's header: {seen.header}"
    # What arp_rcv itself drops (net/ipv4/arp.c): lengths, or a frame shorter than they say.
    if seen.dropped == "request" and seen.drop_function == "arp_rcv":
        return "arp_rcv dropped the request: its frame is too short, or its lengths are wrong"
    return None


def _holds(look: Look) -> str | None:
    return None  # No configuration of the node makes a header.


def _remedy(look: Look, seen: Seen) -> Remedy:
    what = f" ({seen.header})" if seen.header else ""
    return advise(f"Correct what sends from the pod: the node takes Ethernet and IPv4 only{what}.")


CAUSE = Cause(
    name="malformed",
    means="The ARP header is not one that the kernel takes.",
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The header is read when the request comes in: for an Ethernet device the kernel takes "
        "hardware type 1 or 6, protocol 0x0800 and addresses of 6 and 4 bytes, and drops all "
        "else in arp_rcv or arp_process."
    ),
    lasting=(
        "No setting of the node brings it about. Usually a program in the pod that builds its own "
        "frames (a user-space network stack, a scanner, a test tool); the pod's kernel would not."
    ),
    field_reports=(),
    shown_by=("malformed_hardware", "malformed_lengths"),
    drops="request",
)
