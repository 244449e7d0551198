# SPDX-License-Identifier: Apache-2.0
"""How many requests each interface sent over the last minutes. Pure: no clock of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Key = tuple[int, int, str]
"""netns inode, ifindex, name: an index is reused, seldom together with the name."""

BUCKET_NS = 10_000_000_000
BUCKETS = 30
"""So many of them are kept: five minutes."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An interface's counts since tracing began."""

    key: Key
    requests: int
    unanswered: int


class _Series:
    """``newest``: the number of the bucket that is last in the lists."""

    __slots__ = ("newest", "requests", "seen_requests", "seen_unanswered", "unanswered")

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self.seen_requests = 0
        self.seen_unanswered = 0
        self.requests = [0] * BUCKETS
        self.unanswered = [0] * BUCKETS

    def move_to(self, number: int) -> None:
        steps = min(number - self.newest, BUCKETS)
        self.newest = number
        for buckets in (self.requests, self.unanswered):
            del buckets[:steps]
            buckets.extend([0] * steps)


class History:
    """Fed with absolute counts; keeps what they grew by, in buckets of 10 s over 5 minutes.

    Times are nanoseconds of any clock that does not go back. What came between two samples
    is put where the middle between them lies, so that a sample which is due at the end of a
    bucket may come a little late. Only what changes costs: an interface that asks nothing is
    compared, and no more.
    """

    def __init__(self) -> None:
        self._series: dict[Key, _Series] = {}
        self._last_ns: int | None = None

    def __len__(self) -> int:
        return len(self._series)

    def sample(self, now_ns: int, samples: Iterable[Sample]) -> None:
        """All interfaces that there are; those that are not among them are forgotten."""
        last_ns = now_ns if self._last_ns is None else self._last_ns
        number = (last_ns + now_ns) // 2 // BUCKET_NS
        self._last_ns = now_ns
        old, self._series = self._series, {}
        for sample in samples:
            series = old.get(sample.key) or _Series(number)
            self._series[sample.key] = series
            # The kernel's own level of deferred requests may replace a higher one of ours.
            requests = max(0, sample.requests - series.seen_requests)
            unanswered = max(0, sample.unanswered - series.seen_unanswered)
            series.seen_requests = sample.requests
            series.seen_unanswered = sample.unanswered
            if requests or unanswered:
                series.move_to(number)
                series.requests[-1] += requests
                series.unanswered[-1] += unanswered

    def of(self, key: Key) -> tuple[tuple[int, int], ...]:
        """(requests, unanswered) of each bucket, the oldest first; () if there were none."""
        series = self._series.get(key)
        if series is None or self._last_ns is None:
            return ()
        idle = self._last_ns // BUCKET_NS - series.newest
        if idle >= BUCKETS:
            return ()
        buckets = list(zip(series.requests, series.unanswered, strict=True))
        kept = (*buckets[idle:], *[(0, 0)] * idle)
        return kept if any(map(any, kept)) else ()
