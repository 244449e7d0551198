# SPDX-License-Identifier: Apache-2.0
"""What the pure state is fed: decoded events, in the order they were read.

Every ``ts`` is an integer: nanoseconds since the Unix epoch, UTC. A recording is a
stream of exactly these events, so a replay sees what the live run saw.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tracer.evidence import Evidence
from tracer.seen import NOTHING_SEEN, Facts, Seen

GATEWAY = "169.254.1.1"
"""Calico's gateway of every pod."""


class Verdict(StrEnum):
    """What the kernel decided about one ARP request."""

    ANSWERED = "answered"
    UNANSWERED = "unanswered"
    DEFERRED = "deferred"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Started:
    """Tracing has begun: every hook is attached."""

    ts: int
    version: str
    engine: str
    kernel: str
    interfaces: tuple[str, ...]
    targets: tuple[str, ...]  # dotted quads, or ("any",)


@dataclass(frozen=True, slots=True)
class Request:
    """A request the kernel has decided about.

    ``device`` is an opaque identity of the kernel's net_device: the same index with
    another device is another interface. ``late`` marks the settling of a request that
    was reported as deferred before; it is not a new request. ``corrects`` marks an answer
    that came after the request was reported as unanswered: it is no new request either.
    ``answered_by`` is ``kernel``, ``userspace`` (a program's packet socket) or ``bpf``,
    None unless answered; ``answers`` is 2 when two answers came from different addresses
    (``seen.other_mac``: the second one's), and ``again`` marks the second answer to a
    request that was reported as answered: no new request.
    """

    ts: int
    netns: int
    ifindex: int
    device: int
    interface: str
    sender_ip: str
    sender_mac: str
    target_ip: str
    verdict: Verdict
    latency_ns: int | None = None
    late: bool = False
    seen: Seen = NOTHING_SEEN
    answered_by: str | None = None
    answers: int = 1
    corrects: bool = False
    again: bool = False

    @property
    def is_new(self) -> bool:
        """Whether this request was not reported before."""
        return not (self.late or self.corrects or self.again)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The node's neighbour entry for ``ip`` on the interface changed its NUD state.

    States are kernel names in lower case (``none`` once the entry is gone);
    ``old_state`` is None when the kernel side had not seen the entry before.
    """

    ts: int
    netns: int
    ifindex: int
    device: int
    interface: str
    ip: str
    old_state: str | None
    new_state: str
    mac: str | None


@dataclass(frozen=True, slots=True)
class Lost:
    """What the kernel side could not hand over, or not see, since the last Lost.

    ``count``: events. ``skipped``: runs of our programs that the kernel left out, because
    another program ran on that CPU (``recursion_misses`` of a program's fdinfo).
    """

    ts: int
    count: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class InterfaceCount:
    """The kernel's own count for one interface: never loses, even when events do.

    ``deferred`` counts requests that are still queued, ``deferrals`` all that ever were.
    The ``last_unanswered_*``
    fields describe the newest unanswered request (ts 0: there was none). ``corrected``
    counts those of ``answered`` that are in ``unanswered`` too: they were answered after
    they had been reported as unanswered.
    """

    netns: int
    ifindex: int
    device: int
    interface: str
    answered: int
    unanswered: int
    deferred: int
    ignored: int
    last_answered_ts: int
    last_unanswered_ts: int
    last_sender_ip: str
    last_target_ip: str
    deferrals: int = 0
    corrected: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """A snapshot of the kernel's counts, read after events were lost and at the end."""

    ts: int
    interfaces: tuple[InterfaceCount, ...]


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """An interface that matches the globs exists (at start, new, or otherwise than before).

    ``blind``: why no request can be seen on it now: ``down``, ``no carrier``, ``native
    XDP``, or the master that takes its packets, such as ``bridge br0``. ``not_pod``: why
    it is no pod's link (an uplink, the loopback): its requests are not judged.
    """

    ts: int
    netns: int
    ifindex: int
    interface: str
    blind: str | None = None
    not_pod: str | None = None


@dataclass(frozen=True, slots=True)
class LinkGone:
    """An interface was removed, renamed out of the globs or moved to another netns."""

    ts: int
    netns: int
    ifindex: int
    interface: str


@dataclass(frozen=True, slots=True)
class CauseFound:
    """The answer to a :class:`tracer.notices.Investigate`, of which ``asked_ts`` is the ts.

    ``configured``: the node's configuration alone shows the reason too. ``reason`` is empty
    if there is none to be told: only of a pod that asks on though it is answered.
    """

    ts: int
    netns: int
    ifindex: int
    target_ip: str
    reason: str
    confidence: str  # "observed" or "inferred"
    remedy: str
    seen: Seen = NOTHING_SEEN
    remedy_kind: str = "advice"  # or "command"
    # Of the Investigate; "" and 0 in recordings before they were told.
    sender_ip: str = ""
    asked_ts: int = 0
    configured: bool = False
    # Recordings before these were told have them in ``seen``: see tracer/recording.py.
    read: Facts = field(default_factory=dict)
    because: str | None = None
    also: tuple[str, ...] = ()

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.seen, self.read, self.because, self.also)


@dataclass(frozen=True, slots=True)
class Unjudged:
    """So many requests came in for a target that was not asked to be judged, so far."""

    ts: int
    interface: str
    target_ip: str
    count: int


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """So many IP frames came in for ``mac``, which is not the interface's, so far.

    A pod whose gateway entry is permanent and wrong never asks.
    """

    ts: int
    interface: str
    mac: str
    count: int


@dataclass(frozen=True, slots=True)
class NodeChanged:
    """Something of the namespace's routes, rules, addresses, links or filters is otherwise.

    Told before the requests that were read after it; of most sysctls nothing is told.
    """

    ts: int
    netns: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; the runner feeds one when State.deadline() is reached."""

    ts: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """Everything is detached and drained."""

    ts: int


Event = (
    Started
    | Request
    | Neighbour
    | Lost
    | Counters
    | LinkSeen
    | LinkGone
    | CauseFound
    | Unjudged
    | Elsewhere
    | NodeChanged
    | Tick
    | Stopped
)
