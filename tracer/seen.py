# SPDX-License-Identifier: Apache-2.0
"""What was seen of one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

Facts = Mapping[str, str | int | bool | None]
"""By the names that JSON lines and recordings have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request, as the kernel side saw it. None: not seen, so nothing is known of it.

    The names are those of JSON lines and recordings. All sysctls are the
    kernel's own values, read on the request's CPU when its verdict fell.

    What was dropped (skb tracepoint ``kfree_skb``):

    - ``dropped``: ``request`` or ``reply``; ``drop_reason``: the kernel's name without
      ``SKB_DROP_REASON_`` (Linux 5.17 and later); ``drop_function``: who freed it.
      ``drop_site`` stands for the place where its name is not known yet (a number of ours).
    - ``redirected``: the request was, to another device, by a tc filter; ``dropped_on``: that
      device's name, if it was dropped there.
    - ``dropped_in``: the innermost of these functions that the drop's stack was in:
      ``do_xdp_generic``, ``__netif_receive_skb_core`` (before ARP), ``arp_rcv`` (netfilter's
      ARP input hook, or arp_rcv itself), ``arp_process``, ``arp_xmit`` (netfilter's ARP
      output hook), ``__dev_queue_xmit`` (netdev egress, tc egress, the device; of a request,
      the pod's), ``net_rx_action``, ``napi_threaded_poll`` (a driver, native XDP).

    What ``arp_rcv`` looks at (net/ipv4/arp.c):

    - ``noarp``: the device had IFF_NOARP; ``destination``: the frame was not for us,
      ``otherhost`` or ``loopback``; ``header``: what is wrong with the ARP header.

    How far ``arp_process`` got:

    - ``asked``: ``arp_ignore`` (the target is local) or ``pneigh_lookup`` (forwarding is on,
      the route is unicast and leaves through another device, and proxy_arp or medium_id
      forbade the proxy). Function probes only.
    - ``target_lookup``: the last ``fib_table_lookup`` for the target, ``ok`` or an errno's
      name, in table ``target_table``, next hop through device ``target_out`` (an index).
    - ``source_lookup``, ``source_out``: the same for the sender's validation, if the
      kernel looked the sender up.
    - ``given_route``: the type of the route that the request was given in the end (``unicast``,
      ``local``, ``broadcast``, ``unreachable``, ...); ``none``: ip_route_input_noref
      refused to give one. ``given_error``: an unreachable one's errno; ``given_out``: an
      index. These five need the closer look (bpf/closer.h).
    - ``taken_in``: a function before the ARP layer that took the request without a drop;
      ``__dev_queue_xmit``: that took the reply.

    ``answered_in_a_row``: so many requests of this sender were, from ``sender_mac``, within
    ``answered_for_ms``, and it asks on.

    ``link`` is no request's: the link state for which a flag is raised although no request
    can be seen: ``down``, ``no carrier``, ``bridge NAME``, ``bond NAME``, ``native XDP``.

    Of the verdict itself:

    - ``given_up``: a deferred request for which no reply was seen in time.
    - ``other_mac``: from where the second of two answers came.
    - ``not_a_pod_link``: why the interface is none, so that nobody promised an answer there.
    - ``seen_in``: where, if not in an event of the request's own.
    """

    dropped: str | None = None
    drop_reason: str | None = None
    drop_function: str | None = None
    drop_site: int | None = None
    given_up: bool | None = None
    noarp: bool | None = None
    destination: str | None = None
    header: str | None = None
    dropped_in: str | None = None
    redirected: bool | None = None
    dropped_on: str | None = None
    taken_in: str | None = None
    asked: str | None = None
    target_lookup: str | None = None
    target_table: int | None = None
    target_out: int | None = None
    source_lookup: str | None = None
    source_out: int | None = None
    given_route: str | None = None
    given_error: str | None = None
    given_out: int | None = None
    medium_id_out: int | None = None  # of the route's device
    forwarding: int | None = None
    proxy_arp: int | None = None
    proxy_arp_all: int | None = None
    proxy_arp_pvlan: int | None = None
    medium_id: int | None = None
    rp_filter: int | None = None
    rp_filter_all: int | None = None
    arp_ignore: int | None = None
    arp_ignore_all: int | None = None
    arp_filter: int | None = None
    arp_filter_all: int | None = None
    proxy_queue: int | None = None  # packets in the proxy queue
    link: str | None = None
    answered_in_a_row: int | None = None
    answered_for_ms: int | None = None
    sender_mac: str | None = None
    other_mac: str | None = None
    not_a_pod_link: str | None = None
    seen_in: str | None = None

    @property
    def refused(self) -> bool:
        """Nothing took the request or its reply away: arp_process decided what became of it."""
        return self.dropped is None and self.taken_in is None and self.link is None

    @property
    def reply_taken(self) -> bool:
        return self.taken_in == "__dev_queue_xmit"

    @property
    def validates_way_back(self) -> bool:
        """False for rp_filter 0: the sender may be looked up, but its way does not matter
        (net/ipv4/fib_frontend.c, __fib_validate_source).
        """
        return self.rp_filter != 0 or self.rp_filter_all != 0

    @property
    def dropped_by_netfilter(self) -> bool:
        """Without drop reasons (before Linux 5.17) the function tells."""
        if self.dropped is None:
            return False
        return self.drop_reason == "NETFILTER_DROP" or self.drop_function in _NETFILTER

    @classmethod
    def of(cls, facts: Facts) -> Seen:
        """What else there is among the facts is passed over."""
        known: dict[str, Any] = {name: facts[name] for name in SEEN_NAMES if name in facts}
        return cls(**known)

    def facts(self) -> dict[str, str | int | bool]:
        """What was seen, by name; what was not is left out."""
        if self is NOTHING_SEEN:
            return {}
        values = zip(SEEN_NAMES, _values(self), strict=True)
        return {name: value for name, value in values if value is not None}


NOTHING_SEEN = Seen()
"""Of every answered request: only it need not be looked through."""
SEEN_NAMES = tuple(field.name for field in fields(Seen))
_values = attrgetter(*SEEN_NAMES)

# net/netfilter/core.c; net/netfilter/nf_tables_core.c, where a verdict drops by itself.
_NETFILTER = frozenset({"nf_hook_slow", "nft_do_chain"})
