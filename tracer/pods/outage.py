# SPDX-License-Identifier: Apache-2.0
"""One line when names fail, one when they are back; not one an event."""

from __future__ import annotations

from collections.abc import Callable

_QUIET_S = 60.0


class Outages:
    """Says what is worth a line. ``say`` takes it; times are monotonic seconds.

    A server that comes and goes is told of once a minute at most.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._failing = False
        self._last: float | None = None

    def failed(self, why: str, now: float) -> None:
        if self._failing or (self._last is not None and now - self._last < _QUIET_S):
            return
        self._failing, self._last = True, now
        self._say(f"arpwhy: no news of pods' names: {why}; trying again, tracing goes on")

    def works(self) -> None:
        if self._failing:
            self._failing = False
            self._say("arpwhy: pods' names are up to date again")
