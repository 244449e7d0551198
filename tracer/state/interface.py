# SPDX-License-Identifier: Apache-2.0
"""One live interface: its counts, reply latency, neighbour table and incidents."""

from __future__ import annotations

from tracer.state.histogram import Histogram
from tracer.state.incident import UNKNOWN, Incident
from tracer.state.names import Names
from tracer.state.streak import Streak
from tracer.state.tally import Tally
from tracer.state.views import FlagView, InterfaceView, NeighbourView

MOST_INCIDENTS = 256
"""Per interface. With ``--target any`` a scanning pod could otherwise open one for
every address there is; unanswered requests beyond it are counted, not flagged."""
MOST_STREAKS = 64
"""Per interface: senders and targets whose answers in a row are counted."""


class Interface:
    """``device`` is 0 until the first event tells which net_device it is.

    ``last_answered_ts`` and ``last_unanswered_ts`` are those of events (0: none yet).
    ``name_ts`` is when the name was last seen to be true. ``taken_over_ts`` is when
    this device took the index over from another one whose removal was not yet told
    (-1: it did not). ``blind`` is why no request can be seen on it, since ``blind_since``.
    ``not_pod`` is why it is no pod's link.
    """

    __slots__ = (
        "blind",
        "blind_since",
        "device",
        "ifindex",
        "incidents",
        "last_answered_ts",
        "last_seen_ts",
        "last_unanswered_ts",
        "latency",
        "name",
        "name_ts",
        "names",
        "neighbour_failures",
        "neighbours",
        "netns",
        "not_pod",
        "streaks",
        "taken_over_ts",
        "tally",
    )

    def __init__(
        self, netns: int, ifindex: int, device: int, name: str, ts: int, names: Names
    ) -> None:
        self.netns = netns
        self.ifindex = ifindex
        self.device = device
        self.name = name
        self.name_ts = ts
        self.taken_over_ts = -1
        self.blind: str | None = None
        self.blind_since = 0
        self.not_pod: str | None = None
        self.names = names
        self.tally = Tally(names.bear(name))
        self.latency = Histogram()
        self.last_seen_ts = 0
        self.last_answered_ts = 0
        self.last_unanswered_ts = 0
        self.neighbours: dict[str, tuple[str, str | None]] = {}
        self.neighbour_failures = 0
        # By target and sender.
        self.incidents: dict[tuple[str, str], Incident] = {}
        self.streaks: dict[tuple[str, str], Streak] = {}

    def named(self, name: str, ts: int) -> None:
        """The newest name wins; an event read late may still carry the old one."""
        if name and ts >= self.name_ts:
            if name != self.name:
                self.names.drop(self.name)
                self.tally.counted = self.names.bear(name)
            self.name = name
            self.name_ts = ts

    def asks_on(self, target_ip: str, sender_ip: str, ts: int) -> Streak | None:
        """One more answer: all in a row, if they should have been enough."""
        key = (target_ip, sender_ip)
        streak = self.streaks.get(key)
        if streak is not None:
            return streak if streak.answered(ts) else None
        if len(self.streaks) >= MOST_STREAKS:
            del self.streaks[next(iter(self.streaks))]
        self.streaks[key] = Streak(ts)
        return None

    def flags(self) -> tuple[FlagView, ...]:
        return tuple(
            FlagView(
                netns=self.netns,
                ifindex=self.ifindex,
                interface=self.name,
                target_ip=incident.target_ip,
                reason=incident.reason or UNKNOWN,
                confidence=incident.confidence,
                since=incident.since,
                unanswered=incident.unanswered,
                remedy=incident.remedy,
                evidence=incident.evidence,
                remedy_kind=incident.remedy_kind,
                sender_ip=incident.sender_ip,
                before_trace=incident.before_trace,
            )
            for incident in self.incidents.values()
            if incident.reason is not None
        )

    def view(self) -> InterfaceView:
        return InterfaceView(
            netns=self.netns,
            ifindex=self.ifindex,
            interface=self.name,
            answered=self.tally.answered,
            unanswered=self.tally.still_unanswered,
            deferred=self.tally.deferred,
            ignored=self.tally.ignored,
            latency=self.latency.view(),
            last_seen_ts=self.last_seen_ts,
            neighbours=tuple(
                NeighbourView(ip, state, mac) for ip, (state, mac) in self.neighbours.items()
            ),
            neighbour_failures=self.neighbour_failures,
            flags=self.flags(),
        )
