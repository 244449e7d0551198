# SPDX-License-Identifier: Apache-2.0
"""The grand totals of a run: they keep what interfaces that are gone had counted."""

from __future__ import annotations

from types import MappingProxyType

from tracer.events import GATEWAY
from tracer.state.histogram import Histogram
from tracer.state.incident import UNKNOWN, Incident
from tracer.state.tally import Tally
from tracer.state.views import Totals


class Run:
    """``flag_targets``: for which a link that sees no requests is flagged."""

    __slots__ = (
        "flag_targets",
        "flags_raised",
        "latency",
        "lost",
        "neighbour_transitions",
        "skipped",
        "started_ts",
        "tally",
        "unanswered_by_reason",
        "unattributed",
    )

    def __init__(self) -> None:
        self.started_ts: int | None = None
        self.flag_targets: tuple[str, ...] = (GATEWAY,)
        self.tally = Tally()
        self.latency = Histogram()
        self.lost = 0
        self.skipped = 0
        self.flags_raised = 0
        self.unattributed = 0
        self.unanswered_by_reason: dict[str, int] = {}
        self.neighbour_transitions: dict[str, int] = {}

    def attribute(self, incident: Incident | None, count: int) -> None:
        """Attributes ``count`` unanswered requests: each exactly once, now or when the
        cause of ``incident`` is settled; without an incident they are ``unknown``."""
        if count <= 0:
            return
        if incident is not None and not incident.settled:
            incident.unattributed += count
            self.unattributed += count
            return
        reason = UNKNOWN if incident is None or incident.reason is None else incident.reason
        self._add(reason, count)

    def count_as_unknown(self, incident: Incident) -> None:
        """What waited for the cause of ``incident`` for long enough is ``unknown``."""
        if incident.unattributed:
            self._add(UNKNOWN, incident.unattributed)
            self.unattributed -= incident.unattributed
            incident.unattributed = 0

    def settle(self, incident: Incident) -> None:
        """The cause of ``incident`` is known: what waited for it is counted under it."""
        if incident.unattributed and incident.reason is not None:
            self._add(incident.reason, incident.unattributed)
            self.unattributed -= incident.unattributed
            incident.unattributed = 0

    def entered(self, neighbour_state: str) -> None:
        before = self.neighbour_transitions.get(neighbour_state, 0)
        self.neighbour_transitions[neighbour_state] = before + 1

    def view(self) -> Totals:
        return Totals(
            answered=self.tally.answered,
            unanswered=self.tally.still_unanswered,
            deferred=self.tally.deferred,
            ignored=self.tally.ignored,
            lost=self.lost,
            flags_raised=self.flags_raised,
            unattributed=self.unattributed,
            unanswered_by_reason=MappingProxyType(dict(self.unanswered_by_reason)),
            neighbour_transitions=MappingProxyType(dict(self.neighbour_transitions)),
            corrected=self.tally.corrected,
            skipped=self.skipped,
        )

    def _add(self, reason: str, count: int) -> None:
        self.unanswered_by_reason[reason] = self.unanswered_by_reason.get(reason, 0) + count
