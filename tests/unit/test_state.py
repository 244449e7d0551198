# SPDX-License-Identifier: Apache-2.0
"""The pure state, one behaviour a test. Times are in ns; S is a second."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import tracer.state
from tracer.events import (
    CauseFound,
    Counters,
    Event,
    InterfaceCount,
    LinkGone,
    LinkSeen,
    Lost,
    Neighbour,
    Request,
    Started,
    Stopped,
    Tick,
    Verdict,
)
from tracer.evidence import Evidence
from tracer.notices import (
    FlagNotice,
    Investigate,
    LostNotice,
    NeighbourNotice,
    Notice,
    RequestNotice,
    StartNotice,
    StopNotice,
)
from tracer.seen import Seen
from tracer.state import InterfaceView, State
from tracer.state.histogram import BOUNDS_NS
from tracer.state.interface import MOST_INCIDENTS

S = 1_000_000_000
GW = "169.254.1.1"
A, U, D, I = Verdict.ANSWERED, Verdict.UNANSWERED, Verdict.DEFERRED, Verdict.IGNORED  # noqa: E741


SEEN = Seen(rp_filter=1)
READ = {"ip_forward": 1}


def req(
    ts: int,
    verdict: Verdict,
    *,
    index: int = 7,
    device: int = 70,
    name: str = "cali7",
    target: str = GW,
    late: bool = False,
    latency: int | None = None,
) -> Request:
    return Request(
        ts, 1, index, device, name, "10.0.0.7", "aa:bb", target, verdict, latency, late, SEEN
    )


def cause(ts: int, reason: str, *, index: int = 7, target: str = GW) -> CauseFound:
    return CauseFound(ts, 1, index, target, reason, "inferred", f"mend {reason}", read=READ)


def row(
    *,
    answered: int = 0,
    unanswered: int = 0,
    deferred: int = 0,
    ignored: int = 0,
    last_answered: int = 0,
    last_unanswered: int = 0,
    target: str = GW,
    index: int = 7,
    device: int = 70,
) -> InterfaceCount:
    return InterfaceCount(
        1,
        index,
        device,
        f"cali{index}",
        answered,
        unanswered,
        deferred,
        ignored,
        last_answered,
        last_unanswered,
        "10.0.0.7",
        target if last_unanswered else "",
    )


def neighbour(ts: int, old: str | None, new: str, device: int = 70) -> Neighbour:
    return Neighbour(ts, 1, 7, device, "cali7", "10.0.0.7", old, new, "aa:bb")


def feed(state: State, *events: Event) -> list[Notice]:
    return [notice for event in events for notice in state.feed(event)]


def said(notices: Sequence[Notice]) -> list[str]:
    """The notices in short: ``raised no_route``, ``look``, ``unanswered None``, ..."""
    words = []
    for notice in notices:
        match notice:
            case FlagNotice():
                words.append(f"{notice.state} {notice.reason}")
            case Investigate():
                words.append("look")
            case RequestNotice():
                words.append(f"{notice.verdict} {notice.reason}")
            case _:
                words.append(type(notice).__name__)
    return words


def counts(state: State) -> tuple[int, int, int, int, int]:
    totals = state.totals()
    return (
        totals.requests,
        totals.answered,
        totals.unanswered,
        totals.deferred,
        totals.ignored,
    )


def only(state: State) -> InterfaceView:
    (interface,) = state.interfaces()
    return interface


def raised(state: State, ts: int = S, reason: str = "no_route") -> None:
    """An incident that began at ``ts``, its flag up."""
    feed(state, req(ts, U), cause(ts, reason))


# Counting


def test_each_verdict_is_counted() -> None:
    state = State()
    feed(state, *[req(i, v) for v, n in ((A, 11), (U, 7), (D, 5), (I, 3)) for i in range(n)])
    assert counts(state) == (26, 11, 7, 5, 3)
    seen = only(state)
    assert (seen.requests, seen.answered, seen.unanswered, seen.deferred, seen.ignored) == (
        26,
        11,
        7,
        5,
        3,
    )


@pytest.mark.parametrize(("verdict", "expected"), [(A, (2, 1, 0, 1, 0)), (U, (2, 0, 1, 1, 0))])
def test_a_late_verdict_settles_a_deferred_request(
    verdict: Verdict, expected: tuple[int, ...]
) -> None:
    state = State()
    notices = feed(state, req(1, D), req(2, D), req(3, verdict, late=True))
    assert counts(state) == expected
    assert [n.settled for n in notices if isinstance(n, RequestNotice)] == [False, False, True]


def test_a_late_verdict_of_an_unknown_request_is_a_new_request() -> None:
    state = State()
    feed(state, req(1, A, late=True), req(2, U, late=True))
    assert counts(state) == (2, 1, 1, 0, 0)


def test_interfaces_are_counted_apart() -> None:
    state = State()
    feed(state, req(1, A), req(2, A, index=8, device=80, name="cali8"), req(3, A))
    assert [(i.interface, i.answered) for i in state.interfaces()] == [("cali7", 2), ("cali8", 1)]


def test_the_same_index_in_another_namespace_is_another_interface() -> None:
    state = State()
    feed(state, LinkSeen(1, 1, 7, "cali7"), LinkSeen(1, 2, 7, "cali7"))
    assert len(state.interfaces()) == 2


def test_the_request_notice_tells_what_was_seen() -> None:
    (notice,) = State().feed(req(5, A, latency=1234))
    assert notice == RequestNotice(
        ts=5,
        interface="cali7",
        ifindex=7,
        netns=1,
        sender_ip="10.0.0.7",
        sender_mac="aa:bb",
        target_ip=GW,
        verdict=A,
        reason=None,
        confidence=None,
        latency_ns=1234,
        seen=SEEN,
        settled=False,
    )


def test_latency_buckets_hold_their_upper_bound() -> None:
    state = State()
    for latency in (0, 1_000, 1_001, 4_000, BOUNDS_NS[-1], BOUNDS_NS[-1] + 1):
        feed(state, req(1, A, latency=latency))
    feed(state, req(1, A))  # a reply whose latency is not known
    for histogram in (only(state).latency, state.latency()):
        assert histogram.counts == (2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1)
        assert histogram.count == 6
        assert histogram.sum_ns == 6_001 + 2 * BOUNDS_NS[-1] + 1
    assert BOUNDS_NS[-1] == 4_194_304_000


def test_last_seen_is_the_newest_request_even_when_read_out_of_order() -> None:
    state = State()
    feed(state, req(9, A), req(5, A))
    assert only(state).last_seen_ts == 9


# Flags


def test_an_unanswered_request_orders_a_look_and_does_not_wait_for_it() -> None:
    state = State()
    notices = feed(state, req(S, U))
    assert said(notices) == ["unanswered None", "look"]
    assert notices[1] == Investigate(S, 1, 7, "cali7", "10.0.0.7", GW, SEEN)
    assert state.flags() == ()


def test_the_flag_is_raised_with_its_cause() -> None:
    state = State()
    feed(state, req(S, U), req(S + 5, U))
    assert feed(state, cause(S + 9, "no_route")) == [
        FlagNotice(
            ts=S + 9,
            state="raised",
            interface="cali7",
            ifindex=7,
            netns=1,
            target_ip=GW,
            reason="no_route",
            confidence="inferred",
            since=S,
            unanswered=2,
            remedy="mend no_route",
            evidence=Evidence(read=READ),
            sender_ip="10.0.0.7",
        )
    ]
    (flag,) = state.flags()
    assert (flag.reason, flag.since, flag.unanswered) == ("no_route", S, 2)
    assert only(state).flags == (flag,)


def test_later_requests_of_the_incident_carry_its_reason() -> None:
    state = State()
    raised(state)
    (notice,) = feed(state, req(S + 1, U))
    assert isinstance(notice, RequestNotice)
    assert (notice.reason, notice.confidence) == ("no_route", "inferred")


def test_an_answer_clears_the_flag() -> None:
    state = State()
    raised(state)
    feed(state, req(S + 1, U))
    request, flag = feed(state, req(S + 2, A))
    assert said([request, flag]) == ["answered None", "cleared no_route"]
    assert isinstance(flag, FlagNotice)
    assert (flag.ts, flag.since, flag.unanswered) == (S + 2, S, 2)
    assert state.flags() == ()


@pytest.mark.parametrize("verdict", [D, I])
def test_deferred_and_ignored_neither_open_nor_end(verdict: Verdict) -> None:
    state = State()
    assert said(feed(state, req(1, verdict))) == [f"{verdict} None"]
    raised(state)
    assert said(feed(state, req(2, verdict))) == [f"{verdict} None"]
    assert len(state.flags()) == 1


def test_late_verdicts_open_and_end() -> None:
    state = State()
    feed(state, req(1, D), req(2, D))
    assert said(feed(state, req(3, U, late=True), cause(4, "no_route"))) == [
        "unanswered None",
        "look",
        "raised no_route",
    ]
    assert said(feed(state, req(5, A, late=True))) == ["answered None", "cleared no_route"]


def test_targets_are_flagged_apart() -> None:
    state = State()
    raised(state)
    assert said(feed(state, req(S, U, target="10.0.0.1"))) == ["unanswered None", "look"]
    assert said(feed(state, req(S, A, target="10.0.0.9"))) == ["answered None"]
    assert len(state.flags()) == 1


def test_an_answer_before_the_cause_is_known_waits_for_it() -> None:
    state = State()
    feed(state, req(1, U))
    assert said(feed(state, req(2, A))) == ["answered None"]
    assert said(feed(state, cause(3, "no_route"))) == ["raised no_route", "cleared no_route"]


def test_alternating_requests_order_one_look() -> None:
    state = State()
    notices = feed(state, *[req(i, U if i % 2 else A) for i in range(1, 1_998)])
    assert said(notices).count("look") == 1
    (flag,) = feed(state, cause(3_000, "no_route"))  # the last was unanswered: revived
    assert isinstance(flag, FlagNotice)
    assert (flag.state, flag.since, flag.unanswered) == ("raised", 1, 999)


def test_a_cause_nobody_waits_for_says_nothing() -> None:
    state = State()
    assert feed(state, cause(1, "no_route")) == []
    feed(state, req(2, A))
    assert feed(state, cause(3, "no_route")) == []


@pytest.mark.parametrize("event", [Tick(2 * S), req(2 * S, A, index=8, device=80), Lost(2 * S, 0)])
def test_a_look_that_takes_a_second_is_not_waited_for(event: Event) -> None:
    state = State()
    feed(state, req(S, U))
    assert state.deadline() == 2 * S
    assert feed(state, Tick(2 * S - 1)) == []
    flag = feed(state, event)[0]
    assert isinstance(flag, FlagNotice)
    assert (flag.state, flag.reason, flag.confidence) == ("raised", "unknown", "inferred")
    assert "in time" in str(flag.evidence.because)
    assert state.deadline() == 6 * S  # the closer look's end
    assert state.totals().unanswered_by_reason == {"unknown": 1}


def test_a_look_that_comes_back_after_all_changes_the_reason() -> None:
    state = State()
    feed(state, req(S, U), Tick(2 * S))
    assert said(feed(state, cause(3 * S, "no_route"))) == ["raised no_route"]


def test_the_deadline_is_the_earliest_that_is_still_waited_for() -> None:
    state = State()
    feed(state, req(5, U), req(3, U, index=8, device=80), req(9, U, index=9, device=90))
    assert state.deadline() == S + 3
    feed(state, cause(10, "no_route", index=8))
    assert state.deadline() == S + 5
    feed(state, LinkGone(11, 1, 7, "cali7"))
    assert state.deadline() == S + 9
    feed(state, cause(12, "no_route", index=9))
    assert state.deadline() == 5 * S + 9  # the closer look's end
    feed(state, Tick(5 * S + 9))
    assert state.deadline() is None


def test_incidents_of_an_interface_are_bounded() -> None:
    state = State()
    feed(state, *[req(1, U, target=f"10.0.{i >> 8}.{i & 255}") for i in range(MOST_INCIDENTS + 3)])
    totals = state.totals()
    assert (totals.unanswered, totals.unattributed) == (MOST_INCIDENTS + 3, MOST_INCIDENTS)
    assert totals.unanswered_by_reason == {"unknown": 3}


# Looking again


def test_a_flag_that_stays_up_is_looked_at_again_less_and_less_often() -> None:
    state = State()
    raised(state, ts=0)
    looks = []
    for second in range(1, 250):
        if "look" in said(feed(state, req(second * S, U))):
            looks.append(second)
            feed(state, cause(second * S, "no_route"))
    assert looks == [1, 3, 7, 15, 31, 63, 123, 183, 243]


def test_there_are_never_two_looks_at_once() -> None:
    state = State()
    raised(state, ts=0)
    assert said(feed(state, req(S, U))) == ["unanswered no_route", "look"]
    assert said(feed(state, req(5 * S, U))) == ["unanswered no_route"]
    assert feed(state, cause(6 * S, "no_route")) == []
    assert said(feed(state, req(6 * S, U))) == ["unanswered no_route", "look"]


def test_a_look_that_never_comes_back_does_not_stop_the_looking() -> None:
    state = State()
    raised(state, ts=0)
    feed(state, req(S, U))
    assert said(feed(state, req(11 * S - 1, U))) == ["unanswered no_route"]
    assert said(feed(state, req(11 * S, U))) == ["unanswered no_route", "look"]


def test_another_reason_is_another_raised() -> None:
    state = State()
    raised(state, reason="proxy_arp_off")
    feed(state, req(2 * S, U))
    assert said(feed(state, cause(2 * S, "no_route"))) == ["raised no_route"]
    assert said(feed(state, req(2 * S, A))) == ["answered None", "cleared no_route"]
    assert state.totals().flags_raised == 2


def test_one_unknown_does_not_replace_a_reason_but_two_in_a_row_do() -> None:
    state = State()
    raised(state)
    assert feed(state, cause(2 * S, "unknown")) == []
    assert feed(state, cause(3 * S, "no_route")) == []
    assert feed(state, cause(4 * S, "unknown")) == []
    assert state.flags()[0].reason == "no_route"
    assert said(feed(state, cause(5 * S, "unknown"))) == ["raised unknown"]
    assert feed(state, cause(6 * S, "unknown")) == []


# Unanswered by reason


def test_requests_before_the_cause_are_counted_under_it() -> None:
    state = State()
    feed(state, *[req(i, U) for i in range(13)])
    assert state.totals().unattributed == 13
    assert state.totals().unanswered_by_reason == {}
    feed(state, cause(20, "no_route"), req(21, U))
    assert state.totals().unattributed == 0
    assert state.totals().unanswered_by_reason == {"no_route": 14}


def test_a_change_of_reason_does_not_move_what_was_counted() -> None:
    state = State()
    raised(state)
    feed(state, cause(S, "forwarding_off"), req(S, U), req(S, U))
    assert state.totals().unanswered_by_reason == {"no_route": 1, "forwarding_off": 2}


# Interfaces come and go


def test_a_link_is_there_before_its_first_request() -> None:
    state = State()
    feed(state, LinkSeen(1, 1, 7, "cali7"), LinkSeen(1, 1, 7, "cali7"))
    assert (only(state).interface, only(state).requests) == ("cali7", 0)
    feed(state, req(2, A))
    assert only(state).answered == 1


def test_a_link_that_goes_takes_its_flags_but_not_the_totals() -> None:
    state = State()
    raised(state)
    feed(state, req(S, A, target="10.0.0.1"))
    assert said(feed(state, LinkGone(2 * S, 1, 7, "cali7"))) == ["cleared no_route"]
    assert state.interfaces() == ()
    assert counts(state) == (2, 1, 1, 0, 0)
    assert feed(state, LinkGone(3 * S, 1, 7, "cali7")) == []


def test_a_link_that_goes_before_its_cause_was_known() -> None:
    state = State()
    feed(state, req(S, U), req(S, U))
    notices = feed(state, LinkGone(S + 1, 1, 7, "cali7"))
    assert said(notices) == ["raised unknown", "cleared unknown"]
    assert state.totals().unanswered_by_reason == {"unknown": 2}
    assert feed(state, cause(S + 2, "no_route"), Tick(9 * S)) == []


def test_a_late_event_of_a_link_that_is_gone_is_counted_but_not_more() -> None:
    state = State()
    feed(state, req(1, D), LinkGone(3, 1, 7, "cali7"))
    assert said(feed(state, req(2, A, late=True), req(2, U))) == [
        "answered None",
        "unanswered None",
    ]
    assert state.interfaces() == ()
    assert counts(state) == (2, 1, 1, 0, 0)
    assert state.totals().unanswered_by_reason == {"unknown": 1}


def test_a_late_event_whose_clock_runs_ahead_of_the_links_end_is_late_all_the_same() -> None:
    state = State()
    feed(state, req(1, A), LinkGone(3, 1, 7, "cali7"), req(4, A))
    assert state.interfaces() == ()
    assert state.totals().answered == 2


def test_a_link_that_went_before_its_first_event_was_read() -> None:
    state = State()
    feed(state, LinkSeen(1, 1, 7, "cali7"), LinkGone(3, 1, 7, "cali7"), req(2, U))
    assert state.interfaces() == ()
    assert counts(state) == (1, 0, 1, 0, 0)


def test_another_device_at_the_same_index_is_another_interface() -> None:
    state = State()
    raised(state)
    notices = feed(state, req(2 * S, A, device=71, name="cali8"))
    assert said(notices) == ["cleared no_route", "answered None"]
    assert (only(state).interface, only(state).answered, only(state).unanswered) == ("cali8", 1, 0)
    assert counts(state) == (2, 1, 1, 0, 0)


def test_a_late_event_of_the_replaced_device_does_not_take_the_index_back() -> None:
    state = State()
    feed(state, req(1, A), req(5, A, device=71), req(4, A))
    assert only(state).answered == 1
    assert state.totals().answered == 3


def test_the_end_of_the_replaced_link_may_be_told_after_the_new_ones_first_event() -> None:
    state = State()
    feed(state, req(1, A), req(3, U, device=71), LinkGone(4, 1, 7, "cali7"))
    feed(state, LinkSeen(4, 1, 7, "cali7"))
    assert only(state).unanswered == 1
    feed(state, LinkGone(5, 1, 7, "cali7"))
    assert state.interfaces() == ()


def test_a_replaced_links_end_is_not_waited_for_once_the_new_link_was_told() -> None:
    state = State()
    feed(state, req(1, A), req(3, A, device=71), LinkSeen(4, 1, 7, "cali7"))
    feed(state, LinkGone(5, 1, 7, "cali7"))
    assert state.interfaces() == ()


def test_a_new_device_may_get_the_identity_of_the_old_one() -> None:
    state = State()
    feed(state, req(1, A), LinkGone(2, 1, 7, "cali7"), LinkSeen(3, 1, 7, "cali7"), req(4, U))
    assert (only(state).answered, only(state).unanswered) == (0, 1)
    assert said(feed(state, cause(5, "no_route"))) == ["raised no_route"]


def test_the_newest_name_wins() -> None:
    state = State()
    feed(state, LinkSeen(1, 1, 7, "cali7"), LinkSeen(5, 1, 7, "cali9"), req(4, A, name="cali7"))
    assert only(state).interface == "cali9"
    feed(state, req(6, A, name="cali11"))
    assert only(state).interface == "cali11"


# The kernel's own counts


def test_the_kernels_counts_win_where_they_are_larger() -> None:
    state = State()
    feed(state, *[req(i, A) for i in range(5)], req(6, I))
    feed(state, Counters(9, (row(answered=11, unanswered=0, ignored=0, last_answered=5),)))
    assert counts(state) == (12, 11, 0, 0, 1)
    assert only(state).answered == 11


def test_events_read_after_the_snapshot_that_knew_of_them_count_once() -> None:
    state = State()
    feed(state, req(1, A), req(2, D))
    snapshot = row(answered=4, unanswered=1, deferred=1, last_answered=6, last_unanswered=5)
    feed(state, Counters(7, (snapshot,)))
    assert counts(state) == (6, 4, 1, 1, 0)
    feed(state, req(3, A), req(4, A, late=True), req(5, U), req(5, D), req(6, A))
    assert counts(state) == (6, 4, 1, 1, 0)
    feed(state, req(8, A))
    assert counts(state) == (7, 5, 1, 1, 0)


def test_a_second_snapshot_does_not_forget_what_is_still_unread() -> None:
    state = State()
    for ts in (7, 8):
        feed(state, Counters(ts, (row(answered=3, last_answered=6),)))
    feed(state, req(4, A), req(5, A), req(6, A))
    assert state.totals().answered == 3


def test_a_settling_whose_event_was_lost_ends_the_wait() -> None:
    state = State()
    feed(state, req(1, D), Counters(3, (row(answered=1, last_answered=2),)))
    assert counts(state) == (1, 1, 0, 0, 0)


def test_a_snapshot_creates_interfaces() -> None:
    state = State()
    feed(state, Counters(3, (row(answered=17, last_answered=2),)))
    assert (only(state).answered, only(state).last_seen_ts) == (17, 2)
    feed(state, req(4, A))
    assert only(state).answered == 18


def test_a_flag_whose_events_were_lost_is_raised_all_the_same() -> None:
    state = State()
    feed(state, req(1, A))
    (order,) = feed(
        state, Counters(9, (row(answered=1, unanswered=3, last_answered=1, last_unanswered=8),))
    )
    assert isinstance(order, Investigate)
    assert (order.sender_ip, order.target_ip) == ("10.0.0.7", GW)
    (flag,) = feed(state, cause(10, "no_route"))
    assert isinstance(flag, FlagNotice)
    assert (flag.since, flag.unanswered) == (8, 3)
    assert state.totals().unanswered_by_reason == {"no_route": 3}


def test_an_older_answer_read_late_does_not_end_what_the_snapshot_opened() -> None:
    state = State()
    lost = row(answered=2, unanswered=1, last_answered=5, last_unanswered=8)
    feed(state, Counters(9, (lost,)), cause(9, "no_route"))
    assert said(feed(state, req(5, A))) == ["answered None"]
    assert said(feed(state, req(10, A))) == ["answered None", "cleared no_route"]


def test_lost_unanswered_requests_join_the_incident_they_belong_to() -> None:
    state = State()
    raised(state)
    feed(state, Counters(3 * S, (row(unanswered=5, last_unanswered=2 * S),)))
    assert state.flags()[0].unanswered == 5
    assert state.totals().unanswered_by_reason == {"no_route": 5}


def test_an_answer_that_was_lost_ends_the_only_incident() -> None:
    state = State()
    raised(state)
    snapshot = row(answered=1, unanswered=1, last_answered=2 * S, last_unanswered=S)
    assert said(feed(state, Counters(3 * S, (snapshot,)))) == ["cleared no_route"]


def test_an_answer_that_was_lost_ends_none_of_several() -> None:
    state = State()
    raised(state)
    feed(state, req(S, U, target="10.0.0.1"))
    snapshot = row(answered=1, unanswered=2, last_answered=2 * S, last_unanswered=S)
    assert feed(state, Counters(S + 1, (snapshot,))) == []
    assert len(state.flags()) == 1


def test_an_unanswered_request_read_after_the_snapshot_that_ended_it() -> None:
    state = State()
    lost_answer = row(answered=1, unanswered=1, last_answered=3, last_unanswered=2)
    feed(state, Counters(4, (lost_answer,)), req(2, U), cause(5, "no_route"))
    assert len(state.flags()) == 1
    assert said(feed(state, Counters(6, (lost_answer,)))) == ["cleared no_route"]


def test_an_answer_that_was_seen_does_not_end_another_targets_incident() -> None:
    state = State()
    feed(state, req(2, U, target="10.0.0.1"), cause(3, "no_route", target="10.0.0.1"), req(4, A))
    snapshot = row(answered=1, unanswered=1, last_answered=4, last_unanswered=2)
    assert feed(state, Counters(5, (snapshot,))) == []
    assert len(state.flags()) == 1


def test_a_snapshot_that_tells_nothing_new_says_nothing() -> None:
    state = State()
    raised(state)
    feed(state, req(S + 1, A))
    snapshot = row(answered=1, unanswered=1, last_answered=S + 1, last_unanswered=S)
    assert feed(state, Counters(S + 2, (snapshot,))) == []
    assert counts(state) == (2, 1, 1, 0, 0)


def test_the_row_of_a_link_that_is_gone_goes_to_the_totals() -> None:
    state = State()
    feed(state, req(1, A), LinkGone(5, 1, 7, "cali7"))
    for ts in (6, 7):
        snapshot = row(answered=3, unanswered=2, last_answered=3, last_unanswered=4)
        assert feed(state, Counters(ts, (snapshot,))) == []
    assert state.interfaces() == ()
    assert counts(state) == (5, 3, 2, 0, 0)
    assert state.totals().unanswered_by_reason == {"unknown": 2}


def test_the_row_of_a_device_that_was_never_seen_does_not_replace_a_newer_one() -> None:
    state = State()
    raised(state)
    old = row(answered=13, last_answered=S - 1, device=69)
    assert feed(state, Counters(2 * S, (old,)), Counters(3 * S, (old,))) == []
    assert len(state.flags()) == 1
    assert counts(state) == (14, 13, 1, 0, 0)


def test_lost_events_add_up() -> None:
    state = State()
    assert feed(state, Lost(1, 5), Lost(2, 0), Lost(3, 7)) == [LostNotice(1, 5), LostNotice(3, 7)]
    assert state.totals().lost == 12


# Neighbours


def test_neighbour_changes_are_told_and_counted() -> None:
    state = State()
    notices = feed(
        state,
        neighbour(1, "none", "incomplete"),
        neighbour(2, "incomplete", "failed"),
        neighbour(3, "failed", "failed"),
    )
    assert notices[1] == NeighbourNotice(
        2, "cali7", 7, 1, "10.0.0.7", "incomplete", "failed", "aa:bb"
    )
    assert len(notices) == 2
    assert state.totals().neighbour_transitions == {"incomplete": 1, "failed": 1}
    assert only(state).neighbour_failures == 1
    assert [(n.ip, n.state) for n in only(state).neighbours] == [("10.0.0.7", "failed")]


def test_an_unknown_old_state_is_filled_in_from_the_table() -> None:
    state = State()
    first, second = feed(
        state,
        neighbour(1, None, "reachable"),
        neighbour(2, None, "reachable"),
        neighbour(3, None, "stale"),
    )
    assert isinstance(first, NeighbourNotice) and isinstance(second, NeighbourNotice)
    assert (first.old_state, second.old_state) == (None, "reachable")


def test_a_neighbour_entry_that_is_gone_leaves_the_table() -> None:
    state = State()
    feed(state, neighbour(1, None, "reachable"), neighbour(2, "reachable", "none"))
    assert only(state).neighbours == ()


def test_neighbours_of_a_link_that_is_gone_do_not_bring_it_back() -> None:
    state = State()
    feed(state, neighbour(1, None, "reachable"), LinkGone(2, 1, 7, "cali7"))
    assert said(feed(state, neighbour(1, "reachable", "none"))) == ["NeighbourNotice"]
    assert state.interfaces() == ()


# Start and stop


def test_start_and_stop() -> None:
    state = State()
    started = Started(S, "0.1", "fentry", "6.18", ("cali7",), (GW,))
    assert feed(state, started) == [StartNotice(S, "0.1", "fentry", "6.18", ("cali7",), (GW,))]
    raised(state)
    feed(state, req(S, A, target="10.0.0.1"), req(S, D), req(S, I), Lost(S, 3))
    assert feed(state, Stopped(3 * S + S // 2)) == [
        StopNotice(
            ts=3 * S + S // 2,
            duration_s=2.5,
            requests=4,
            answered=1,
            unanswered=1,
            deferred=1,
            ignored=1,
            flags_raised=1,
            lost=3,
        )
    ]
    assert len(state.flags()) == 1


def test_stop_raises_what_still_waits_for_its_cause() -> None:
    state = State()
    feed(state, req(1, U), req(2, U, index=8, device=80), req(3, A, index=8, device=80))
    notices = feed(state, Stopped(9))
    assert said(notices) == ["raised unknown", "raised unknown", "cleared unknown", "StopNotice"]
    assert isinstance(notices[0], FlagNotice) and "stopped" in str(notices[0].evidence.because)
    assert isinstance(notices[-1], StopNotice) and notices[-1].flags_raised == 2
    assert state.totals().unanswered_by_reason == {"unknown": 2}


def test_the_state_has_no_clock_and_does_no_io() -> None:
    ours = tuple(f"tracer.{name}" for name in ("state", "events", "evidence", "notices", "seen"))
    allowed = {"__future__", "bisect", "collections", "dataclasses", "heapq", "types", "typing"}
    for path in Path(tracer.state.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            for name in names:
                fine = name.split(".")[0] in allowed or name.startswith(ours)
                assert fine, f"{path.name} imports {name}"


# Answered after all


def test_an_answer_that_corrects_is_no_new_request() -> None:
    state = State()
    notices = feed(state, req(1, U), replace(req(2, A), corrects=True, answered_by="userspace"))
    request = notices[-1]
    assert isinstance(request, RequestNotice)
    assert (request.settled, request.corrects, request.answered_by) == (True, True, "userspace")
    assert counts(state) == (1, 1, 0, 0, 0)
    assert state.totals().corrected == 1
    counted = state.counted()["cali7"]
    assert (counted.answered, counted.unanswered) == (1, 1)  # a counter never falls


def test_a_correction_whose_request_was_lost_counts_one_request() -> None:
    state = State()
    feed(state, replace(req(2, A), corrects=True))
    assert counts(state) == (1, 1, 0, 0, 0)
    snapshot = replace(row(answered=1, unanswered=1, last_answered=2), corrected=1)
    feed(state, Counters(3, (snapshot,)))
    assert counts(state) == (1, 1, 0, 0, 0)


def test_a_snapshot_that_knew_of_a_correction_counts_it_once() -> None:
    state = State()
    snapshot = replace(row(answered=1, unanswered=1, last_answered=2), corrected=1)
    feed(state, Counters(3, (snapshot,)))
    feed(state, req(1, U), replace(req(2, A), corrects=True))
    assert counts(state) == (1, 1, 0, 0, 0)
    assert state.totals().corrected == 1


def test_a_second_answer_is_told_and_not_counted() -> None:
    state = State()
    again = replace(req(2, A), answers=2, again=True, seen=Seen(other_mac="02:00:00:00:00:02"))
    first, second = feed(state, req(1, A), again)
    assert isinstance(first, RequestNotice) and isinstance(second, RequestNotice)
    assert (first.settled, first.answers) == (False, 1)
    assert (second.settled, second.corrects, second.answers) == (True, False, 2)
    assert counts(state) == (1, 1, 0, 0, 0)


def test_a_second_answer_of_an_interface_that_is_gone_is_not_counted() -> None:
    state = State()
    feed(state, req(1, A), LinkGone(2, 1, 7, "cali7"), replace(req(3, A), answers=2, again=True))
    assert counts(state) == (1, 1, 0, 0, 0)


def test_skipped_runs_are_told_and_add_up() -> None:
    state = State()
    assert feed(state, Lost(1, 0, 3), Lost(2, 5, 4)) == [LostNotice(1, 0, 3), LostNotice(2, 5, 4)]
    assert (state.totals().lost, state.totals().skipped) == (5, 7)
