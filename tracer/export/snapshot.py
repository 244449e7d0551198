# SPDX-License-Identifier: Apache-2.0
"""The state at one moment, for threads that answer HTTP requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracer.events import Started
from tracer.state import CountedView, HistogramView, InterfaceView, State, Totals


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Frozen copies, consistent with each other. ``ts``: ns since the Unix epoch."""

    ts: int
    started: Started
    totals: Totals
    latency: HistogramView
    interfaces: tuple[InterfaceView, ...]
    counted: Mapping[str, CountedView]  # by name, for counters that must not fall

    @classmethod
    def of(cls, state: State, started: Started, ts: int) -> Snapshot:
        """Must not run while the state is being fed: see Live.lock."""
        return cls(
            ts, started, state.totals(), state.latency(), state.interfaces(), state.counted()
        )
