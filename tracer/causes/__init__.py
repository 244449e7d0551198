# SPDX-License-Identifier: Apache-2.0
"""The causes. A new one is one new file here and one line in ``CAUSES``."""

from __future__ import annotations

from dataclasses import replace

from tracer.causes import (
    arp_disabled,
    dropped_before_arp,
    filtered_in,
    filtered_out,
    forwarding_off,
    link_down,
    local_address_ignored,
    malformed,
    medium_id,
    no_route,
    not_addressed_to_us,
    not_unicast_route,
    proxy_arp_off,
    proxy_queue_full,
    rate_limited,
    reply_dropped,
    reply_not_taken,
    route_same_interface,
    source_rejected,
    unknown,
)
from tracer.causes.cause import INFERRED, OBSERVED, Cause, Finding
from tracer.evidence import Evidence
from tracer.node.look import Look
from tracer.seen import Seen

# The first that is established is the reason. The order is that of the kernel's own
# decision, so that of several faults the one is named that the request met first, and
# mending it brings it further. Nothing later is blamed for what an earlier step refused.
CAUSES: tuple[Cause, ...] = (
    # On its way to the ARP layer: net/core/dev.c, __netif_receive_skb_core.
    link_down.CAUSE,
    # In the queue of a limit, of the request or of the reply: never a filter's or queue's fault.
    rate_limited.CAUSE,
    dropped_before_arp.CAUSE,
    # net/ipv4/arp.c, arp_rcv: flags and destination first, in one condition; then lengths;
    # then the ARP input hook. (What arp_process itself finds wrong with a header comes
    # after that hook: `malformed` leaves to `filtered_in` what netfilter dropped.)
    arp_disabled.CAUSE,
    not_addressed_to_us.CAUSE,
    malformed.CAUSE,
    filtered_in.CAUSE,
    # net/ipv4/route.c, ip_route_input_slow. The target is looked up before all else (but
    # for martian senders, which no_route leaves to source_rejected): so without a route
    # neither forwarding nor rp_filter is to blame, although with forwarding off the kernel
    # changes the lookup's own error.
    no_route.CAUSE,
    # The node's own address needs no forwarding. Its sender is validated all the same: then
    # no local route is given, and source_rejected it is.
    local_address_ignored.CAUSE,
    # Before the route's type and the sender are looked at.
    forwarding_off.CAUSE,
    # A martian destination. Broadcast types are refused before forwarding is asked for, but
    # with it off the mend of either brings out the other.
    not_unicast_route.CAUSE,
    # __mkroute_input: the sender is validated, then both devices are compared.
    source_rejected.CAUSE,
    route_same_interface.CAUSE,
    # net/ipv4/arp.c, arp_process, arp_fwd_proxy: medium_id only if proxy_arp is on.
    proxy_arp_off.CAUSE,
    medium_id.CAUSE,
    # pneigh_enqueue (net/core/neighbour.c): the request was to be answered.
    proxy_queue_full.CAUSE,
    # The reply: the ARP output hook and netdev egress; then tc, queue, device.
    filtered_out.CAUSE,
    reply_dropped.CAUSE,
    # Nothing on the node refuses it.
    reply_not_taken.CAUSE,
    unknown.CAUSE,  # last: it always holds
)


def establish(look: Look, seen: Seen) -> Finding:
    """The first cause that is established, with everything that was seen and read.

    ``seen`` is of the request. What was observed wins over what the configuration lets
    expect. Of the configuration only those causes are asked that fit what was seen: what the
    kernel dropped it did not refuse, and a request that was seen did arrive. The reason is
    empty if a pod that was answered need not be told of.
    """
    if seen.answered_in_a_row is not None:
        because = reply_not_taken.CAUSE.observed(seen, look)
        if because is None:
            return Finding("", INFERRED, "", Evidence(seen))
        # Of the requests nothing else was seen; the rest was read in the pod.
        return _finding(reply_not_taken.CAUSE, INFERRED, because, look, seen)
    for cause in CAUSES:
        because = cause.observed(seen, look)
        if because is not None:
            # A link state is not any request's own path.
            confidence = OBSERVED if seen.link is None else INFERRED
            return _finding(cause, confidence, because, look, seen)
    for cause in CAUSES:
        if cause is not unknown.CAUSE:
            if seen.link is not None or cause.unseen:
                continue
            if seen.dropped is not None and seen.dropped != cause.drops:
                continue
        because = cause.holds(look)
        if because is not None:
            return _finding(cause, INFERRED, because, look, seen)
    raise AssertionError("the last cause always holds")


def _finding(cause: Cause, confidence: str, because: str, look: Look, seen: Seen) -> Finding:
    others = look
    if cause is source_rejected.CAUSE and look.route_from_node is not None:
        # What comes after the sender is known before its fault is fixed.
        others = replace(look, route=look.route_from_node)
    also = tuple(
        other.name
        for other in CAUSES
        if other not in (cause, unknown.CAUSE) and other.holds(others) is not None
    )
    evidence = Evidence(seen, look.evidence(), because, also)
    mend = cause.remedy(look, seen)
    configured = cause.holds(look) is not None
    return Finding(cause.name, confidence, mend.text, evidence, mend.kind, configured)


__all__ = ["CAUSES", "INFERRED", "OBSERVED", "Cause", "Finding", "Seen", "establish"]
