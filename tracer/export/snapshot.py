# SPDX-License-Identifier: Apache-2.0
"""The state at one moment, for threads that answer HTTP requests."""

from __future__ import annotations

from dataclasses import dataclass

from tracer.events import Started
from tracer.state import HistogramView, InterfaceView, State, Totals


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Frozen copies, consistent with each other. ``ts``: ns since the Unix epoch."""

    ts: int
    started: Started
    totals: Totals
    latency: HistogramView
    interfaces: tuple[InterfaceView, ...]

    @classmethod
    def of(cls, state: State, started: Started, ts: int) -> Snapshot:
        """Must not run while the state is being fed: see Live.lock."""
        return cls(ts, started, state.totals(), state.latency(), state.interfaces())
