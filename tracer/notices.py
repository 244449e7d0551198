# SPDX-License-Identifier: Apache-2.0
"""What the pure state says: notices for the sinks, and orders for the runner.

Field names are those of the JSON lines (see docs/json.md); every ``ts`` and ``since``
is nanoseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracer.events import Verdict
from tracer.evidence import Evidence
from tracer.seen import Seen


@dataclass(frozen=True, slots=True)
class StartNotice:
    ts: int
    version: str
    engine: str
    kernel: str
    interfaces: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequestNotice:
    """One judged request. ``settled``: it was reported before, as deferred, as unanswered
    (``corrects``), or (``answers`` 2) as answered; it is no new one.

    ``answered_by`` is None unless answered; ``answers``: so many came from different addresses.
    """

    ts: int
    interface: str
    ifindex: int
    netns: int
    sender_ip: str
    sender_mac: str
    target_ip: str
    verdict: Verdict
    reason: str | None
    confidence: str | None
    latency_ns: int | None
    seen: Seen
    settled: bool
    answered_by: str | None = None
    answers: int = 1
    corrects: bool = False


@dataclass(frozen=True, slots=True)
class FlagNotice:
    """``state`` is "raised" or "cleared"; ``since`` is the first unanswered request.

    ``remedy_kind`` is "command" or "advice". ``sender_ip`` is who asks, "" for a link on
    which no request can be seen. ``before_trace``: it was so when tracing began, since when
    is not known.
    """

    ts: int
    state: str
    interface: str
    ifindex: int
    netns: int
    target_ip: str
    reason: str
    confidence: str
    since: int
    unanswered: int
    remedy: str
    evidence: Evidence
    remedy_kind: str = "advice"
    sender_ip: str = ""
    before_trace: bool = False


@dataclass(frozen=True, slots=True)
class NeighbourNotice:
    ts: int
    interface: str
    ifindex: int
    netns: int
    ip: str
    old_state: str | None
    new_state: str
    mac: str | None


@dataclass(frozen=True, slots=True)
class LostNotice:
    """Since the last one: events lost, and runs of our programs that the kernel skipped."""

    ts: int
    count: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class StopNotice:
    """requests = answered + unanswered + deferred + ignored, always: by the last verdict."""

    ts: int
    duration_s: float
    requests: int
    answered: int
    unanswered: int
    deferred: int
    ignored: int
    flags_raised: int
    lost: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Investigate:
    """An order, not a line: find the cause, off the event path, and feed CauseFound."""

    ts: int
    netns: int
    ifindex: int
    interface: str
    sender_ip: str
    target_ip: str
    seen: Seen


@dataclass(frozen=True, slots=True)
class Remark:
    """No line of the trace: a word to whoever runs it, on standard error."""

    ts: int
    interface: str
    text: str


Line = StartNotice | RequestNotice | FlagNotice | NeighbourNotice | LostNotice | StopNotice
Notice = Line | Investigate | Remark
