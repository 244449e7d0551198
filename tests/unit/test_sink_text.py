# SPDX-License-Identifier: Apache-2.0
"""Text lines: exact, under 80 columns, safe on a terminal."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from tracer.seen import Seen
from tracer.sinks.instant import duration, latency
from tracer.sinks.text import TextSink

TS = 1_795_424_641_123_999_789  # 09:04:01 UTC
REQUEST = RequestNotice(
    ts=TS,
    interface="calic577831ffc7",
    ifindex=7,
    netns=4_026_531_840,
    sender_ip="192.168.156.177",
    sender_mac="d2:0e:7c:61:4b:0d",
    target_ip="169.254.1.1",
    verdict=Verdict.ANSWERED,
    reason=None,
    confidence=None,
    latency_ns=11_731,
    seen=Seen(),
    settled=False,
)
COMMAND = "ip route add unreachable 169.254.1.1/32 metric 4278198272 proto static table main"
FLAG = FlagNotice(
    ts=TS,
    state="raised",
    interface="calic577831ffc7",
    ifindex=7,
    netns=4_026_531_840,
    target_ip="169.254.1.1",
    reason="local_address_ignored",
    confidence="inferred",
    since=TS - 1_003_000_000,
    unanswered=2,
    remedy=COMMAND,
    evidence=Evidence(
        read={"error": -113, "hook": None, "seen": True, "route": "unreachable default"}
    ),
)
CLEARED = dataclasses.replace(FLAG, state="cleared", ts=TS + 122_000_000_000, unanswered=127)
STOP = StopNotice(TS, 12.345_678_9, 997, 800, 150, 3, 44, 1, 17)


@pytest.fixture(autouse=True)
def local_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-3")  # three hours east of UTC
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def plain(notice: Line) -> str:
    return TextSink().line(notice)


def request(verdict: Verdict, latency_ns: int | None = None, settled: bool = False) -> str:
    return plain(
        dataclasses.replace(REQUEST, verdict=verdict, latency_ns=latency_ns, settled=settled)
    )


HEAD = "12:04:01.123 calic577831ffc7 169.254.1.1 tell 192.168.156.177 "


@pytest.mark.parametrize(
    ("verdict", "latency_ns", "settled", "tail"),
    [
        (Verdict.ANSWERED, 11_731, False, " answered    12us"),
        (Verdict.ANSWERED, 3_400_000, False, " answered   3.4ms"),
        (Verdict.ANSWERED, None, False, " answered"),
        (Verdict.UNANSWERED, None, False, " UNANSWERED"),
        (Verdict.DEFERRED, None, False, " deferred"),
        (Verdict.ANSWERED, 312_000_000, True, "late answer 312ms"),
        (Verdict.UNANSWERED, None, True, " UNANSWERED late"),
        (Verdict.IGNORED, None, False, " ignored"),
    ],
)
def test_requests(verdict: Verdict, latency_ns: int | None, settled: bool, tail: str) -> None:
    line = request(verdict, latency_ns, settled)
    assert line == f"{HEAD}{tail}\n"
    assert len(line) <= 80  # with its newline


def test_two_answers() -> None:
    twice = dataclasses.replace(
        REQUEST,
        latency_ns=None,
        settled=True,
        answers=2,
        seen=Seen(other_mac="02:00:5e:00:53:02"),
    )
    assert plain(twice) == f"{HEAD} answered\n    by another one too, with 02:00:5e:00:53:02\n"
    assert "another address" in plain(dataclasses.replace(twice, seen=Seen()))  # a recording's


def test_columns_stay_where_they_are_for_shorter_names() -> None:
    line = plain(dataclasses.replace(REQUEST, interface="calia", sender_ip="10.65.0.2"))
    assert line == (
        "12:04:01.123 calia           169.254.1.1 tell 10.65.0.2        answered    12us\n"
    )


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0ns"),
        (999, "999ns"),
        (1_000, "1.0us"),
        (9_949, "9.9us"),
        (9_950, "10us"),
        (999_499, "999us"),
        (999_500, "1.0ms"),
        (312_400_000, "312ms"),
        (800_000_000, "800ms"),
        (999_600_000, "1.0s"),
        (12_000_000_000, "12s"),
        (1_200_000_000_000, "1200s"),
    ],
)
def test_latencies(ns: int, text: str) -> None:
    assert latency(ns) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0s"),
        (12.39, "12.3s"),
        (59.99, "59.9s"),
        (60.0, "1m00s"),
        (3599.9, "59m59s"),
        (3_720.0, "1h02m"),
        (86_399.0, "23h59m"),
        (273_600.0, "3d04h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_raised_flag() -> None:
    sink = TextSink(
        means=lambda reason: (
            f"The meaning of {reason} is that the target is a local address of the node and"
            " the node was told to keep it to itself."
        ),
        pods=lambda interface: {"namespace": "shop", "name": "web-1"},
    )
    assert sink.line(FLAG) == (
        ">>> calic577831ffc7 gets no reply for 169.254.1.1: local_address_ignored\n"
        "    since 12:04:00.120, 2 unanswered, inferred, pod shop/web-1\n"
        "    The meaning of local_address_ignored is that the target is a local address\n"
        "    of the node and the node was told to keep it to itself.\n"
        '    evidence: error=-113 hook=none seen=yes route="unreachable default"\n'
        "    mend:\n"
        f"    {COMMAND}\n"
    )


def test_a_raised_flag_of_which_little_is_known() -> None:
    notice = dataclasses.replace(FLAG, reason="unknown", remedy="", evidence=Evidence())
    assert plain(notice) == (
        ">>> calic577831ffc7 gets no reply for 169.254.1.1: unknown\n"
        "    since 12:04:00.120, 2 unanswered, inferred\n"
    )


def test_of_two_values_of_one_name_both_are_said() -> None:
    """And one that is the same in both once; 0 is said where the other is not."""
    seen = Seen(dropped="reply", forwarding=1, proxy_arp=0, rp_filter=2, medium_id=0)
    read = {"proxy_arp": 1, "forwarding": 1, "rp_filter": 0, "medium_id": 0, "ip_forward": 1}
    notice = dataclasses.replace(FLAG, evidence=Evidence(seen, read, also=("no_route", "x")))
    assert [line for line in plain(notice).splitlines() if "=" in line] == [
        "    evidence: proxy_arp=0 (read: 1) forwarding=1 rp_filter=2 (read: 0)",
        '    ip_forward=1 dropped=reply also="no_route x"',
    ]


def test_a_remedy_of_sentences_is_wrapped_and_its_commands_are_not() -> None:
    sentence = "Let Felix write its settings again, and find out what wrote over them since then."
    notice = dataclasses.replace(
        FLAG, evidence=Evidence(), remedy=f"{sentence}\n{COMMAND}\n\n  ip rule\n"
    )
    assert plain(notice).splitlines()[2:] == [
        "    mend: Let Felix write its settings again, and find out what wrote over them",
        "    since then.",
        f"    {COMMAND}",
        "    ip rule",
    ]


def test_a_cleared_flag_is_one_line() -> None:
    assert plain(CLEARED) == (
        "<<< calic577831ffc7 169.254.1.1 cleared 12:06:03 after 2m03s, 127 unanswered\n"
    )


def test_neighbours() -> None:
    notice = NeighbourNotice(TS, "calia", 7, 1, "192.168.156.177", "incomplete", "failed", None)
    assert plain(notice) == (
        "12:04:01.123 calia           neigh 192.168.156.177 incomplete > failed\n"
    )
    notice = dataclasses.replace(notice, old_state=None, new_state="reachable")
    assert plain(notice) == "12:04:01.123 calia           neigh 192.168.156.177 reachable\n"


def test_lost_events() -> None:
    assert plain(LostNotice(TS, 17)) == (
        "12:04:01.123 lost 17 events, not shown above; counts stay exact\n"
    )
    assert "lost 1 event, not" in plain(LostNotice(TS, 1))


def test_a_start_gives_no_line() -> None:
    assert plain(StartNotice(TS, "0.1.0", "fentry", "6.1.0", (), ())) == ""


def test_the_summary() -> None:
    assert plain(STOP) == (
        "--- 997 requests in 12.3s\n"
        "--- 800 answered, 150 unanswered, 3 deferred, 44 ignored\n"
        "--- 1 flag raised, 17 events lost\n"
    )
    assert plain(StopNotice(TS, 0.0, 1, 1, 0, 0, 0, 0, 0)) == (
        "--- 1 request in 0.0s\n"
        "--- 1 answered, 0 unanswered, 0 deferred, 0 ignored\n"
        "--- 0 flags raised, 0 events lost\n"
    )


EVERY: list[Line] = [
    *(
        dataclasses.replace(REQUEST, verdict=verdict, latency_ns=None, settled=settled)
        for verdict in Verdict
        for settled in (False, True)
    ),
    FLAG,
    CLEARED,
    NeighbourNotice(TS, "calic577831ffc7", 7, 1, "192.168.156.177", "incomplete", "failed", None),
    LostNotice(TS, 17),
    STOP,
]


@pytest.mark.parametrize("notice", EVERY)
def test_colour_changes_nothing_but_colour(notice: Line) -> None:
    text = TextSink(colour=True).line(notice)
    assert click.unstyle(text) == plain(notice)
    assert "\x1b" not in plain(notice)
    for line in text.splitlines():
        assert "\x1b[" not in line or line.endswith("\x1b[0m") or notice is STOP


def test_what_is_wrong_is_red_and_what_is_well_is_not() -> None:
    red = "\x1b[31m"
    sink = TextSink(colour=True)
    well: list[Line] = [REQUEST, CLEARED, StopNotice(TS, 1.0, 1, 1, 0, 0, 0, 0, 0)]
    wrong: list[Line] = [dataclasses.replace(REQUEST, verdict=Verdict.UNANSWERED), FLAG, STOP]
    assert [notice for notice in well if red in sink.line(notice)] == []
    assert [notice for notice in wrong if red in sink.line(notice)] == wrong
    assert sink.line(CLEARED).startswith("\x1b[32m<<< ")
    assert sink.line(REQUEST) == plain(REQUEST)


def test_lines_are_under_80_columns() -> None:
    for notice in EVERY:
        for line in plain(notice).splitlines():
            assert len(line) <= 79 or line.strip() == COMMAND


ODD = "cali\x1b[2J\r\n\u202e\x9b\udc80"
ESCAPED = r"cali\x1b[2J\x0d\x0a\u202e\x9b\x80"


@pytest.mark.parametrize(
    "notice",
    [
        dataclasses.replace(REQUEST, interface=ODD),
        dataclasses.replace(REQUEST, sender_ip=ODD),
        dataclasses.replace(FLAG, interface=ODD),
        dataclasses.replace(FLAG, evidence=Evidence(read={ODD: 1})),
        dataclasses.replace(FLAG, evidence=Evidence(read={"a": ODD})),
        dataclasses.replace(FLAG, reason=ODD),
        dataclasses.replace(CLEARED, interface=ODD),
        NeighbourNotice(TS, ODD, 7, 1, "10.65.0.2", None, "failed", None),
    ],
)
def test_names_cannot_act_on_the_terminal(notice: Line) -> None:
    text = plain(notice)
    assert ESCAPED in text
    assert text.replace("\n", "").isprintable()


def test_a_remedy_cannot_act_on_the_terminal() -> None:
    text = plain(dataclasses.replace(FLAG, remedy="ip link set cali\x1b[2J up"))
    assert text.endswith("    mend:\n    ip link set cali\\x1b[2J up\n")


def test_a_pod_cannot_act_on_the_terminal() -> None:
    sink = TextSink(pods=lambda interface: {"namespace": "\x07", "name": "\x1b"})
    assert "pod \\x07/\\x1b\n" in sink.line(FLAG)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(st.characters()))
def test_every_name_is_printable_and_one_line(name: str) -> None:
    text = plain(dataclasses.replace(REQUEST, interface=name))
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    text.encode()


def test_runs_that_the_kernel_skipped_are_told_without_a_lost_event() -> None:
    line = TextSink().line(LostNotice(1, 0, 2))
    assert "skipped 2 runs" in line
    assert "lost" not in line
