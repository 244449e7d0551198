# SPDX-License-Identifier: Apache-2.0
"""That something of the node's configuration changed, from the kernel's notifications."""

from __future__ import annotations

import contextlib

from tracer.node import netlink

# Bits of linux/rtnetlink.h: RTNLGRP_LINK, TC, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE,
# IPV4_NETCONF (forwarding, rp_filter and proxy_arp; of other sysctls nothing is told).
_ROUTE_GROUPS = sum(1 << (number - 1) for number in (1, 4, 5, 7, 8, 24))
_NEIGHBOURS = 1 << (3 - 1)  # RTNLGRP_NEIGH
_NFTABLES = 1 << (7 - 1)  # NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h


class Changes:
    """Of the network namespace it was made in. Raises OSError where netlink is not to be had.

    ``neighbours``: entries of the neighbour table too, which change all the time.
    """

    def __init__(self, *, neighbours: bool) -> None:
        self._sockets = [netlink.listening(_ROUTE_GROUPS | (_NEIGHBOURS if neighbours else 0))]
        with contextlib.suppress(OSError):  # It takes CAP_NET_ADMIN.
            self._sockets.append(netlink.listening(_NFTABLES, netlink.NETFILTER))

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()

    def filenos(self) -> list[int]:
        """One of them is readable when something changed."""
        return [sock.fileno() for sock in self._sockets]

    def forget(self) -> bool:
        """Reads away what was told until now; never blocks. Was there anything?"""
        some = False
        for sock in self._sockets:
            while True:
                try:
                    sock.recv(netlink.BUFFER)
                except BlockingIOError:
                    break
                except OSError:  # Some were lost: something changed.
                    pass
                some = True
        return some
