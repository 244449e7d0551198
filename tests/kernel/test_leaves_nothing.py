# SPDX-License-Identifier: Apache-2.0
"""However a trace ends, nothing of it stays: no program, link, filter, qdisc or process."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATIENCE_S
from lab import Lab
from lab.tracer import Tracer, command

pytestmark = pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is missing")

# Linux hands programs and links back after a grace period of RCU.
GONE_S = 5 * PATIENCE_S


def in_kernel() -> set[tuple[str, str, int]]:
    """Programs and links, by kind, type and id: other tests' traces come and go with theirs."""
    return {entry for kind in ("prog", "link") for entry in listed(kind)}


def listed(kind: str) -> list[tuple[str, str, int]]:
    """bpftool fails when a link goes while it lists: once more then."""
    for _ in range(10):
        done = subprocess.run(["bpftool", "-j", kind, "show"], capture_output=True, check=False)
        if done.returncode == 0:
            return [(kind, each["type"], each["id"]) for each in json.loads(done.stdout or b"[]")]
    raise AssertionError(done.stderr or done.stdout)


def traffic_control(lab: Lab) -> str:
    qdiscs = lab.node.run(["tc", "qdisc", "show"]).stdout
    filters = [
        lab.node.run(["tc", "filter", "show", "dev", pod.interface, way]).stdout
        for pod in lab.pods
        for way in ("ingress", "egress")
    ]
    return qdiscs + "".join(filters)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + GONE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_after_a_signal(engine: str, number: int) -> None:
    with Lab("after", pods=1) as lab:
        (pod,) = lab.pods
        before, control = in_kernel(), traffic_control(lab)
        with Tracer(lab.node, engine) as tracer:
            pod.ask(3)
            tracer.wait_for_count(3, lambda line: line["type"] == "request", PATIENCE_S)
            assert in_kernel() - before
            assert traffic_control(lab) == control
            tracer.process.send_signal(number)
            tracer.process.wait(PATIENCE_S)
            wait_until(lambda: not in_kernel() - before, "something stays in the kernel")
        assert traffic_control(lab) == control
        assert pod.ask(3).replies == 3


@pytest.mark.parametrize(
    ("options", "delays_s"), [(("--no-cache",), (0.2, 0.5, 0.8)), ((), (0.1, 0.15, 0.2, 0.25))]
)
def test_killed_while_it_loads(
    engine: str, options: tuple[str, ...], delays_s: tuple[float, ...]
) -> None:
    before = in_kernel()
    for delay_s in delays_s:
        process = subprocess.Popen(
            [*command(), "trace", "--engine", engine, "-i", "nosuch*", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(delay_s)
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(process.pid)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.split()
        process.kill()
        process.wait()
        for child in children:
            wait_until(lambda pid=child: not Path("/proc", pid).exists(), "the loader lives on")
    wait_until(lambda: not in_kernel() - before, "something stays in the kernel")


def test_two_traces_at_once_see_the_same(engine: str) -> None:
    with Lab("twice", pods=1) as lab:
        (pod,) = lab.pods
        with Tracer(lab.node, engine) as one, Tracer(lab.node, engine) as other:
            pod.ask(13)
            for tracer in (one, other):
                tracer.wait_for_count(13, lambda line: line["type"] == "request", PATIENCE_S)
                code, stop = tracer.stop()
                assert (code, stop and stop["answered"]) == (0, 13)
