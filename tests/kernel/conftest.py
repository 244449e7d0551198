# SPDX-License-Identifier: Apache-2.0
"""A lab with a running trace, for each engine that this kernel can run.

ARPWHY_TEST_ENGINES names the engines that must run here; without it all are tried.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from lab import Lab
from lab.pod import Pod
from lab.tracer import Line, Tracer, command

from tracer.kernel.engines.names import NAMES

DEMANDED = os.environ.get("ARPWHY_TEST_ENGINES", "").split()


# QEMU's software emulation is some 20 times slower.
EMULATED = "QEMU TCG" in Path("/proc/cpuinfo").read_text()
PATIENCE_S = 30.0 if EMULATED else 8.0


NUMBERS = itertools.count(1)  # no two pods of a run share an interface name


# The traces' cache is the tests' own.
_CACHE = tempfile.TemporaryDirectory(prefix="arpwhy-cache-")
os.environ["CACHE_DIRECTORY"] = _CACHE.name


def why_not(engine: str) -> str | None:
    """Why the engine cannot run on this machine; None if it can."""
    if os.geteuid() != 0:
        return None  # what needs it skips for want of root
    argv = [*command(), "trace", "--engine", engine, "-i", "nosuch*", "--duration", "0.1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


WHY_NOT = {engine: why_not(engine) for engine in DEMANDED or NAMES}


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and BPF")


@pytest.fixture(scope="session", params=[name for name, why in WHY_NOT.items() if not why])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine that can run here; test_engines.py tells of the others."""
    return str(request.param)


@pytest.fixture(scope="session")
def any_engine() -> str:
    """For what does not depend on the engine: the first that can run."""
    return next(name for name, why in WHY_NOT.items() if not why)


class Bench:
    """A lab, a trace that runs in its node, and waiting for what it says.

    Tests share it; each takes pods of its own, so that lines are told apart by interface.
    """

    def __init__(self, lab: Lab, tracer: Tracer) -> None:
        self.lab = lab
        self.tracer = tracer

    def verdicts(self, pod: Pod, requests: int) -> Counter[str]:
        """Verdicts of the pod's requests, settled ones apart; all of ``requests`` and no more.

        Deferred requests settle in lines of their own, which count among ``requests``.
        """
        self.requests(pod, requests)
        time.sleep(0.2)
        lines = self.tracer.requests(pod.interface)
        return Counter(line["verdict"] + (" late" if line["settled"] else "") for line in lines)

    def requests(self, pod: Pod, count: int) -> list[Line]:
        return self.tracer.wait_for_count(
            count,
            lambda line: line["type"] == "request" and line["interface"] == pod.interface,
            PATIENCE_S,
        )

    def flag(self, pod: Pod, state: str, **fields: str) -> Line:
        """The pod's flag of that state, waited for."""
        wanted = {"type": "flag", "interface": pod.interface, "state": state, **fields}
        return self.tracer.wait_for(lambda line: wanted.items() <= line.items(), PATIENCE_S)

    def flags(self, pod: Pod) -> list[tuple[str, str]]:
        """(state, reason) of the pod's flags so far."""
        return [(line["state"], line["reason"]) for line in self.tracer.flags(pod.interface)]


def stop(tracer: Tracer) -> Line:
    """End it; its totals are those of its lines."""
    code, line = tracer.stop()
    assert code == 0
    assert line is not None
    assert line["lost"] == 0
    parts = ("answered", "unanswered", "deferred", "ignored")
    assert line["requests"] == sum(line[part] for part in parts)
    # What corrects an earlier line is no new request.
    told = [each for each in tracer.requests(settled=False) if not each.get("corrects")]
    assert line["requests"] == len(told)
    return line


@pytest.fixture(scope="session")
def bench(engine: str) -> Iterator[Bench]:
    with Lab("test", pods=0) as lab, Tracer(lab.node, engine=engine) as tracer:
        yield Bench(lab, tracer)
        stop(tracer)


@contextmanager
def every_engine(lab: Lab) -> Iterator[dict[str, Bench]]:
    """Each engine that can run here traces the lab, all at the same time."""
    with ExitStack() as stack:
        benches = {
            name: Bench(lab, stack.enter_context(Tracer(lab.node, engine=name)))
            for name, why in WHY_NOT.items()
            if not why
        }
        assert benches, f"no engine can run here: {WHY_NOT}"
        yield benches
        for bench in benches.values():
            stop(bench.tracer)


@pytest.fixture
def pod(bench: Bench) -> Iterator[Pod]:
    """A healthy pod, of this test alone."""
    made = bench.lab.add_pod(f"p{next(NUMBERS)}")
    yield made
    if made in bench.lab.pods:
        bench.lab.delete_pod(made)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    from results import table  # noqa: PLC0415 - it needs this file first

    lines = list(table())
    if lines:
        terminalreporter.section("causes named")
        terminalreporter.write_line("\n".join(lines))
