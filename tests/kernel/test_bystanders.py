# SPDX-License-Identifier: Apache-2.0
"""What looks like a fault and is none: every request is answered, and nothing is flagged."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
from conftest import EMULATED, NUMBERS, Bench, every_engine
from lab import Lab
from lab.errors import Unavailable
from lab.faults import FAULTS
from lab.pod import Pod
from results import Result, note, note_unavailable
from scenarios import BYSTANDERS

Benches = Mapping[str, Bench]
ASKED = 53 if EMULATED else 211
ANSWERED_BY = {"answered_by_program": "userspace", "answered_by_bpf": "bpf"}
NOT_YET = {
    "answered_by_program": "a program's first answer corrects: it is no first line",
    "answered_twice": "that two answers came is not said yet",
}
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


@pytest.mark.parametrize(
    "name",
    [
        # Strict: what fails no more fails as such, and its line goes.
        pytest.param(
            name,
            marks=[pytest.mark.xfail(reason=NOT_YET[name], strict=True)] if name in NOT_YET else [],
        )
        for name in BYSTANDERS
    ],
)
def test_a_bystander_is_answered_and_not_flagged(benches: Benches, pod: Pod, name: str) -> None:
    fault, lab = FAULTS[name], pod.lab
    blind = {e for e in benches if e != "tracepoint" and name in SEEN_BY_TRACEPOINT_ALONE}
    seeing = {engine: bench for engine, bench in benches.items() if engine not in blind}
    try:
        fault.break_(lab, pod)
    except Unavailable as lack:
        note_unavailable("answered", name, str(lack))
        pytest.skip(f"{name}: {lack}")
    try:
        tally = pod.ask(ASKED, settle=1.0)
        assert (tally.sent, tally.dropped) == (ASKED, 0)
        assert tally.replies == fault.answers * ASKED
        for bench in seeing.values():
            bench.requests(pod, ASKED)
        time.sleep(2.0 if EMULATED else 0.7)  # what is answered late is corrected by then
    finally:
        fault.mend(lab, pod)
    wrong = {}
    for engine in blind:
        note(Result(engine, "answered", name))
        if said := benches[engine].tracer.requests(pod.interface):
            wrong[engine] = said[:1]
    for engine, bench in seeing.items():
        lines = bench.tracer.requests(pod.interface)
        flags = bench.flags(pod)
        up = [flag for flag in flags if flag != ("raised", "link_down") or not EMULATED]
        newest = lines[-ASKED:]
        # What was called unanswered until a late reply came is said once more, corrected.
        verdicts = Counter(line["verdict"] for line in lines)
        verdicts -= Counter(unanswered=sum(bool(line.get("corrects")) for line in lines))
        note(Result(engine, "answered", name, _named(verdicts, up), "observed"))
        if verdicts != {"answered": ASKED} or up:
            wrong[engine] = (verdicts, flags, bench.tracer.flags(pod.interface)[:1])
        by = Counter(line.get("answered_by") for line in newest if line["verdict"] == "answered")
        if by != {ANSWERED_BY.get(name, "kernel"): ASKED}:
            wrong[f"{engine} answered_by"] = by
        twice = {line.get("answers") for line in newest}
        if fault.answers == 2 and twice != {2}:
            wrong[f"{engine} answers"] = twice
    assert wrong == {}


def _named(verdicts: Counter[str], flags: list[tuple[str, str]]) -> str:
    """For the table: ``answered`` if all were and nothing was flagged."""
    if flags:
        return f"flagged {flags[0][1]}"
    return "answered" if set(verdicts) == {"answered"} else "+".join(sorted(verdicts))
