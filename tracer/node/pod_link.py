# SPDX-License-Identifier: Apache-2.0
"""Which interfaces are no pod's link, or one without ARP: nothing is to be proxied on them, so
none is judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from tracer.node.link import Link

# Felix's, of a workload endpoint's interface: its MAC address; "cali" and 11 digits of a SHA-1.
CALICO_MAC = "ee:ee:ee:ee:ee:ee"
_CALICO = re.compile(r"cali[0-9a-f]{11}")


def why_not(link: Link, gateways: Callable[[], Collection[int]]) -> str | None:
    """None: it may be a pod's. ``gateways``: the indexes of the interfaces by which a default
    route with a gateway leaves (:func:`tracer.node.routes.gateways`); only asked if it matters.
    """
    if link.no_arp is not None:
        return f"nobody asks by ARP there ({link.no_arp})"
    if _CALICO.fullmatch(link.name):
        return None
    if link.loopback:
        return "it is the loopback"
    if link.kind is None:
        return "it is no virtual interface"
    if link.ifindex in gateways():
        return "a default route with a gateway leaves through it"
    return None
