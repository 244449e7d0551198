# SPDX-License-Identifier: Apache-2.0
"""What the pure state is fed: decoded events, in the order they were read.

Every ``ts`` is an integer: nanoseconds since the Unix epoch, UTC. A recording is a
stream of exactly these events, so a replay sees what the live run saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

GATEWAY = "169.254.1.1"
"""Calico's gateway of every pod."""

Evidence = Mapping[str, str | int | bool | None]


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
    was reported as deferred before; it is not a new request.
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
    evidence: Evidence = field(default_factory=dict)


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
    """``count`` events that the kernel side could not hand over since the last Lost."""

    ts: int
    count: int


@dataclass(frozen=True, slots=True)
class InterfaceCount:
    """The kernel's own count for one interface: never loses, even when events do.

    ``deferred`` counts requests that are still queued, ``deferrals`` all that ever were.
    The ``last_unanswered_*``
    fields describe the newest unanswered request (ts 0: there was none).
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


@dataclass(frozen=True, slots=True)
class Counters:
    """A snapshot of the kernel's counts, read after events were lost and at the end."""

    ts: int
    interfaces: tuple[InterfaceCount, ...]


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """An interface that matches the globs exists (at start, new, or otherwise than before).

    ``blind``: why no request can be seen on it now: ``down``, ``no carrier``, ``native
    XDP``, or the master that takes its packets, such as ``bridge br0``.
    """

    ts: int
    netns: int
    ifindex: int
    interface: str
    blind: str | None = None


@dataclass(frozen=True, slots=True)
class LinkGone:
    """An interface was removed, renamed out of the globs or moved to another netns."""

    ts: int
    netns: int
    ifindex: int
    interface: str


@dataclass(frozen=True, slots=True)
class CauseFound:
    """The answer to a :class:`tracer.notices.Investigate`."""

    ts: int
    netns: int
    ifindex: int
    target_ip: str
    reason: str
    confidence: str  # "observed" or "inferred"
    remedy: str
    evidence: Evidence = field(default_factory=dict)


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
    | Tick
    | Stopped
)
