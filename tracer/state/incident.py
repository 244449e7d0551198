# SPDX-License-Identifier: Apache-2.0
"""An incident: an interface gets no reply for one target, from the first unanswered
request to the next answered one. Its flag goes up once its cause is known.
"""

from __future__ import annotations

from tracer.events import CauseFound, Evidence

SECOND = 1_000_000_000
LOOK_LIMIT_NS = SECOND
"""A first look that takes longer is not waited for: the flag goes up as ``unknown``."""
LOOK_LOST_NS = 10 * SECOND
"""A look that has not come back by then never will: another one may be ordered."""
FIRST_WAIT_NS = SECOND
LONGEST_WAIT_NS = 60 * SECOND
"""The cause of a flag that stays up is looked at again after 1 s, 2, 4, ... 60 s."""

UNKNOWN = "unknown"
UNKNOWN_REMEDY = "No cause is established: see the evidence."


class Incident:
    """``reason`` is None until the cause is established; the flag is up from then on.

    ``looking_since`` is the ts of an order to look that was not answered yet.
    ``ended`` marks an incident that was over before its cause was known.
    ``unattributed`` counts unanswered requests that wait for the reason.
    ``seen_by_snapshot_ts``: it was opened from the kernel's counters, whose newest
    unanswered request has this ts (-1: opened by an event).
    """

    __slots__ = (
        "confidence",
        "ended",
        "evidence",
        "last_look_ts",
        "last_unanswered_ts",
        "looking_since",
        "reason",
        "remedy",
        "seen_by_snapshot_ts",
        "since",
        "target_ip",
        "unanswered",
        "unattributed",
        "unknown_in_a_row",
        "wait_ns",
    )

    def __init__(self, target_ip: str, since: int) -> None:
        self.target_ip = target_ip
        self.since = since
        self.last_unanswered_ts = since
        self.unanswered = 0
        self.unattributed = 0
        self.ended = False
        self.seen_by_snapshot_ts = -1
        self.reason: str | None = None
        self.confidence = ""
        self.remedy = ""
        self.evidence: Evidence = {}
        self.looking_since: int | None = None
        self.last_look_ts = since
        self.wait_ns = FIRST_WAIT_NS
        self.unknown_in_a_row = 0

    def look_ordered(self, ts: int) -> None:
        self.looking_since = ts
        self.last_look_ts = ts

    def look_again(self, ts: int) -> bool:
        """Is another look due? If so, the wait for the one after it doubles."""
        if self.reason is None or ts - self.last_look_ts < self.wait_ns:
            return False
        if self.looking_since is not None and ts - self.looking_since < LOOK_LOST_NS:
            return False
        self.wait_ns = min(2 * self.wait_ns, LONGEST_WAIT_NS)
        return True

    def take(self, cause: CauseFound) -> bool:
        """Takes the result of a look; True if it is to be said: the first, or another reason.

        One ``unknown`` does not replace a known reason, two in a row do: a look that
        races with a change of the node's configuration may see neither state whole.
        """
        if cause.reason == UNKNOWN and self.reason not in (None, UNKNOWN):
            self.unknown_in_a_row += 1
            if self.unknown_in_a_row < 2:
                return False
        else:
            self.unknown_in_a_row = 0
        changed = cause.reason != self.reason
        self.reason = cause.reason
        self.confidence = cause.confidence
        self.remedy = cause.remedy
        self.evidence = cause.evidence
        return changed
