# SPDX-License-Identifier: Apache-2.0
"""Nothing could be established: the evidence is all there is to say."""

from __future__ import annotations

from tracer.causes.cause import Cause
from tracer.causes.remedy import Remedy, advise
from tracer.node.look import Look
from tracer.seen import Seen
from tracer.state.incident import UNKNOWN_REMEDY


def _observed(seen: Seen, look: Look) -> str | None:
    return None


def _holds(look: Look) -> str | None:
    if look.failures:
        return "no cause is established, and not everything could be read"
    return "no cause that arpwhy knows is established by what was read"


def _remedy(look: Look, seen: Seen) -> Remedy:
    return advise(UNKNOWN_REMEDY)


CAUSE = Cause(
    name="unknown",
    means="No cause could be established; the evidence is printed.",
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "Neither the kernel's path of the request nor the node's configuration establishes any "
        "cause. Evidence is printed: what was seen of the request, what was read, and under "
        "unread what could not be."
    ),
    lasting=(
        "Not known: arpwhy does not guess. If arpwhy doctor finds nothing missing, report the "
        "evidence of the flag: a cause may be missing here."
    ),
    field_reports=(),
    shown_by=(),
)
