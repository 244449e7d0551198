# SPDX-License-Identifier: Apache-2.0
"""The last minutes of an interface as two SVG paths, requests and unanswered, and in words.

Drawn here for both, the page as it is served and its updates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracer.export.page.history import BUCKET_NS, BUCKETS

STEP = 4
WIDTH, HEIGHT = BUCKETS * STEP, 24
_MINUTES = BUCKETS * BUCKET_NS // 60_000_000_000

_FULL = BUCKET_NS // 1_000_000_000
"""A bar of full height is at least so many requests a bucket: one a second, as a kernel asks
that gets no reply. A healthy pod's now and then stays as small as it is."""


@dataclass(frozen=True, slots=True)
class Sparkline:
    """Values of the attribute ``d``: bars, to be stroked. ``said`` is the same in words."""

    requests: str
    unanswered: str
    said: str


def sparkline(buckets: Sequence[tuple[int, int]]) -> Sparkline:
    """``buckets`` as History.of gives them."""
    if not buckets:
        return Sparkline("", "", f"no request in {_MINUTES} min")
    requests = [requests for requests, _ in buckets]
    unanswered = [unanswered for _, unanswered in buckets]
    full = max(_FULL, *requests, *unanswered)
    return Sparkline(
        _bars(requests, full),
        _bars(unanswered, full),
        f"{sum(requests):,} requests in {_MINUTES} min, {sum(unanswered):,} unanswered",
    )


def _bars(counts: Iterable[int], full: int) -> str:
    return "".join(
        f"M{number * STEP + STEP // 2} {HEIGHT}v-{max(2, round(count * HEIGHT / full))}"
        for number, count in enumerate(counts)
        if count
    )
