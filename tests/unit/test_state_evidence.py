# SPDX-License-Identifier: Apache-2.0
"""Inferred and observed reasons, the closer look, and links on which nothing can be seen."""

from __future__ import annotations

from dataclasses import replace

from test_state import GW, READ, A, S, U, cause, feed, raised, req, said

from tracer.events import CauseFound, Event, LinkGone, LinkSeen, Started, Tick
from tracer.evidence import Evidence
from tracer.notices import FlagNotice, Investigate, RequestNotice
from tracer.seen import Seen
from tracer.state import State

MS = S // 1000


def asked(ts: int, **seen: str | int) -> Event:
    return replace(req(ts, U), seen=Seen.of({"proxy_arp": 1, **seen}))


def observed(ts: int, reason: str) -> CauseFound:
    return replace(cause(ts, reason), confidence="observed")


def last(state: State, *events: Event) -> FlagNotice:
    flag = feed(state, *events)[-1]
    assert isinstance(flag, FlagNotice)
    return flag


# The closer look


def test_a_closer_look_is_wanted_until_the_cause_is_observed() -> None:
    state = State()
    assert not state.closer_look_wanted()
    feed(state, asked(S))
    assert state.closer_look_wanted()
    feed(state, cause(S + MS, "no_route"))
    assert state.closer_look_wanted()
    assert said(feed(state, asked(2 * S, given_route="unreachable"))) == [
        "unanswered no_route",
        "look",
    ]
    assert said(feed(state, observed(2 * S + MS, "no_route"))) == []
    assert not state.closer_look_wanted()
    line = feed(state, asked(3 * S))[0]
    assert isinstance(line, RequestNotice)
    assert (line.reason, line.confidence) == ("no_route", "observed")
    assert not state.closer_look_wanted()
    assert last(state, req(4 * S, A)).confidence == "observed"


def test_a_cause_that_is_observed_at_once_needs_no_closer_look() -> None:
    state = State()
    feed(state, asked(S, dropped="request"), observed(S + MS, "filtered_in"))
    assert not state.closer_look_wanted()


def test_a_flag_whose_look_is_late_has_what_was_seen_of_the_request() -> None:
    flag = last(State(), asked(S, dropped="request"), Tick(3 * S))
    assert flag.reason == "unknown"
    assert flag.evidence.seen == Seen(proxy_arp=1, dropped="request")
    assert "in time" in str(flag.evidence.because)


def test_no_closer_look_for_one_that_asks_no_more() -> None:
    state = State()
    raised(state)
    assert state.deadline() == 6 * S
    feed(state, Tick(6 * S - 1))
    assert state.closer_look_wanted()
    feed(state, Tick(6 * S))
    assert not state.closer_look_wanted()
    feed(state, asked(60 * S))
    assert state.closer_look_wanted()


def test_an_answer_ends_it() -> None:
    state = State()
    raised(state)
    feed(state, req(2 * S, A))
    assert not state.closer_look_wanted()


def test_a_closer_look_that_settles_nothing_is_not_kept_up() -> None:
    state = State()
    raised(state)
    feed(state, asked(2 * S, given_route="unicast"))
    feed(state, replace(cause(2 * S + MS, "no_route"), seen=Seen(given_route="unicast")))
    assert not state.closer_look_wanted()
    assert said(feed(state, asked(2 * S + 9 * MS))) == ["unanswered no_route"]
    assert not state.closer_look_wanted()
    feed(state, asked(9 * S), cause(9 * S + MS, "no_route"), asked(9 * S + 2 * MS))
    assert not state.closer_look_wanted()


def test_observation_wins_over_inference_and_says_so() -> None:
    state = State()
    feed(state, asked(S), cause(S + MS, "forwarding_off"), asked(2 * S, given_route="unreachable"))
    flag = last(state, observed(2 * S + MS, "no_route"))
    assert (flag.state, flag.reason, flag.confidence) == ("raised", "no_route", "observed")
    assert flag.evidence.instead_of == "forwarding_off (inferred)"


def test_inference_does_not_outweigh_what_was_observed_but_raises_doubt() -> None:
    state = State()
    drop = {"dropped": "request"}
    feed(state, asked(S, **drop), observed(S + MS, "filtered_in"))
    assert said(feed(state, asked(2 * S, **drop), cause(2 * S + MS, "no_route"))) == [
        "unanswered filtered_in",
        "look",
    ]
    assert state.closer_look_wanted()
    feed(state, asked(3 * S, given_route="unreachable"))
    assert said(feed(state, observed(3 * S + MS, "no_route"))) == ["raised no_route"]


def test_inference_that_stays_outweighs_what_is_not_observed_any_more() -> None:
    state = State()
    feed(state, asked(S), observed(S + MS, "filtered_in"))
    words = []
    for second in range(2, 6):
        words += said(feed(state, asked(second * S), cause(second * S + MS, "no_route")))
    assert words.count("raised no_route") == 1
    assert words.index("raised no_route") == 6  # the third look's


# When a look is ordered


def test_other_evidence_than_before_orders_a_look() -> None:
    state = State()
    feed(state, asked(S), cause(S + MS, "no_route"))
    assert said(feed(state, asked(S + 2 * MS))) == ["unanswered no_route"]
    news = feed(state, replace(asked(S + 300 * MS), seen=Seen(proxy_arp=0)))
    assert said(news) == ["unanswered None", "look"]  # what was known is in doubt
    news = feed(state, replace(asked(S + 600 * MS), seen=Seen(proxy_arp=0, given_out=3)))
    assert said(news) == ["unanswered None"]
    assert said(feed(state, cause(S + 700 * MS, "proxy_arp_off"))) == ["raised proxy_arp_off"]


