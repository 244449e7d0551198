# SPDX-License-Identifier: Apache-2.0
"""An incident: one sender on an interface gets no reply for one target, from the first
unanswered request to the next answered one. Its flag goes up once its cause is known.
"""

from __future__ import annotations

from dataclasses import replace

from tracer.events import CauseFound
from tracer.evidence import Evidence
from tracer.seen import NOTHING_SEEN, Facts

SECOND = 1_000_000_000
LOOK_LIMIT_NS = SECOND
"""A first look that takes longer is not waited for: the flag goes up as ``unknown``."""
LOOK_LOST_NS = 10 * SECOND
"""A look that has not come back by then never will: another one may be ordered."""
FIRST_WAIT_NS = SECOND
LONGEST_WAIT_NS = 60 * SECOND
"""The cause of a flag that stays up is looked at again after 1 s, 2, 4, ... 60 s."""

NEWS_EVERY_NS = SECOND // 5
"""At most so often is a look ordered because requests carry other evidence than before."""
CONTRADICTIONS = 3
"""So many looks in a row must infer another reason before they outweigh an observed one."""
VOLATILE = frozenset({"proxy_queue"})
"""Facts that are others for each request."""
ENDS = frozenset({"dropped", "noarp", "destination", "header"})
"""Facts that tell where a request came to its end: without them, it went further."""

OBSERVED = "observed"
UNKNOWN = "unknown"
UNKNOWN_REMEDY = "No cause is established: see the evidence."


