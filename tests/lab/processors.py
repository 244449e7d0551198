# SPDX-License-Identifier: Apache-2.0
"""Keeps the processors to ourselves for a moment, so that timers interrupt nobody else.

The kernel sends a deferred reply from a timer, which interrupts whatever runs. Where it runs
no BPF program in the time of some process (a sandbox's agent that is hidden from tracing), no
engine sees what a timer sends just then, and no miss is counted: numbers are exact only while
no such process runs. :mod:`lab.late_replies` measures it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

# The kernel ends what spins for longer: the lab may be killed meanwhile.
LONGEST_S = 0.5
_SPIN = "echo; read -r _ && while :; do :; done"


def _spinner(cpu: int) -> subprocess.Popen[bytes]:
    microseconds = round(LONGEST_S * 1e6)
    return subprocess.Popen(
        [
            *("prlimit", f"--rttime={microseconds}:{microseconds}"),
            *("chrt", "-f", "1"),
            *("taskset", "-c", str(cpu)),
            *("sh", "-c", _SPIN),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _is_ready(spinner: subprocess.Popen[bytes]) -> bool:
    assert spinner.stdout is not None
    return spinner.stdout.readline() != b""


def _go(spinner: subprocess.Popen[bytes]) -> None:
    assert spinner.stdin is not None
    os.write(spinner.stdin.fileno(), b"\n")


def _schedule(policy: int, priority: int) -> None:
    # All threads: one that is starved must not be the one that holds the interpreter's lock.
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))


@contextmanager
def held() -> Iterator[None]:
    """Nothing but this process runs, for :data:`LONGEST_S` at most; the kernel's threads wait, too.

    Where real-time scheduling is not to be had, nothing is held.
    """
    with ExitStack() as stack:
        # Last of all: until the spinners have ended, only they and real-time threads run.
        stack.callback(_schedule, os.sched_getscheduler(0), 0)
        spinners = [stack.enter_context(_spinner(cpu)) for cpu in os.sched_getaffinity(0)]
        for spinner in spinners:
            stack.callback(spinner.kill)
        if all(_is_ready(spinner) for spinner in spinners):
            _schedule(os.SCHED_FIFO, 2)
            for spinner in spinners:
                _go(spinner)
        yield
