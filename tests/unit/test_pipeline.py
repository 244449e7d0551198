# SPDX-License-Identifier: Apache-2.0
"""The one way through the house: what is fed, recorded, ordered and emitted."""

from __future__ import annotations

from pathlib import Path

from tracer.events import CauseFound, Event, Lost, Request, Started, Stopped, Verdict
from tracer.notices import FlagNotice, Investigate, Line, RequestNotice, StopNotice
from tracer.pipeline import Pipeline
from tracer.recording import Writer, read


def request(ts: int, verdict: Verdict, *, late: bool = False) -> Request:
    return Request(
        ts, 1, 7, 9, "cali1", "10.0.0.2", "02:00:00:00:00:01", "169.254.1.1", verdict, late=late
    )


STARTED = Started(0, "0.1.0", "fentry", "6.1", ("cali1",), ("169.254.1.1",))
EVENTS: list[Event] = [
    STARTED,
    request(1, Verdict.ANSWERED),
    request(2, Verdict.UNANSWERED),
    CauseFound(3, 1, 7, "169.254.1.1", "proxy_arp_off", "inferred", "sysctl -w x=1"),
    request(4, Verdict.UNANSWERED),
    request(5, Verdict.ANSWERED),
    Lost(6, 3),
    Stopped(7),
]


def test_investigations_are_ordered_and_not_emitted() -> None:
    lines: list[Line] = []
    orders: list[Investigate] = []
    pipeline = Pipeline(lines.append, order=orders.append)
    for event in EVENTS:
        pipeline.feed(event)
    assert [order.interface for order in orders] == ["cali1"]
    assert not any(isinstance(line, Investigate) for line in lines)
    assert [line.state for line in lines if isinstance(line, FlagNotice)] == ["raised", "cleared"]
    assert pipeline.flags_raised == 1


def test_a_replay_says_what_the_live_run_said(tmp_path: Path) -> None:
    live: list[Line] = []
    with Writer.create(str(tmp_path / "recording")) as recording:
        pipeline = Pipeline(live.append, order=lambda order: None, recording=recording)
        for event in EVENTS:
            pipeline.feed(event)
    replayed: list[Line] = []
    again = Pipeline(replayed.append)
    for event in read(str(tmp_path / "recording")):
        again.feed(event)
    assert replayed == live


def test_count_takes_so_many_new_requests_and_no_more() -> None:
    lines: list[Line] = []
    pipeline = Pipeline(lines.append, count=3)
    pipeline.feed(STARTED)
    pipeline.feed(request(1, Verdict.DEFERRED))
    pipeline.feed(request(2, Verdict.ANSWERED, late=True))  # settles the first: not a new one
    pipeline.feed(request(3, Verdict.ANSWERED))
    assert not pipeline.full
    pipeline.feed(request(4, Verdict.ANSWERED))
    assert pipeline.full
    pipeline.feed(request(5, Verdict.ANSWERED))
    pipeline.feed(Stopped(6))
    assert len([line for line in lines if isinstance(line, RequestNotice)]) == 4
    (stop,) = (line for line in lines if isinstance(line, StopNotice))
    assert stop.requests == 3
