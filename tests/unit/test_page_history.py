# SPDX-License-Identifier: Apache-2.0
"""The last minutes of each interface: exact, bounded, and forgotten with it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracer.export.page.history import BUCKET_NS, BUCKETS, History, Sample
from tracer.export.page.sparkline import HEIGHT, sparkline

CALI = (1, 7, "cali7")
OTHER = (1, 8, "cali8")
SECOND = 1_000_000_000


def test_what_came_between_two_samples_is_in_the_bucket_of_the_middle() -> None:
    history = History()
    history.sample(0, [Sample(CALI, 0, 0)])
    history.sample(10 * SECOND, [Sample(CALI, 7, 5)])
    history.sample(20 * SECOND + 300_000_000, [Sample(CALI, 18, 5)])  # a little late
    assert history.of(CALI)[-3:] == ((7, 5), (11, 0), (0, 0))
    assert len(history.of(CALI)) == BUCKETS


def test_samples_of_one_bucket_are_added() -> None:
    history = History()
    for second in range(1, 8):
        history.sample(second * SECOND, [Sample(CALI, 2 * second, second)])
    assert history.of(CALI)[-1] == (14, 7)


def test_five_minutes_later_nothing_is_left() -> None:
    history = History()
    history.sample(0, [Sample(CALI, 3, 3)])
    history.sample((BUCKETS - 1) * BUCKET_NS, [Sample(CALI, 3, 3)])
    assert history.of(CALI) == ((3, 3), *[(0, 0)] * (BUCKETS - 1))
    history.sample(BUCKETS * BUCKET_NS, [Sample(CALI, 3, 3)])
    assert history.of(CALI) == ()


def test_what_is_gone_is_forgotten_and_begins_anew() -> None:
    history = History()
    history.sample(0, [Sample(CALI, 13, 13), Sample(OTHER, 5, 0)])
    history.sample(SECOND, [Sample(OTHER, 5, 0)])
    assert (len(history), history.of(CALI)) == (1, ())
    history.sample(2 * SECOND, [Sample(CALI, 2, 0), Sample(OTHER, 5, 0)])
    assert history.of(CALI)[-1] == (2, 0)


def test_a_level_that_fell_takes_nothing_back() -> None:
    history = History()
    history.sample(0, [Sample(CALI, 5, 0)])
    history.sample(SECOND, [Sample(CALI, 4, 0)])
    history.sample(2 * SECOND, [Sample(CALI, 6, 0)])
    assert history.of(CALI)[-1] == (7, 0)


STEPS = st.lists(
    st.tuples(st.integers(0, 25 * SECOND), st.integers(0, 50), st.integers(0, 50)), max_size=60
)


@given(STEPS)
def test_no_request_of_the_last_minutes_is_lost_or_counted_twice(
    steps: list[tuple[int, int, int]],
) -> None:
    history = History()
    history.sample(0, [Sample(CALI, 0, 0)])
    now = requests = unanswered = 0
    grown: list[tuple[int, int, int]] = []
    for wait, more, worse in steps:
        grown.append(((now + now + wait) // 2 // BUCKET_NS, more, worse))
        now, requests, unanswered = now + wait, requests + more, unanswered + worse
        history.sample(now, [Sample(CALI, requests, unanswered)])
    oldest = now // BUCKET_NS - BUCKETS
    kept = [each for each in grown if each[0] > oldest]
    buckets = history.of(CALI)
    assert sum(bucket[0] for bucket in buckets) == sum(more for _, more, _ in kept)
    assert sum(bucket[1] for bucket in buckets) == sum(worse for _, _, worse in kept)


def test_a_request_a_second_fills_the_height_and_one_is_seen() -> None:
    drawn = sparkline(((10, 10), (0, 0), (1, 0)))
    assert drawn.requests == f"M2 {HEIGHT}v-{HEIGHT}M10 {HEIGHT}v-2"
    assert drawn.unanswered == f"M2 {HEIGHT}v-{HEIGHT}"
    assert drawn.said == "11 requests in 5 min, 10 unanswered"


def test_more_than_that_is_scaled_to_the_busiest() -> None:
    assert sparkline(((40, 20), (20, 0))).requests == f"M2 {HEIGHT}v-24M6 {HEIGHT}v-12"


def test_nothing_is_drawn_of_nothing() -> None:
    assert sparkline(()).requests == ""
    assert sparkline(()).said == "no request in 5 min"
