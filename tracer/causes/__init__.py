# SPDX-License-Identifier: Apache-2.0
"""The causes. A new one is one new file here and one line in ``CAUSES``."""

from __future__ import annotations

from tracer.causes import forwarding_off, no_route, proxy_arp_off, unknown
from tracer.causes.cause import INFERRED, Cause, Finding
from tracer.events import Evidence
from tracer.node.look import Look

# The first that holds is the reason. The order is that of the kernel's own decision
# (net/ipv4/arp.c, arp_process), so that of several faults the one is named that the
# request met first: with forwarding off every route lookup fails, and without a route
# proxy_arp is never asked for.
CAUSES: tuple[Cause, ...] = (
    forwarding_off.CAUSE,
    no_route.CAUSE,
    proxy_arp_off.CAUSE,
    unknown.CAUSE,  # last: it always holds
)


def establish(look: Look, seen: Evidence) -> Finding:
    """The first cause that the look establishes, with everything the look read.

    ``seen`` is what the hooks saw of the request. What the kernel was seen to drop it did
    not refuse, whatever its configuration says.
    """
    for cause in (unknown.CAUSE,) if "dropped" in seen else CAUSES:
        because = cause.holds(look)
        if because is not None:
            evidence = {**look.evidence(), "because": because}
            return Finding(cause.name, INFERRED, cause.remedy(look), evidence)
    raise AssertionError("the last cause always holds")


__all__ = ["CAUSES", "INFERRED", "Cause", "Finding", "establish"]
