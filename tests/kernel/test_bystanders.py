# SPDX-License-Identifier: Apache-2.0
"""What looks like a fault and is none: every request is answered, and nothing is flagged."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from conftest import EMULATED, NUMBERS, PATIENCE_S, Bench, every_engine
from lab import Lab
from lab.errors import Unavailable
from lab.faults import FAULTS, Fault
from lab.faults.responders import OTHER_MAC
from lab.pod import Pod
from lab.tracer import Line
from results import Result, note, note_unavailable
from scenarios import BYSTANDERS

Benches = Mapping[str, Bench]
ASKED = 53 if EMULATED else 211
ANSWERED_BY = {"answered_by_program": "userspace", "answered_by_bpf": "bpf"}
OF_THEIR_OWN = frozenset({"answered_by_program", "answered_twice"})
# The request never comes to the functions that the other engines trace.
SEEN_BY_TRACEPOINT_ALONE = frozenset({"answered_by_bpf"})


@pytest.fixture(scope="module")
def benches() -> Iterator[Benches]:
    with Lab("bystanders", pods=0) as lab, every_engine(lab) as traces:
        yield traces


@pytest.fixture
def pod(benches: Benches) -> Iterator[Pod]:
    lab = next(iter(benches.values())).lab
    made = lab.add_pod(f"y{next(NUMBERS)}")
    yield made
    made.delete()


@contextmanager
def _broken(pod: Pod, name: str) -> Iterator[Fault]:
    try:
        FAULTS[name].break_(pod.lab, pod)
    except Unavailable as lack:
        note_unavailable("answered", name, str(lack))
        pytest.skip(f"{name}: {lack}")
    try:
        yield FAULTS[name]
    finally:
        FAULTS[name].mend(pod.lab, pod)


def _all_are_answered(pod: Pod, fault: Fault, interval: float = 0.0) -> None:
    tally = pod.ask(ASKED, interval=interval, settle=1.0)
    assert (tally.sent, tally.dropped) == (ASKED, 0)
    assert tally.replies == fault.answers * ASKED


def _flags(bench: Bench, pod: Pod) -> list[tuple[str, str]]:
    return [flag for flag in bench.flags(pod) if flag != ("raised", "link_down") or not EMULATED]


def _wrong(benches: Benches, engine: str, pod: Pod, name: str, told: int = 0) -> list[object]:
    """What a trace says wrongly of all that was asked since ``told`` lines of requests.

    Later lines of a request that was told before (``settled``) are not looked at.
    """
    bench = benches[engine]
    flags = _flags(bench, pod)[-1:]
    if told and flags and flags[0][0] == "cleared":
        flags = []
    lines = [line for line in bench.tracer.requests(pod.interface)[told:] if not line["settled"]]
    verdicts = Counter(line["verdict"] for line in lines)
    note(Result(engine, "answered", name, _named(verdicts, flags), "observed"))
    by = Counter(line["answered_by"] for line in lines)
    right = ({"answered": ASKED}, {ANSWERED_BY.get(name, "kernel"): ASKED}, [])
    return [] if (verdicts, by, flags) == right else [verdicts, by, flags]


@pytest.mark.parametrize("name", sorted({*BYSTANDERS} - OF_THEIR_OWN))
def test_a_bystander_is_answered_and_not_flagged(benches: Benches, pod: Pod, name: str) -> None:
    blind = {e for e in benches if e != "tracepoint" and name in SEEN_BY_TRACEPOINT_ALONE}
    with _broken(pod, name) as fault:
        _all_are_answered(pod, fault)
        for engine, bench in benches.items():
            if engine not in blind:
                bench.requests(pod, ASKED)
        time.sleep(2.0 if EMULATED else 0.7)  # what is answered late is corrected by then
    wrong = {}
    for engine, bench in benches.items():
        if engine in blind:
            note(Result(engine, "answered", name))
            wrong[engine] = bench.tracer.requests(pod.interface)[:1]
        else:
            wrong[engine] = _wrong(benches, engine, pod, name)
    assert not any(wrong.values()), wrong


def test_once_a_program_was_seen_to_answer_nothing_is_flagged(benches: Benches, pod: Pod) -> None:
    """Nobody can know it of the first request: at the kernel's verdict it has no answer."""
    name = "answered_by_program"
    told = {}
    with _broken(pod, name) as fault:
        pod.ask(5, interval=1.0, settle=1.0)  # as its kernel would
        time.sleep(2.0 if EMULATED else 1.0)
        for engine, bench in benches.items():
            bench.tracer.wait_for(lambda line: _by_program(line, pod), PATIENCE_S)
            assert len(bench.tracer.requests(pod.interface, settled=False)) == 5
            told[engine] = len(bench.tracer.requests(pod.interface))
        _all_are_answered(pod, fault)
        for engine, bench in benches.items():
            bench.requests(pod, told[engine] + ASKED)
        time.sleep(2.0 if EMULATED else 0.7)
    wrong = {e: _wrong(benches, e, pod, name, told[e]) for e in benches}
    assert not any(wrong.values()), wrong
    if "tracepoint" in benches:  # which is there before the first
        first, corrected = benches["tracepoint"].tracer.requests(pod.interface)[:2]
        assert (first["verdict"], first["corrects"]) == ("unanswered", False)
        assert (corrected["verdict"], corrected["corrects"]) == ("answered", True)


def _by_program(line: Line, pod: Pod) -> bool:
    return line.get("interface") == pod.interface and line.get("answered_by") == "userspace"


def test_two_answers_of_different_addresses_are_said(benches: Benches, pod: Pod) -> None:
    """The tracepoint engine sees what a program sends; the others do not look for it."""
    name = "answered_twice"
    with _broken(pod, name) as fault:
        _all_are_answered(pod, fault, interval=0.02)
        for engine, bench in benches.items():
            bench.requests(pod, ASKED)
            if engine == "tracepoint":
                bench.tracer.wait_for_count(
                    ASKED, lambda line: line.get("answers") == 2, PATIENCE_S
                )
        time.sleep(0.5)
    wrong = {e: _wrong(benches, e, pod, name) for e in benches}
    assert not any(wrong.values()), wrong
    if "tracepoint" in benches:
        lines = benches["tracepoint"].tracer.requests(pod.interface)
        twice = [line["evidence"]["seen"] for line in lines if line.get("answers") == 2]
        assert twice == ASKED * [{"other_mac": OTHER_MAC}]


def _named(verdicts: Counter[str], flags: list[tuple[str, str]]) -> str:
    """For the table: ``answered`` if all were and nothing was flagged."""
    if flags:
        return f"flagged {flags[0][1]}"
    return "answered" if set(verdicts) == {"answered"} else "+".join(sorted(verdicts))
