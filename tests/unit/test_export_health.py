# SPDX-License-Identifier: Apache-2.0
"""Health over time, and lines that nobody waits for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from tracer.events import LinkSeen, Started
from tracer.export.health import STUCK_NS, Health
from tracer.export.lines import Lines
from tracer.export.response import Request, Unready
from tracer.options import Options
from tracer.run import Live
from tracer.state import State

SOON_S = 5.0
STARTED = Started(1, "0.1.0", "fentry", "6.1.0", (), ("169.254.1.1",))


def answer(health: Health) -> tuple[int, str]:
    response = health.respond(Request("GET", "/healthz"))
    return response.status, response.body.decode().strip()


def live() -> Live:
    """One that was not started: a clock, a lock and a field are all that health looks at."""
    return Live(Options(("cali*",), None, None, False, None))


def test_from_the_start_to_the_first_round() -> None:
    health, trace, state = Health(), live(), State()
    state.feed(LinkSeen(1, 1, 7, "cali7"))
    assert answer(health) == (503, "starting")
    with pytest.raises(Unready, match=r"^starting$"):
        health.snapshot()
    trace.last_round_ns = time.monotonic_ns()
    health.begun(trace, state, STARTED)
    assert answer(health) == (200, "ok")
    assert list(health.snapshot().counted) == ["cali7"]


def test_a_loop_that_stands_still_and_goes_on() -> None:
    health, trace = Health(), live()
    health.begun(trace, State(), STARTED)
    trace.last_round_ns = time.monotonic_ns() - STUCK_NS - 1
    assert answer(health) == (503, "no events were read for 5 s")
    with pytest.raises(Unready):
        health.snapshot()
    trace.last_round_ns = time.monotonic_ns()
    assert answer(health) == (200, "ok")


def test_trouble_of_the_kernel_side() -> None:
    health, trace = Health(), live()
    health.begun(trace, State(), STARTED)
    trace.last_round_ns = time.monotonic_ns()
    trace.trouble = "link x is gone"
    assert answer(health) == (503, "link x is gone")
    with pytest.raises(Unready, match=r"^link x is gone$"):
        health.snapshot()


def test_a_snapshot_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.export.health.STUCK_NS", 100_000_000)
    health, trace = Health(), live()
    health.begun(trace, State(), STARTED)
    with trace.lock:
        trace.last_round_ns = time.monotonic_ns()
        with pytest.raises(Unready, match=r"^events are not being read$"):
            health.snapshot()


# -- lines ----------------------------------------------------------------------------------


def wait(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_lines_come_out_in_order() -> None:
    reader, writer = os.pipe()
    lines = Lines(writer, "standard output", print)
    for number in range(5):
        lines.write(f"{number}\n")
    lines.write("")
    lines.write("\udcff\n")
    lines.close()
    assert os.read(reader, 1000) == b"0\n1\n2\n3\n4\n\\udcff\n"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_does_not_read_is_said_once_and_may_read_again(blocking: bool) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    said: list[str] = []
    lines = Lines(writer, "standard output", said.append)
    text = "x" * 999 + "\n"
    began = time.monotonic()
    for _ in range(3000):
        lines.write(text)
    assert time.monotonic() - began < 1
    assert said == ["arpwhy: standard output is blocked: lines are dropped"]
    lines.close()  # there is no room even for the end
    assert time.monotonic() - began < 2
    got = threading.Event()

    def drain() -> None:
        while data := os.read(reader, 65536):
            if b"last" in data:
                got.set()

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    wait(lambda: lines.write("last\n") or got.is_set())
    lines.close()
    os.close(writer)
    thread.join(SOON_S)
    os.close(reader)
    assert len(said) == 1


def test_a_reader_that_is_gone_is_said_once() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    said: list[str] = []
    lines = Lines(writer, "standard output", said.append)
    lines.write("x\n")
    wait(lambda: said)
    lines.write("x\n")
    lines.close()
    assert said == ["arpwhy: cannot write to standard output: Broken pipe"]
    os.close(writer)


def test_one_that_was_closed_from_the_start() -> None:
    said: list[str] = []
    lines = Lines(None, "standard output", said.append)
    lines.write("x\n")
    lines.close()
    assert said == ["arpwhy: standard output is closed"]
