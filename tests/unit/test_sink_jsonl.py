# SPDX-License-Identifier: Apache-2.0
"""JSON lines, byte for byte, and as docs/json.md shows them."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

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
from tracer.sinks.jsonl import JsonSink

TS = 1_795_424_641_123_456_789
TIME = "2026-11-23T09:04:01.123456789Z"
DOCS = Path(__file__).parents[2] / "docs" / "json.md"

START = StartNotice(TS, "0.1.0", "fentry", "6.1.0-28-amd64", ("calia", "calib"), ("169.254.1.1",))
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
    answered_by="kernel",
)
FLAG = FlagNotice(
    ts=TS,
    state="raised",
    interface="calic577831ffc7",
    ifindex=7,
    netns=4_026_531_840,
    target_ip="169.254.1.1",
    reason="no_route",
    confidence="inferred",
    since=TS - 31_000_000,
    unanswered=1,
    remedy="ip route add default via 10.0.0.1",
    evidence=Evidence(Seen(dropped="request", noarp=True), {"error": -113, "hook": None}),
)
NEIGHBOUR = NeighbourNotice(
    TS, "calic577831ffc7", 7, 4_026_531_840, "192.168.156.177", None, "incomplete", None
)
STOP = StopNotice(TS, 12.345_678_9, 997, 800, 150, 3, 44, 1, 17)


def parsed(notice: Line) -> dict[str, Any]:
    (line, rest) = JsonSink().line(notice).split("\n")
    assert rest == ""
    assert line.isascii()
    value = json.loads(line)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    ("notice", "line"),
    [
        (
            START,
            f'{{"type":"start","ts":"{TIME}","version":"0.1.0","engine":"fentry",'
            '"kernel":"6.1.0-28-amd64","interfaces":["calia","calib"],'
            '"targets":["169.254.1.1"]}\n',
        ),
        (
            REQUEST,
            f'{{"type":"request","ts":"{TIME}","interface":"calic577831ffc7","ifindex":7,'
            '"netns":4026531840,"sender_ip":"192.168.156.177",'
            '"sender_mac":"d2:0e:7c:61:4b:0d","target_ip":"169.254.1.1","verdict":"answered",'
            '"reason":null,"confidence":null,"latency_ns":11731,"evidence":{"seen":{},"read":{}},"pod":null,'
            '"settled":false,"answered_by":"kernel","corrects":false}\n',
        ),
        (
            FLAG,
            f'{{"type":"flag","ts":"{TIME}","state":"raised","interface":"calic577831ffc7",'
            '"target_ip":"169.254.1.1","sender_ip":"","reason":"no_route",'
            '"since":"2026-11-23T09:04:01.092456789Z","before_trace":false,"unanswered":1,'
            '"remedy":"ip route add default via 10.0.0.1","remedy_kind":"advice","pod":null,'
            '"ifindex":7,'
            '"netns":4026531840,"confidence":"inferred",'
            '"evidence":{"seen":{"dropped":"request","noarp":true},'
            '"read":{"error":-113,"hook":null}}}\n',
        ),
        (
            NEIGHBOUR,
            f'{{"type":"neighbour","ts":"{TIME}","interface":"calic577831ffc7",'
            '"ip":"192.168.156.177","old_state":null,"new_state":"incomplete","mac":null,'
            '"ifindex":7,"netns":4026531840}\n',
        ),
        (LostNotice(TS, 17, 3), f'{{"type":"lost","ts":"{TIME}","count":17,"skipped":3}}\n'),
        (
            STOP,
            f'{{"type":"stop","ts":"{TIME}","duration_s":12.345679,"requests":997,'
            '"answered":800,"unanswered":150,"deferred":3,"ignored":44,"flags_raised":1,'
            '"lost":17,"skipped":0}\n',
        ),
    ],
)
def test_the_lines(notice: Line, line: str) -> None:
    assert JsonSink().line(notice) == line


@pytest.mark.parametrize(
    ("ts", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (TS, TIME),
        (TS - 123_456_789, "2026-11-23T09:04:01.000000000Z"),
        (TS - 123_456_790, "2026-11-23T09:04:00.999999999Z"),
        (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z"),
        (2**64 - 1, "2554-07-21T23:34:33.709551615Z"),
    ],
)
def test_timestamps(ts: int, text: str) -> None:
    assert parsed(LostNotice(ts, 1))["ts"] == text


def test_timestamps_of_one_sink_do_not_stick() -> None:
    sink = JsonSink()
    lines = [json.loads(sink.line(LostNotice(ts, 1)))["ts"] for ts in (TS, TS + 1, TS + 10**9, TS)]
    assert lines == [TIME, TIME.replace("789Z", "790Z"), TIME.replace(":01.", ":02."), TIME]


@pytest.mark.parametrize(
    ("verdict", "settled"),
    [
        (Verdict.UNANSWERED, False),
        (Verdict.DEFERRED, False),
        (Verdict.ANSWERED, True),
        (Verdict.UNANSWERED, True),
        (Verdict.IGNORED, False),
    ],
)
def test_verdicts(verdict: Verdict, settled: bool) -> None:
    value = parsed(dataclasses.replace(REQUEST, verdict=verdict, settled=settled))
    assert (value["verdict"], value["settled"]) == (verdict.value, settled)


def test_a_pod() -> None:
    sink = JsonSink(
        pods={"calic577831ffc7": {"name": "web-1", "namespace": "shop", "uid": "x"}}.get
    )
    assert '"pod":{"namespace":"shop","name":"web-1"},"settled"' in sink.line(REQUEST)
    assert '"pod":{"namespace":"shop","name":"web-1"},"ifindex"' in sink.line(FLAG)
    other = sink.line(dataclasses.replace(REQUEST, interface="caliother"))
    assert json.loads(other)["pod"] is None


def test_what_was_seen_of_a_request() -> None:
    notice = dataclasses.replace(REQUEST, seen=Seen(dropped="reply", proxy_arp=0))
    assert parsed(notice)["evidence"] == {"seen": {"dropped": "reply", "proxy_arp": 0}, "read": {}}


def test_the_evidence_of_a_flag() -> None:
    """Of one name two values: that of the request's path, and that of the look."""
    evidence = Evidence(
        Seen(proxy_arp=0),
        MappingProxyType({"proxy_arp": 1}),
        "proxy_arp was 0",
        ("no_route", "medium_id"),
        "unknown (inferred)",
    )
    assert parsed(dataclasses.replace(FLAG, evidence=evidence))["evidence"] == {
        "because": "proxy_arp was 0",
        "also": "no_route medium_id",
        "instead_of": "unknown (inferred)",
        "seen": {"proxy_arp": 0},
        "read": {"proxy_arp": 1},
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ('"\\', '"\\'),
        ("a\nb\x1b[2J\x00", "a\nb\x1b[2J\x00"),
        ("\u2028é😀", "\u2028é😀"),
        (b"cali\xff\x80".decode(errors="surrogateescape"), "cali\\xff\\x80"),
        ("\ud800😀", "\\ud800😀"),
        ("\\ud800", "\\ud800"),
    ],
)
def test_odd_names(name: str, text: str) -> None:
    assert parsed(dataclasses.replace(REQUEST, interface=name))["interface"] == text
    assert parsed(dataclasses.replace(START, interfaces=(name,)))["interfaces"] == [text]
    value = parsed(dataclasses.replace(FLAG, evidence=Evidence(read={name: name, "n": 1})))
    assert value["evidence"]["read"] == {text: text, "n": 1}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(st.characters()))
def test_every_name_is_one_line_that_strict_parsers_take(name: str) -> None:
    value = parsed(dataclasses.replace(REQUEST, interface=name))
    value["interface"].encode()  # no surrogate is left
    assert value["target_ip"] == "169.254.1.1"


def test_the_documentation_shows_every_object_with_its_fields_in_order() -> None:
    shown = [json.loads(line) for line in re.findall(r"^\{.*\}$", DOCS.read_text(), re.M)]
    for notice in (START, REQUEST, FLAG, NEIGHBOUR, LostNotice(TS, 17), STOP):
        keys = list(parsed(notice))
        kind = parsed(notice)["type"]
        examples = [value for value in shown if value["type"] == kind]
        assert examples, kind
        assert [list(value) for value in examples] == [keys] * len(examples)
        section = DOCS.read_text().split(f"\n## `{kind}`\n")[1].split("\n## ")[0]
        for key in keys[2:]:
            assert f"`{key}`" in section, (kind, key)


def test_two_answers_are_told() -> None:
    assert "answers" not in parsed(REQUEST)
    assert parsed(replace(REQUEST, answers=2))["answers"] == 2
