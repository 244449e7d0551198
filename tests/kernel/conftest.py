# SPDX-License-Identifier: Apache-2.0
"""Engines under test, labs and tracers that tests share, and that nothing of ours stays.

``ARPWHY_TEST_ENGINES`` (names, space separated) says which engines must run here: one of
them that cannot is a failure. Without it all are tried once, and the tests have those that
can; ``test_engines.py`` skips, for each of the others, with its own reason.
"""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import time
from collections.abc import Iterator

import pytest
from kernel_objects import namespaces, programs_left
from lab import Lab, Pod, missing
from lab.tracer import Tracer, command
from watching import Watch

NAMED = os.environ.get("ARPWHY_TEST_ENGINES", "").split()
NAMES = ("fentry", "kprobe", "tracepoint")
LACK = missing()
_numbers = itertools.count(1)


@functools.cache
def why_not(engine: str) -> str | None:
    """The engine's own line on why it cannot run here; None if it can (really tried)."""
    done = subprocess.run(
        [*command(), "trace", "--engine", engine, "--duration", "0.1", "-i", "nosuch*"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return None if done.returncode == 0 else done.stderr.strip()


@functools.cache
def engines() -> list[str]:
    """The engines under test."""
    if NAMED:
        return NAMED
    return [name for name in NAMES if LACK is not None or why_not(name) is None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", engines(), indirect=True, scope="module")


@pytest.fixture(scope="session")
def root() -> None:
    """These tests need what a lab needs."""
    if LACK is not None:
        pytest.skip(f"the lab needs {LACK}")


@pytest.fixture(scope="session", autouse=True)
def nothing_stays() -> Iterator[None]:
    """No namespace, BPF program or link of this session outlives it."""
    if LACK is not None:
        yield
        return
    named, loaded = namespaces(), programs_left()
    yield
    mine = {name for name in namespaces() - named if f"{os.getpid()}" in name}
    assert not mine, f"namespaces that stay: {sorted(mine)}"
    deadline = time.monotonic() + 5.0
    while (left := programs_left() - loaded) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, f"BPF programs that stay: {sorted(left)}"


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, root: None) -> str:
    """Each engine under test in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def lab(root: None) -> Iterator[Lab]:
    """A node with one pod, which nobody breaks: see :class:`watching.Watch`."""
    with Lab(f"k{os.getpid()}", pods=0) as lab:
        lab.add_pod(unique("sentinel"))
        yield lab


@pytest.fixture
def pod(lab: Lab) -> Iterator[Pod]:
    """A pod of this test's own: its lines are told from others' by its interface."""
    pod = lab.add_pod(unique("pod"))
    yield pod
    if pod in lab.pods:
        pod.delete()


@pytest.fixture(scope="module")
def tracer(lab: Lab, engine: str) -> Iterator[Tracer]:
    """One tracer with the default options for a module's tests; at its end it adds up."""
    with Tracer(lab.node, engine) as tracer:
        yield tracer
        adds_up(tracer)


@pytest.fixture
def watch(tracer: Tracer, pod: Pod) -> Watch:
    """The shared tracer's lines about this test's pod."""
    return Watch(tracer, pod)


def unique(prefix: str) -> str:
    """A pod's name that nobody else on this machine uses: its interface is made of it."""
    return f"{prefix}{os.getpid()}n{next(_numbers)}"


def adds_up(tracer: Tracer) -> None:
    """Ends the tracer: exit 0, no traceback, and its summary is the sum of its lines."""
    code, stop = tracer.stop()
    assert code == 0, tracer.stderr
    assert "Traceback" not in "\n".join(tracer.stderr)
    assert stop is not None
    new, late = tracer.requests(settled=False), tracer.requests(settled=True)
    verdicts = [line["verdict"] for line in (*new, *late)]
    assert stop["lost"] == 0
    assert {
        "requests": stop["requests"],
        "answered": stop["answered"],
        "unanswered": stop["unanswered"],
        "deferred": stop["deferred"],
        "ignored": stop["ignored"],
        "flags_raised": stop["flags_raised"],
    } == {
        "requests": len(new),
        "answered": verdicts.count("answered"),
        "unanswered": verdicts.count("unanswered"),
        "deferred": verdicts.count("deferred") - len(late),
        "ignored": verdicts.count("ignored"),
        "flags_raised": len(tracer.flags(state="raised")),
    }