def test_more_evidence_than_before_orders_a_look_and_contradicts_nothing() -> None:
    state = State()
    feed(state, asked(S), cause(S + MS, "no_route"))
    news = feed(state, asked(S + 2 * MS, given_route="unreachable"))
    assert said(news) == ["unanswered no_route", "look"]


def test_a_request_that_comes_further_than_before_is_of_another_cause() -> None:
    state = State()
    feed(state, asked(S, dropped="request"), observed(S + MS, "filtered_in"))
    assert said(feed(state, asked(2 * S))) == ["unanswered None", "look"]
    assert said(feed(state, cause(2 * S + MS, "no_route"))) == ["raised no_route"]
    assert state.totals().unanswered_by_reason == {"filtered_in": 1, "no_route": 1}


def test_evidence_that_changes_all_the_time_orders_few_looks() -> None:
    state = State()
    feed(state, asked(S), cause(S + MS, "no_route"))
    orders = 0
    for number in range(100):
        at = S + (2 + 10 * number) * MS
        notices = feed(state, asked(at, target_out=number), cause(at + MS, "no_route"))
        orders += said(notices).count("look")
    assert orders <= 7


def test_the_length_of_the_proxy_queue_is_no_news() -> None:
    state = State()
    feed(state, asked(S, proxy_queue=1), cause(S + MS, "no_route"))
    assert said(feed(state, asked(S + 500 * MS, proxy_queue=2))) == ["unanswered no_route"]


# Unknown


def test_unknown_is_not_said_while_a_closer_look_may_tell_better() -> None:
    state = State()
    assert said(feed(state, asked(S), cause(S + MS, "unknown"))) == ["unanswered None", "look"]
    assert said(feed(state, asked(S + 300 * MS, taken_in="x"))) == ["unanswered None", "look"]
    assert said(feed(state, observed(S + 301 * MS, "dropped_before_arp"))) == [
        "raised dropped_before_arp"
    ]
    assert state.totals().unanswered_by_reason == {"dropped_before_arp": 2}


def test_unknown_is_said_with_its_evidence_after_a_second() -> None:
    state = State()
    feed(state, asked(S), cause(S + MS, "unknown"))
    assert feed(state, Tick(2 * S)) == []
    assert state.totals().unanswered_by_reason == {"unknown": 1}
    flag = last(state, Tick(2 * S + 250 * MS))
    assert (flag.reason, flag.evidence) == ("unknown", Evidence(read=READ))
    assert state.totals().unanswered_by_reason == {"unknown": 1}


def test_the_second_request_tells_just_in_time() -> None:
    """A pod asks again after a second, and the closer look is there by then."""
    state = State()
    feed(state, asked(S), cause(S + MS, "unknown"), asked(2 * S + 40 * MS, taken_in="x"))
    assert said(feed(state, observed(2 * S + 45 * MS, "dropped_before_arp"))) == [
        "raised dropped_before_arp"
    ]
    assert state.totals().unanswered_by_reason == {"unknown": 1, "dropped_before_arp": 1}


# Links


def link(ts: int, blind: str | None = None) -> LinkSeen:
    return LinkSeen(ts, 1, 7, "cali7", blind)


def test_a_link_that_stays_down_is_flagged_after_two_seconds() -> None:
    state = State()
    feed(state, link(S), link(2 * S, "down"))
    assert state.deadline() == 4 * S
    assert feed(state, Tick(4 * S - 1)) == []
    (order,) = feed(state, Tick(4 * S))
    assert isinstance(order, Investigate)
    assert (order.target_ip, order.sender_ip, order.seen) == (GW, "", Seen(link="down"))
    flag = last(state, cause(4 * S + MS, "link_down"))
    assert (flag.state, flag.since, flag.unanswered) == ("raised", 2 * S, 0)
    assert not state.closer_look_wanted()
    assert said(feed(state, link(9 * S))) == ["cleared link_down"]
    assert state.deadline() is None


def test_links_that_come_up_or_go_away_raise_nothing() -> None:
    state = State()
    feed(state, link(S, "down"), link(2 * S, "no carrier"), link(3 * S - 1))
    assert feed(state, Tick(9 * S)) == []
    feed(state, link(10 * S, "down"))
    assert feed(state, LinkGone(11 * S, 1, 7, "cali7"), Tick(20 * S)) == []


def test_a_state_that_becomes_another_one_is_one_incident() -> None:
    state = State()
    feed(state, link(S, "down"), link(2 * S, "no carrier"))
    (order,) = feed(state, Tick(3 * S))
    assert isinstance(order, Investigate)
    assert order.seen == Seen(link="no carrier")


def test_each_target_is_flagged() -> None:
    state = State()
    feed(state, Started(1, "0", "tracepoint", "6", (), ("10.0.0.1", "10.0.0.2")))
    feed(state, link(S, "down"))
    orders = [each for each in feed(state, Tick(3 * S)) if isinstance(each, Investigate)]
    assert [order.target_ip for order in orders] == ["10.0.0.1", "10.0.0.2"]


def test_a_flag_that_is_up_becomes_the_links() -> None:
    state = State()
    feed(state, asked(S), observed(S + MS, "no_route"), link(2 * S, "down"))
    assert said(feed(state, Tick(4 * S), cause(4 * S + MS, "link_down"))) == [
        "look",
        "raised link_down",
    ]


def test_an_answer_clears_a_link_that_was_thought_blind() -> None:
    state = State()
    feed(state, link(S, "native XDP"), Tick(3 * S), cause(3 * S + MS, "dropped_before_arp"))
    assert said(feed(state, req(5 * S, A))) == ["answered None", "cleared dropped_before_arp"]
    assert feed(state, Tick(60 * S)) == []
