# SPDX-License-Identifier: Apache-2.0
"""The pure state: events in, notices out. No I/O, no clock of its own."""

from tracer.state.core import State
from tracer.state.views import (
    CountedView,
    FlagView,
    HistogramView,
    InterfaceView,
    NeighbourView,
    Totals,
)

__all__ = [
    "CountedView",
    "FlagView",
    "HistogramView",
    "InterfaceView",
    "NeighbourView",
    "State",
    "Totals",
]
