# SPDX-License-Identifier: Apache-2.0
"""Looks again and again, when the kernel tells of changes, and tells of what changed."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence

from tracer.diagnose.diagnosis import Diagnosis, Found
from tracer.node.changes import Changes
from tracer.output import Output
from tracer.stop import StopSignals

# Changes come in bursts: a pod is a dozen of them.
_SETTLE_S = 0.2
# A node on which something changes all the time is looked at a fifth of the time at most.
_REST = 4
# Of some sysctls the kernel tells nothing.
_ANYHOW_S = 10.0

Tell = Callable[[Diagnosis, int, Sequence[Found], Sequence[str]], None]


def watch(
    before: Diagnosis,
    look: Callable[[], Diagnosis],
    tell: Tell,
    output: Output,
    stop: StopSignals,
) -> None:
    """Until a signal, or until nobody reads any more. Raises OSError, OutputError."""
    changes = Changes(neighbours=True)
    poll = select.poll()
    poll.register(stop.fileno(), select.POLLIN)
    poll.register(output.fileno(), 0)
    for fileno in changes.filenos():
        poll.register(fileno, select.POLLIN)
    took_s = 0.0
    patience_s = 0.0  # What changed since the first look was told to nobody.
    try:
        while not stop.received:
            poll.poll(patience_s * 1000)
            patience_s = _ANYHOW_S
            if output.closed_by_reader():
                return
            if _wait(stop, max(_SETTLE_S, _REST * took_s)):
                return
            changes.forget()
            begun = time.monotonic()
            now = look()
            took_s = time.monotonic() - begun
            changed, gone = difference(before, now)
            if changed or gone:
                tell(now, time.time_ns(), changed, gone)
                output.flush()
            before = now
    finally:
        changes.close()


def difference(before: Diagnosis, now: Diagnosis) -> tuple[list[Found], list[str]]:
    """The interfaces that are judged otherwise than before, and the names that are gone.

    Evidence may differ without a change of judgement: that is passed over.
    """
    known = {each.interface: _judgement(each) for each in before.interfaces}
    there = {each.interface for each in now.interfaces}
    changed = [each for each in now.interfaces if known.get(each.interface) != _judgement(each)]
    return changed, [each for each in known if each not in there]


def _judgement(found: Found) -> object:
    problems = tuple((each.reason, each.because, each.remedy) for each in found.problems)
    return found.ifindex, found.conditions, problems, found.warnings, found.unread


def _wait(stop: StopSignals, seconds: float) -> bool:
    """Whether the run is to end meanwhile."""
    return bool(select.select([stop.fileno()], [], [], seconds)[0])
