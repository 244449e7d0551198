# SPDX-License-Identifier: Apache-2.0
"""Which kernel function stands at an address: those that free ARP packets, by range."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

# Where a request or its reply is known to be dropped. The loading process, which reads
# kallsyms anyway, looks up their ranges; the rest of the table would cost the tracing
# process 20 MB for the odd name.
DROPPING = (
    "__dev_direct_xmit",
    "__dev_forward_skb2",
    "__dev_queue_xmit",
    "__dev_xmit_skb",
    "__netif_receive_skb_core",
    "arp_process",
    "arp_rcv",
    "br_handle_frame",
    "br_handle_frame_finish",
    "do_xdp_generic",
    "enqueue_to_backlog",
    "generic_xdp_tx",
    "kfree_skb_list_reason",
    "neigh_proxy_process",
    "netif_receive_generic_xdp",
    "nf_hook_slow",
    "nf_hook_slow_list",
    "nft_do_chain",
    "pneigh_enqueue",
    "pneigh_queue_purge",
    "process_backlog",
    "sch_handle_egress",
    "sch_handle_ingress",
    "tcx_run",
    "validate_xmit_skb",
    "veth_xmit",
)


class Functions:
    """``ranges``: (first address, address after the last, name)."""

    def __init__(self, ranges: Iterable[tuple[int, int, str]]) -> None:
        self._ranges = sorted(ranges)
        self._starts = [start for start, _, _ in self._ranges]

    def name(self, address: int) -> str:
        """The function's name, or the address where it is none of the known."""
        at = bisect_right(self._starts, address) - 1
        if at >= 0:
            _, end, name = self._ranges[at]
            if address < end:
                return name
        return f"{address:#x}"
