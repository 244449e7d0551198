# SPDX-License-Identifier: Apache-2.0
"""Counts by interface name never fall, whatever becomes of the interfaces, and are exact."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from test_state_properties import events, rows

from tracer.events import (
    Counters,
    Event,
    InterfaceCount,
    LinkGone,
    LinkSeen,
    Neighbour,
    Request,
    Verdict,
)
from tracer.state import CountedView, State
from tracer.state.names import MOST_PAST, Names

any_events: st.SearchStrategy[Event] = st.one_of(
    events,
    st.builds(
        Counters,
        ts=st.integers(0, 200).map(lambda tenths: tenths * 100_000_000),
        interfaces=st.lists(
            st.builds(
                lambda row, count: dataclasses.replace(row, deferrals=row.deferred + count),
                rows,
                st.integers(0, 5),
            ),
            max_size=3,
        ).map(tuple),
    ),
)


def request(
    ts: int, verdict: Verdict, *, name: str = "cali7", device: int = 70, late: bool = False
) -> Request:
    return Request(ts, 1, 7, device, name, "10.0.0.7", "aa:bb", "169.254.1.1", verdict, None, late)


def fed(*stream: Event) -> State:
    state = State()
    for event in stream:
        state.feed(event)
    return state


@given(st.lists(any_events, max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_count_falls(stream: Sequence[Event]) -> None:
    state = State()
    highest: dict[str, CountedView] = {}
    for event in stream:
        state.feed(event)
        counted = state.counted()
        assert set(counted) == {interface.interface for interface in state.interfaces()}
        for name, now in counted.items():
            before = highest.get(name, CountedView(0, 0, 0, 0, 0))
            for one, other in zip(
                dataclasses.astuple(before), dataclasses.astuple(now), strict=True
            ):
                assert one <= other
            highest[name] = now
    totals = state.totals()
    for verdict in ("answered", "unanswered", "ignored"):
        assert sum(getattr(each, verdict) for each in highest.values()) <= getattr(totals, verdict)


def test_a_deferred_request_stays_counted_when_it_settles() -> None:
    stream = [request(n, Verdict.DEFERRED) for n in range(1, 6)]
    stream += [request(n, Verdict.ANSWERED, late=True) for n in range(6, 9)]
    state = fed(*stream)
    assert state.counted() == {"cali7": CountedView(3, 0, 5, 0, 0)}
    assert state.interfaces()[0].deferred == 2


def test_lost_deferrals_come_from_the_kernels_counts_and_none_is_counted_twice() -> None:
    counts = InterfaceCount(1, 7, 70, "cali7", 4, 0, 3, 0, 9, 0, "10.0.0.7", "", 7)
    state = fed(
        request(1, Verdict.DEFERRED),
        Counters(10, (counts,)),
        # Read after the snapshot, which had it: of the 7, one was told before.
        *(request(n, Verdict.DEFERRED) for n in range(2, 8)),
    )
    assert state.counted()["cali7"] == CountedView(4, 0, 7, 0, 0)
    # One that came before the snapshot and was settled after it.
    state.feed(request(9, Verdict.DEFERRED))
    assert state.counted()["cali7"].deferred == 8


def test_a_pod_that_comes_back_goes_on_where_it_was() -> None:
    came = LinkSeen(1, 1, 7, "cali7")
    state = fed(came, *(request(n, Verdict.ANSWERED) for n in (2, 3, 4)))
    state.feed(LinkGone(5, 1, 7, "cali7"))
    assert state.counted() == {}
    state.feed(request(4, Verdict.ANSWERED))  # read late
    state.feed(LinkSeen(6, 1, 8, "cali7"))
    assert state.counted() == {"cali7": CountedView(4, 0, 0, 0, 0)}
    assert state.interfaces()[0].answered == 0


def test_a_renamed_interface_leaves_its_counts_with_its_name() -> None:
    state = fed(request(1, Verdict.ANSWERED), request(2, Verdict.ANSWERED, name="cali8"))
    assert state.counted() == {"cali8": CountedView(1, 0, 0, 0, 0)}
    assert state.interfaces()[0].answered == 2
    state.feed(request(3, Verdict.ANSWERED))
    assert state.counted() == {"cali7": CountedView(2, 0, 0, 0, 0)}


def test_two_of_a_name_are_one_series_that_keeps_what_the_one_counted_that_went() -> None:
    failed = Neighbour(4, 2, 7, 90, "cali7", "10.0.0.9", "probe", "failed", None)
    other = dataclasses.replace(request(3, Verdict.UNANSWERED, device=90), netns=2)
    state = fed(request(1, Verdict.ANSWERED), other, failed)
    assert state.counted() == {"cali7": CountedView(1, 1, 0, 0, 1)}
    state.feed(LinkGone(5, 2, 7, "cali7"))
    assert state.counted() == {"cali7": CountedView(1, 1, 0, 0, 1)}


def test_names_of_the_past_are_bounded() -> None:
    names = Names()
    names.bear("first").answered = 1
    names.drop("first")
    for number in range(MOST_PAST):
        names.of(f"cali{number}")
    assert names.bear("first").answered == 0
    names.bear("cali2").answered = 5
    names.drop("cali2")
    assert names.of("cali2").answered == 5
