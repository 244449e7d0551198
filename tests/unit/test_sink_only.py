# SPDX-License-Identifier: Apache-2.0
"""--only, and the registry of sinks."""

from __future__ import annotations

from typing import get_args

import pytest

from tracer.events import Verdict
from tracer.evidence import Evidence
from tracer.notices import (
    FlagNotice,
    Line,
    LostNotice,
    NeighbourNotice,
    RequestNotice,
    StartNotice,
    StopNotice,
)
from tracer.options import ONLY
from tracer.seen import Seen
from tracer.sinks import SINKS, Options, passes


def request(verdict: Verdict, settled: bool = False) -> RequestNotice:
    return RequestNotice(1, "calia", 2, 3, "", "", "", verdict, None, None, None, Seen(), settled)


START = StartNotice(1, "0.1.0", "fentry", "6.1.0", (), ())
RAISED = FlagNotice(1, "raised", "calia", 2, 3, "", "no_route", "inferred", 1, 1, "", Evidence())
CLEARED = FlagNotice(1, "cleared", "calia", 2, 3, "", "no_route", "inferred", 1, 1, "", Evidence())
NEIGHBOUR = NeighbourNotice(1, "calia", 2, 3, "", None, "failed", None)
LOST = LostNotice(1, 2)
STOP = StopNotice(1, 1.0, 0, 0, 0, 0, 0, 0, 0)
UNANSWERED = request(Verdict.UNANSWERED)
LATE = request(Verdict.UNANSWERED, settled=True)
OTHERS = [request(Verdict.ANSWERED), request(Verdict.DEFERRED), request(Verdict.IGNORED)]
ALL: list[Line] = [START, *OTHERS, UNANSWERED, LATE, RAISED, CLEARED, NEIGHBOUR, LOST, STOP]


def test_every_kind_of_line_is_here() -> None:
    assert {type(notice) for notice in ALL} == set(get_args(Line))


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("all", ALL),
        ("unanswered", [START, UNANSWERED, LATE, RAISED, CLEARED, LOST, STOP]),
        ("flags", [START, RAISED, CLEARED, LOST, STOP]),
    ],
)
def test_what_passes(only: str, expected: list[Line]) -> None:
    assert list(filter(passes(only), ALL)) == expected


def test_the_choices_are_those_of_the_contract() -> None:
    assert ONLY == ("all", "unanswered", "flags")
    with pytest.raises(KeyError):
        passes("none")


def test_every_sink_takes_every_notice_and_ends_its_lines() -> None:
    assert list(SINKS) == ["text", "json"]
    for make in SINKS.values():
        sink = make(Options())
        for notice in ALL:
            text = sink.line(notice)
            assert text.endswith("\n") or (text == "" and notice is START)


def test_the_options_reach_the_sinks() -> None:
    options = Options(
        colour=True,
        pods=lambda interface: {"namespace": "shop", "name": interface.upper()},
        means=lambda reason: f"What {reason} means.",
    )
    text = SINKS["text"](options).line(RAISED)
    assert "\x1b[" in text
    assert "pod shop/CALIA" in text
    assert "What no_route means." in text
    assert '"pod":{"namespace":"shop","name":"CALIA"}' in SINKS["json"](options).line(RAISED)
