# SPDX-License-Identifier: Apache-2.0
"""Reading a tracer that several tests share: exact, although others' lines are among it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab import Lab, Pod, Unavailable
from lab.tracer import Line, Tracer


def emulated() -> bool:
    """Whether this is an emulated machine, whose times tell nothing (QEMU's TCG)."""
    return "ARPWHY_EMULATED" in os.environ or "QEMU TCG" in Path("/proc/cpuinfo").read_text()


FLAG_LIMIT_S = 2.0 if emulated() else 0.1
END_LIMIT_S = 10.0 if emulated() else 3.0


def kernel() -> tuple[int, int]:
    """The running kernel's version."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int(minor.split("-")[0])


@contextmanager
def broken(lab: Lab, fault: str, pod: Pod | None = None) -> Iterator[None]:
    """``lab.broken``, skipping the test where this machine cannot break it."""
    try:
        lab.break_(fault, pod)
    except Unavailable as error:
        pytest.skip(f"{fault}: {error}")
    try:
        yield
    finally:
        if pod is None or pod in lab.pods:
            lab.mend(fault, pod)


def barrier(tracer: Tracer) -> None:
    """All that happened until now has been printed.

    The lab's first pod asks once more; events come out in the order in which requests
    were settled, so what is not printed before that request's line is never printed.
    """
    sentinel = tracer.netns.lab.pods[0]  # type: ignore[attr-defined]
    before = len(tracer.requests(sentinel.interface, settled=False))
    assert sentinel.ask(1, settle=0.0).sent == 1
    tracer.wait_for_count(before + 1, lambda line: is_new(line, sentinel.interface))


def is_new(line: Line, interface: str) -> bool:
    """A request's first line on this interface."""
    return line["type"] == "request" and line["interface"] == interface and not line["settled"]


class Watch:
    """The lines of a tracer about one pod's interface, from now on."""

    def __init__(self, tracer: Tracer, pod: Pod) -> None:
        self.tracer = tracer
        self.pod = pod
        self.interface = pod.interface
        self._mark = len(tracer.lines)

    def lines(self, kind: str, **fields: Any) -> list[Line]:
        """Those that came since, of this type and with these fields."""
        ours = self.tracer.of_type(kind, interface=self.interface, **fields)
        older = {id(line) for line in self.tracer.lines[: self._mark]}
        return [line for line in ours if id(line) not in older]

    def judged(self, count: int, timeout: float = 10.0) -> list[Line]:
        """The first lines of exactly ``count`` requests: no less, and no more."""
        self._wait(count, "request", timeout, settled=False)
        barrier(self.tracer)
        found = self.lines("request", settled=False)
        assert len(found) == count, Counter(line["verdict"] for line in found)
        return found

    def verdicts(self, count: int) -> Counter[str]:
        """How many of exactly ``count`` requests got which verdict at once."""
        return Counter(line["verdict"] for line in self.judged(count))

    def settled(self, count: int, timeout: float = 10.0) -> list[Line]:
        """The second lines of exactly ``count`` requests that had been deferred."""
        self._wait(count, "request", timeout, settled=True)
        barrier(self.tracer)
        found = self.lines("request", settled=True)
        assert len(found) == count, Counter(line["verdict"] for line in found)
        return found

    def flag(self, state: str, count: int = 1, timeout: float = 10.0) -> Line:
        """The ``count``-th flag line of this state."""
        self._wait(count, "flag", timeout, state=state)
        return self.lines("flag", state=state)[count - 1]

    def flags(self) -> list[tuple[str, str]]:
        """State and reason of every flag line so far, in order."""
        barrier(self.tracer)
        return [(line["state"], line["reason"]) for line in self.lines("flag")]

    def neighbour(self, timeout: float = 10.0, **fields: Any) -> Line:
        """The first neighbour line with these fields."""
        self._wait(1, "neighbour", timeout, **fields)
        return self.lines("neighbour", **fields)[0]

    def _wait(self, count: int, kind: str, timeout: float, **fields: Any) -> None:
        wanted = {"type": kind, "interface": self.interface, **fields}
        older = {id(line) for line in self.tracer.lines[: self._mark]}
        self.tracer.wait_for_count(
            count,
            lambda line: (
                id(line) not in older
                and all(line.get(key) == value for key, value in wanted.items())
            ),
            timeout,
        )
