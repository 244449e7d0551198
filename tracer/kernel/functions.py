# SPDX-License-Identifier: Apache-2.0
"""Which kernel function stands at an address: those that free ARP packets, by range."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from tracer.kernel.symbols import Symbols

# Where a request or its reply is known to be dropped. The loading process, which reads
# kallsyms anyway, looks up their ranges; keeping the whole table would cost the tracing
# process 20 MB.
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
    """``ranges``: (first address, address after the last, name).

    A site is a number that stands for an address which is in none of them: the kernel's
    addresses go nowhere.
    """

    def __init__(self, ranges: Iterable[tuple[int, int, str]]) -> None:
        self._ranges = sorted(ranges)
        self._starts = [start for start, _, _ in self._ranges]
        self._learnt: dict[int, str] = {}
        self._sites: list[int] = []

    def name(self, address: int) -> str | None:
        """The function's name, or None while it is not known; at once."""
        at = bisect_right(self._starts, address) - 1
        if at >= 0:
            _, end, name = self._ranges[at]
            if address < end:
                return name
        return self._learnt.get(address)

    def site(self, address: int) -> int:
        """The address's number, from 1."""
        if address not in self._sites:  # there are few
            self._sites.append(address)
        return self._sites.index(address) + 1

    def learn(self, site: int) -> str | None:
        """The function of a site, looked up in kallsyms: 0.1 s. None: they are hidden.

        From then on name() knows it too. Other threads may go on using that meanwhile.
        """
        address = self._sites[site - 1]
        found = Symbols.load().name(address)
        if found is None:
            return None
        self._learnt[address] = found.split("+")[0].split(".")[0]
        return self._learnt[address]
