# SPDX-License-Identifier: Apache-2.0
"""Whose an incident is, what a change of the node does to it, and pods that ask on."""

from __future__ import annotations

from dataclasses import replace

from test_state import GW, A, S, U, cause, feed, req, said

from tracer.events import CauseFound, LinkSeen, NodeChanged, Request, Started, Tick
from tracer.notices import FlagNotice, Investigate, Notice
from tracer.seen import Seen
from tracer.state import State
from tracer.state.flags import FORGOTTEN_NS
from tracer.state.rechecks import SETTLE_NS
from tracer.state.streak import STREAK_NS

MS = S // 1000
OTHER = "10.0.0.254"


def of(sender_ip: str, event: Request) -> Request:
    return replace(event, sender_ip=sender_ip)


def found(order: Notice, reason: str, **fields: object) -> CauseFound:
    """The answer to an order, a millisecond later."""
    assert isinstance(order, Investigate)
    made = cause(order.ts + MS, reason)
    return replace(
        made, target_ip=order.target_ip, sender_ip=order.sender_ip, asked_ts=order.ts, **fields
    )


def flags(notices: list[Notice]) -> list[FlagNotice]:
    return [notice for notice in notices if isinstance(notice, FlagNotice)]


def order(notices: list[Notice]) -> Investigate:
    (only,) = [notice for notice in notices if isinstance(notice, Investigate)]
    return only


# Senders


def test_two_senders_are_two_incidents() -> None:
    state = State()
    look = order(feed(state, of(OTHER, req(S, U)), req(S + 1, A)))
    assert look.sender_ip == OTHER
    (flag,) = flags(feed(state, found(look, "source_rejected")))
    assert (flag.state, flag.sender_ip) == ("raised", OTHER)
    for ts in range(2 * S, 9 * S, S):
        assert flags(feed(state, of(OTHER, req(ts, U)), req(ts + 1, A))) == []
    (flag,) = flags(feed(state, of(OTHER, req(9 * S, A))))
    assert (flag.state, flag.sender_ip, flag.unanswered) == ("cleared", OTHER, 8)


def test_a_sender_that_asks_no_more_is_forgotten_while_another_is_answered() -> None:
    state = State()
    feed(state, found(order(feed(state, of(OTHER, req(S, U)))), "source_rejected"))
    assert flags(feed(state, req(S + FORGOTTEN_NS - 1, A))) == []
    (flag,) = flags(feed(state, req(S + FORGOTTEN_NS, A)))
    assert (flag.state, flag.sender_ip) == ("cleared", OTHER)


def test_who_asks_on_a_link_that_was_blind_takes_its_flag_over() -> None:
    state = State()
    feed(state, LinkSeen(S, 1, 7, "cali7", "down"))
    look = order(feed(state, Tick(3 * S)))
    assert look.sender_ip == ""
    (flag,) = flags(feed(state, found(look, "link_down")))
    assert (flag.sender_ip, flag.before_trace) == ("", False)
    assert flags(feed(state, req(4 * S, U))) == []
    (flag,) = flags(feed(state, req(5 * S, A)))
    assert (flag.state, flag.sender_ip) == ("cleared", "10.0.0.7")


def test_what_was_so_when_tracing_began_was_so_before() -> None:
    state = State()
    started = Started(S, "0", "fentry", "6.1", ("cali7",), (GW,))
    notices = feed(state, started, LinkSeen(S - 1, 1, 7, "cali7", "down"), Tick(3 * S))
    (flag,) = flags(feed(state, found(order(notices), "link_down")))
    assert flag.before_trace


# A change of the node


def flagged(state: State, reason: str = "source_rejected", **fields: object) -> None:
    look = order(feed(state, req(S, U)))
    feed(state, found(look, reason, confidence="observed", configured=True, **fields))


def test_after_a_change_no_request_is_told_with_the_reason_until_a_look_says_it_stands() -> None:
    state = State()
    flagged(state)
    assert said(feed(state, req(S + 9 * MS, U))) == ["unanswered source_rejected"]
    assert feed(state, NodeChanged(3 * S, 1)) == []
    notices = feed(state, req(3 * S + 1, U))
    assert said(notices) == ["unanswered None", "look"]
    look = order(notices)
    assert said(feed(state, req(3 * S + 2, U))) == ["unanswered None"]
    assert feed(state, found(look, "source_rejected", confidence="observed")) == []
    assert said(feed(state, req(3 * S + 3, U))) == ["unanswered source_rejected"]
    assert state.totals().unanswered_by_reason == {"source_rejected": 5}


def test_the_second_fault_is_told_at_once_although_the_pod_does_not_ask() -> None:
    state = State()
    flagged(state)
    feed(state, NodeChanged(3 * S, 1))
    look = order(feed(state, Tick(3 * S + SETTLE_NS)))
    assert look.seen == Seen()
    assert said(feed(state, found(look, "proxy_arp_off"))) == ["raised proxy_arp_off"]
    assert said(feed(state, req(4 * S, U)))[0] == "unanswered proxy_arp_off"


