# SPDX-License-Identifier: Apache-2.0
"""What is said though nothing was judged, and what is not judged at all."""

from __future__ import annotations

from tracer.events import Elsewhere, Event, LinkSeen, Request, Stopped, Unjudged, Verdict
from tracer.notices import FlagNotice, Notice, Remark, RequestNotice
from tracer.seen import Seen
from tracer.state import State

CALI = "calic577831ffc7"
UPLINK = "uplink0"


def fed(*events: Event) -> list[Notice]:
    state = State()
    return [notice for event in events for notice in state.feed(event)]


def remarks(*events: Event) -> list[str]:
    return [each.text for each in fed(*events) if isinstance(each, Remark)]


def request(interface: str, verdict: Verdict, ts: int = 5) -> Request:
    return Request(
        ts=ts,
        netns=1,
        ifindex=7,
        device=1,
        interface=interface,
        sender_ip="10.77.0.10",
        sender_mac="02:42:ac:11:00:02",
        target_ip="169.254.1.1",
        verdict=verdict,
    )


def test_requests_for_another_target_are_told_once() -> None:
    said = remarks(
        Unjudged(1, CALI, "10.77.0.1", 2),
        Unjudged(2, CALI, "10.77.0.1", 12),
        Unjudged(3, CALI, "10.77.0.1", 17),
        Stopped(4),
    )
    assert said == ["12 requests for 10.77.0.1 were not judged: --target 10.77.0.1"]


def test_few_of_them_are_told_at_the_end_if_there_was_nothing_else() -> None:
    assert remarks(Unjudged(1, CALI, "10.77.0.1", 1), Stopped(4)) == [
        "1 request for 10.77.0.1 was not judged: --target 10.77.0.1"
    ]
    answered = request(CALI, Verdict.ANSWERED)
    assert remarks(answered, Unjudged(6, CALI, "10.77.0.1", 12), Stopped(7)) == []


def test_packets_for_another_mac_are_told_once() -> None:
    said = remarks(
        Elsewhere(1, CALI, "46:a9:d3:46:96:82", 2),
        Elsewhere(2, CALI, "46:a9:d3:46:96:82", 4),
        Elsewhere(3, CALI, "46:a9:d3:46:96:82", 5),
        Stopped(4),
    )
    assert len(said) == 1
    assert said[0].startswith("4 IP packets came in for the MAC address 46:a9:d3:46:96:82")


def test_an_uplink_is_not_judged() -> None:
    notices = fed(
        LinkSeen(1, 1, 7, UPLINK, not_pod="the default route leaves through it"),
        request(UPLINK, Verdict.UNANSWERED),
        Unjudged(6, UPLINK, "172.30.9.254", 9),
        Stopped(7),
    )
    requests = [each for each in notices if isinstance(each, RequestNotice)]
    assert [(each.verdict, each.seen) for each in requests] == [
        (Verdict.IGNORED, Seen(not_a_pod_link="the default route leaves through it"))
    ]
    assert not any(isinstance(each, FlagNotice | Remark) for each in notices)
