# SPDX-License-Identifier: Apache-2.0
"""What an exporter, a live table or a report may read of the state: frozen copies.

Every ``ts`` and ``since`` is nanoseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracer.evidence import Evidence


@dataclass(frozen=True, slots=True)
class HistogramView:
    """``counts[i]`` latencies were <= ``bounds_ns[i]`` and above the bound before it.

    ``counts`` is one longer than ``bounds_ns``: its last item is above every bound.
    Counts are per bucket, not cumulative.
    """

    bounds_ns: tuple[int, ...]
    counts: tuple[int, ...]
    sum_ns: int

    @property
    def count(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class NeighbourView:
    """``state`` is the kernel's NUD name in lower case."""

    ip: str
    state: str
    mac: str | None


@dataclass(frozen=True, slots=True)
class FlagView:
    """A flag that is up. ``unanswered`` counts the requests of this incident."""

    netns: int
    ifindex: int
    interface: str
    target_ip: str
    reason: str
    confidence: str
    since: int
    unanswered: int
    remedy: str
    evidence: Evidence
    remedy_kind: str = "advice"
    sender_ip: str = ""
    before_trace: bool = False


@dataclass(frozen=True, slots=True)
class InterfaceView:
    """One live interface. ``deferred`` is how many requests are still queued now."""

    netns: int
    ifindex: int
    interface: str
    answered: int
    unanswered: int
    deferred: int
    ignored: int
    latency: HistogramView
    last_seen_ts: int  # of the newest request, 0: none yet
    neighbours: tuple[NeighbourView, ...]
    neighbour_failures: int
    flags: tuple[FlagView, ...]

    @property
    def requests(self) -> int:
        return self.answered + self.unanswered + self.deferred + self.ignored


@dataclass(frozen=True, slots=True)
class CountedView:
    """Counted while interfaces bore one name; none ever falls, unlike a level.

    ``deferred`` counts requests that were queued, those included that have settled since
    and are counted again as ``answered`` or ``unanswered``.
    """

    answered: int
    unanswered: int
    deferred: int
    ignored: int
    neighbour_failures: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Of the whole run, interfaces that are gone included.

    ``unanswered`` + ``corrected`` = the sum of ``unanswered_by_reason`` + ``unattributed``,
    always; the latter are those whose cause is still being looked up. ``corrected`` were
    answered after they had been reported as unanswered. ``skipped``: runs of our programs.
    """

    answered: int
    unanswered: int
    deferred: int
    ignored: int
    lost: int
    flags_raised: int
    unattributed: int
    unanswered_by_reason: Mapping[str, int]
    neighbour_transitions: Mapping[str, int]  # by the state that was entered
    corrected: int = 0
    skipped: int = 0

    @property
    def requests(self) -> int:
        return self.answered + self.unanswered + self.deferred + self.ignored