def test_a_reason_that_is_among_others_still_stands() -> None:
    state = State()
    flagged(state)
    feed(state, NodeChanged(3 * S, 1))
    look = order(feed(state, Tick(4 * S)))
    also = ("no_route", "source_rejected")
    assert feed(state, found(look, "forwarding_off", also=also)) == []
    assert said(feed(state, req(5 * S, U)))[0] == "unanswered source_rejected"


def test_what_the_configuration_does_not_show_the_next_request_tells() -> None:
    state = State()
    look = order(feed(state, req(S, U)))
    feed(state, found(look, "dropped_before_arp", confidence="observed"))
    feed(state, NodeChanged(3 * S, 1))
    look = order(feed(state, Tick(4 * S)))
    assert feed(state, found(look, "proxy_arp_off")) == []
    notices = feed(state, req(5 * S, U))
    assert said(notices) == ["unanswered None", "look"]
    news = feed(state, found(order(notices), "proxy_arp_off"))
    assert said(news) == ["raised proxy_arp_off"]


def test_a_look_from_before_the_change_is_not_believed() -> None:
    state = State()
    flagged(state)
    look = order(feed(state, req(3 * S, U)))  # due again
    feed(state, NodeChanged(look.ts + 1, 1))
    notices = feed(state, found(look, "no_route"))
    assert said(notices) == ["look"]
    assert said(feed(state, found(order(notices), "proxy_arp_off"))) == ["raised proxy_arp_off"]


def test_a_mended_pod_is_never_unknown() -> None:
    state = State()
    flagged(state)
    feed(state, NodeChanged(3 * S, 1))
    look = order(feed(state, Tick(4 * S)))
    assert feed(state, found(look, "unknown")) == []
    assert said(feed(state, req(5 * S, A))) == ["answered None", "cleared source_rejected"]


def test_another_namespaces_change_is_none() -> None:
    state = State()
    flagged(state)
    feed(state, NodeChanged(3 * S, 2))
    assert said(feed(state, req(3 * S + 1, U)))[0] == "unanswered source_rejected"


def test_changes_without_end_order_looks_with_rests() -> None:
    state = State()
    flagged(state)
    orders = 0
    for number in range(1000):
        ts = 3 * S + number * MS
        for notice in feed(state, NodeChanged(ts, 1)):
            if isinstance(notice, Investigate):
                orders += 1
                feed(state, found(notice, "source_rejected"))
    assert 10 <= orders <= 20


# A pod that is answered and asks on


def asks(state: State, times: range) -> list[Notice]:
    return feed(state, *(req(ts, A) for ts in times))


def test_the_third_answer_in_a_row_has_the_pod_looked_into() -> None:
    state = State()
    assert said(asks(state, range(S, 3 * S, S))) == ["answered None"] * 2
    look = order(asks(state, range(3 * S, 4 * S, S)))
    assert look.seen == Seen(answered_in_a_row=3, answered_for_ms=2000, sender_mac="aa:bb")
    (flag,) = flags(feed(state, found(look, "reply_not_taken")))
    assert (flag.reason, flag.since, flag.unanswered) == ("reply_not_taken", S, 0)
    assert flags(asks(state, range(4 * S, 9 * S, S))) == []
    assert flags(feed(state, Tick(8 * S + STREAK_NS - 1))) == []
    (flag,) = flags(feed(state, Tick(8 * S + STREAK_NS)))
    assert flag.state == "cleared"
    assert state.deadline() is None


def test_a_healthy_pod_that_asks_on_is_looked_into_less_and_less_often() -> None:
    state = State()
    looks = []
    for ts in range(S, 1000 * S, S):
        for notice in feed(state, req(ts, A)):
            if isinstance(notice, Investigate):
                looks.append(notice.ts // S)
                assert feed(state, found(notice, "")) == []
    assert looks[:6] == [3, 4, 6, 10, 18, 34]
    assert len(looks) < 25


def test_a_pod_that_asks_seldom_is_not_looked_into() -> None:
    state = State()
    assert "look" not in said(asks(state, range(S, 90 * S, 3 * S)))


def test_an_unanswered_request_ends_the_row() -> None:
    state = State()
    asks(state, range(S, 3 * S, S))
    feed(state, found(order(feed(state, req(3 * S, U))), "no_route"))
    assert said(feed(state, req(5 * S, A))) == ["answered None", "cleared no_route"]


def test_a_pod_that_takes_the_reply_after_all_is_cleared() -> None:
    state = State()
    look = order(asks(state, range(S, 4 * S, S)))
    feed(state, found(look, "reply_not_taken"))
    look = order(feed(state, req(4 * S, A)))
    assert said(feed(state, found(look, ""))) == ["cleared reply_not_taken"]


def test_a_pod_that_asks_on_and_is_then_not_answered_has_another_cause() -> None:
    state = State()
    feed(state, found(order(asks(state, range(S, 4 * S, S))), "reply_not_taken"))
    notices = feed(state, req(5 * S, U))
    assert said(notices) == ["unanswered None", "look"]
    assert said(feed(state, found(order(notices), "no_route"))) == ["raised no_route"]
    assert said(feed(state, req(6 * S, A))) == ["answered None", "cleared no_route"]
