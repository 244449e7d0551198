# SPDX-License-Identifier: Apache-2.0
"""The reply-latency histogram: fixed buckets, so its memory does not grow."""

from __future__ import annotations

from bisect import bisect_left

from tracer.state.views import HistogramView

BOUNDS_NS: tuple[int, ...] = tuple(1_000 * 4**k for k in range(12))
"""Upper bounds, inclusive, in nanoseconds: 1 us, 4 us, 16 us, ... 4.194304 s; then infinity."""


class Histogram:
    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_NS) + 1)
        self.sum_ns = 0

    def observe(self, latency_ns: int) -> None:
        self.counts[bisect_left(BOUNDS_NS, latency_ns)] += 1
        self.sum_ns += latency_ns

    def view(self) -> HistogramView:
        return HistogramView(BOUNDS_NS, tuple(self.counts), self.sum_ns)
