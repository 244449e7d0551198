# SPDX-License-Identifier: Apache-2.0
"""When flags are looked at anew because something of the node has changed."""

from __future__ import annotations

from tracer.state.incident import SECOND, Incident
from tracer.state.interface import Interface

SETTLE_NS = SECOND // 20
"""After a change of the node so long is waited for the rest of it: changes come in bursts."""
REST_NS = SECOND // 200
"""Rest between looks, for each flag that is up: a look takes a millisecond."""


class Rechecks:
    """Incidents whose reason a change has put in doubt, to be looked at all at ``due``."""

    def __init__(self) -> None:
        self.due: int | None = None
        self._changed: dict[Incident, Interface] = {}
        self._last_ts = 0

    def add(self, interface: Interface, incident: Incident) -> None:
        self._changed[incident] = interface

    def set(self, ts: int) -> None:
        if self._changed and self.due is None:
            self.due = max(ts + SETTLE_NS, self._last_ts + REST_NS * len(self._changed))

    def take(self, ts: int) -> list[tuple[Interface, Incident]]:
        """Those that are still there, in doubt, and not being looked at."""
        changed, self._changed = self._changed, {}
        self.due, self._last_ts = None, ts
        return [
            (interface, incident)
            for incident, interface in changed.items()
            if interface.incidents.get((incident.target_ip, incident.sender_ip)) is incident
            and incident.doubted_ts >= 0
            and not incident.is_looked_at(ts)
        ]

    def clear(self) -> None:
        self._changed.clear()
        self.due = None