class Incident:
    """``reason`` is None until the cause is established; the flag is up from then on.

    ``looking_since`` is the ts of an order to look that was not answered yet.
    ``ended`` marks an incident that was over before its cause was known.
    ``unattributed`` counts unanswered requests that wait for the reason, ``wait_until``
    is when they wait no longer.
    ``seen_by_snapshot_ts``: it was opened from the kernel's counters, whose newest
    unanswered request has this ts (-1: opened by an event).
    ``told`` are the facts of requests that looks were ordered with, ``last_seen`` is what was
    seen of the newest. ``held`` is an ``unknown`` that is not said yet, because a closer look may
    still tell better; ``awaited``: it has been held for longer than a first look may take.
    ``of_link``: it stands for a link state, not for a request. ``of_answers``: the pod is
    answered, and asks on.
    ``doubted_ts``: then something happened under which the reason may be another one now
    (-1: nothing did); no request is told with it until a look says that it stands.
    ``changed_ts``: a look that was ordered before then may have read what is so no more.
    ``configured``: the node's configuration alone shows the reason too. ``change_look_ts``:
    of the last look that was ordered for a change, not for a request.
    ``before_trace``: it was so when tracing began.
    """

    __slots__ = (
        "awaited",
        "before_trace",
        "change_look_ts",
        "changed_ts",
        "confidence",
        "configured",
        "contradictions",
        "doubted_ts",
        "ended",
        "evidence",
        "exhausted",
        "held",
        "last_look_ts",
        "last_seen",
        "last_unanswered_ts",
        "looking_since",
        "of_answers",
        "of_link",
        "reason",
        "remedy",
        "remedy_kind",
        "seen_by_snapshot_ts",
        "sender_ip",
        "since",
        "target_ip",
        "told",
        "unanswered",
        "unattributed",
        "wait_ns",
        "wait_until",
    )

    def __init__(self, target_ip: str, sender_ip: str, since: int) -> None:
        self.target_ip = target_ip
        self.sender_ip = sender_ip
        self.since = since
        self.before_trace = False
        self.last_unanswered_ts = since
        self.last_seen = NOTHING_SEEN
        self.unanswered = 0
        self.unattributed = 0
        self.wait_until: int | None = None
        self.ended = False
        self.seen_by_snapshot_ts = -1
        self.reason: str | None = None
        self.confidence = ""
        self.remedy = ""
        self.remedy_kind = "advice"
        self.evidence = Evidence()
        self.configured = False
        self.looking_since: int | None = None
        self.last_look_ts = since
        self.change_look_ts = -1
        self.doubted_ts = -1
        self.changed_ts = -1
        self.wait_ns = FIRST_WAIT_NS
        self.contradictions = 0
        self.exhausted = False
        self.told: dict[str, str | int | bool | None] = {}
        self.held: CauseFound | None = None
        self.awaited = False
        self.of_link = False
        self.of_answers = False

    @property
    def settled(self) -> bool:
        """Is the reason known, and nothing in its way?"""
        return self.reason is not None and self.doubted_ts < 0

    def doubt(self, ts: int) -> None:
        """A request contradicts what the reason was found by."""
        self.doubted_ts = ts
        for end in ENDS:
            self.told.pop(end, None)

    def node_changed(self, ts: int) -> None:
        self.doubted_ts = self.changed_ts = ts
        self.told = {}  # what requests carry is news again

    def look_ordered(self, ts: int) -> None:
        self.looking_since = ts
        self.last_look_ts = ts

    def is_looked_at(self, ts: int) -> bool:
        return self.looking_since is not None and ts - self.looking_since < LOOK_LOST_NS

    def look_again(self, ts: int) -> bool:
        """Is another look due? If so, the wait for the one after it doubles."""
        if self.reason is None or ts - self.last_look_ts < self.wait_ns or self.is_looked_at(ts):
            return False
        self.wait_ns = min(2 * self.wait_ns, LONGEST_WAIT_NS)
        return True

    def contradicts(self, facts: Facts) -> bool:
        """Does what was seen of a request say otherwise than that which the cause was found by?"""
        told = self.told
        for name, value in facts.items():
            if name in VOLATILE:
                continue
            if told.get(name, value) != value or (name in ENDS and told and name not in told):
                return True
        return any(name in told and name not in facts for name in ENDS)

    def is_news(self, facts: Facts, ts: int) -> bool:
        """Is a look due for what was seen of a request? Notes what no look was ordered with."""
        if self.looking_since is not None:
            return False
        soon = ts - self.last_look_ts < NEWS_EVERY_NS
        if soon and self.told and facts.keys() <= self.told.keys():
            return False
        news = {
            name: value
            for name, value in facts.items()
            if name not in VOLATILE and (name not in self.told or self.told[name] != value)
        }
        self.told.update(news)
        return bool(news) or (self.doubted_ts >= 0 and not soon)

    @property
    def wants_closer_look(self) -> bool:
        """Would it help to see the route lookup of the next request?"""
        doubtful = self.confidence != OBSERVED or self.contradictions > 0 or self.doubted_ts >= 0
        return doubtful and not self.exhausted and self.unanswered > 0

    def take(self, cause: CauseFound) -> bool:
        """Takes the result of a look; True if it is to be said: the first, or another reason.

        What was observed wins over what the configuration lets expect, and one ``unknown``
        does not replace a known reason, two in a row do: a look that races with a change
        of the node's configuration may see neither state whole. What is in doubt has
        nothing to say against another reason.
        """
        observed = cause.confidence == OBSERVED
        # The closer look was had, and did not settle it: there is no better one.
        self.exhausted = not observed and (self.exhausted or cause.seen.given_route is not None)
        changed = cause.reason != self.reason
        if self.reason is not None and changed and not self._convinces(cause):
            return False
        if self.doubted_ts >= 0:
            self.doubted_ts = -1
        elif not changed and self.confidence == OBSERVED and not observed:
            return False  # It says the same on weaker grounds.
        self.contradictions = 0
        evidence = cause.evidence
        if changed and observed and self.reason not in (None, UNKNOWN):
            evidence = replace(evidence, instead_of=f"{self.reason} ({self.confidence})")
        self.reason = cause.reason
        self.confidence = cause.confidence
        self.configured = cause.configured
        self.remedy = cause.remedy
        self.remedy_kind = cause.remedy_kind
        self.evidence = evidence
        self.held = None
        return changed

    def after_change(self, cause: CauseFound) -> bool | None:
        """What a look without a request says of a reason in doubt: it stands (True), another
        is there (False), or the next request must tell (None)."""
        if cause.reason == UNKNOWN:
            return None
        if self.reason in (cause.reason, *cause.also):
            return True
        # What only a request's own path shows cannot be missed in the configuration.
        return False if self.configured or self.confidence != OBSERVED else None

    def _convinces(self, cause: CauseFound) -> bool:
        """Does another reason than the one we have outweigh it?"""
        if cause.confidence == OBSERVED or self.of_link:
            return True
        if self.doubted_ts >= 0 and cause.reason != UNKNOWN:
            return True
        self.contradictions += 1
        self.exhausted = False
        self.told = {}  # what requests carry is news again
        if self.confidence == OBSERVED and self.doubted_ts < 0:
            return self.contradictions >= CONTRADICTIONS
        return cause.reason != UNKNOWN or self.contradictions >= 2
