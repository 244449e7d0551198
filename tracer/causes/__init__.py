# SPDX-License-Identifier: Apache-2.0
"""The causes. A new one is one new file here and one line in ``CAUSES``."""

from __future__ import annotations

from tracer.causes import forwarding_off, no_route, proxy_arp_off, unknown
from tracer.causes.cause import INFERRED, OBSERVED, Cause, Finding
from tracer.causes.seen import Seen
from tracer.events import Evidence
from tracer.node.look import Look

# The first that is established is the reason. The order is that of the kernel's own
# decision (net/ipv4/arp.c, arp_process), so that of several faults the one is named that
# the request met first: without a route forwarding is not asked for, and without
# forwarding proxy_arp is not.
CAUSES: tuple[Cause, ...] = (
    no_route.CAUSE,
    forwarding_off.CAUSE,
    proxy_arp_off.CAUSE,
    unknown.CAUSE,  # last: it always holds
)


def establish(look: Look, evidence: Evidence) -> Finding:
    """The first cause that is established, with everything that was seen and read.

    ``evidence`` is what the hooks saw of the request. What was observed wins over what
    the configuration lets expect. Of the configuration only those causes are asked that
    fit what was seen: what the kernel dropped it did not refuse, and a request that was
    seen did arrive.
    """
    seen = Seen.of(evidence)
    for cause in CAUSES:
        because = cause.observed(seen, look)
        if because is not None:
            # A link state is not any request's own path.
            confidence = OBSERVED if seen.link is None else INFERRED
            return _finding(cause, confidence, because, look, seen, evidence)
    for cause in CAUSES:
        if cause is not unknown.CAUSE:
            if seen.link is not None or cause.unseen:
                continue
            if seen.dropped is not None and not cause.drops:
                continue
        because = cause.holds(look)
        if because is not None:
            return _finding(cause, INFERRED, because, look, seen, evidence)
    raise AssertionError("the last cause always holds")


def _finding(
    cause: Cause, confidence: str, because: str, look: Look, seen: Seen, evidence: Evidence
) -> Finding:
    also = " ".join(
        other.name
        for other in CAUSES
        if other not in (cause, unknown.CAUSE) and other.holds(look) is not None
    )
    found = {**look.evidence(), **evidence, "because": because}
    if also:
        found["also"] = also
    return Finding(cause.name, confidence, cause.remedy(look, seen), found)


__all__ = ["CAUSES", "INFERRED", "OBSERVED", "Cause", "Finding", "Seen", "establish"]
