# SPDX-License-Identifier: Apache-2.0
"""Counts by interface name: they go on when a pod comes back, and never fall.

A name is what a time series is told by. An interface that is renamed, deleted and made
again, or one of two of its name in different namespaces, must not take its series back.
"""

from __future__ import annotations

from tracer.state.views import CountedView

MOST_PAST = 4096
"""Names that no interface bears any more and whose counts are kept; then the oldest is
forgotten, and would begin at 0."""


class Counted:
    """What was counted while interfaces bore one name; so many (``bearers``) bear it now."""

    __slots__ = ("answered", "bearers", "deferred", "ignored", "neighbour_failures", "unanswered")

    def __init__(self) -> None:
        self.bearers = 0
        self.answered = 0
        self.unanswered = 0
        self.deferred = 0
        self.ignored = 0
        self.neighbour_failures = 0

    def view(self) -> CountedView:
        return CountedView(
            self.answered, self.unanswered, self.deferred, self.ignored, self.neighbour_failures
        )


class Names:
    def __init__(self) -> None:
        self._borne: dict[str, Counted] = {}
        self._past: dict[str, Counted] = {}

    def bear(self, name: str) -> Counted:
        """An interface has this name from now on."""
        counted = self._borne.get(name)
        if counted is None:
            past = self._past.pop(name) if name in self._past else Counted()
            counted = self._borne[name] = past
        counted.bearers += 1
        return counted

    def drop(self, name: str) -> None:
        """An interface that had this name is gone, or has another one."""
        counted = self._borne[name]
        counted.bearers -= 1
        if not counted.bearers:
            self._past[name] = self._borne.pop(name)
            if len(self._past) > MOST_PAST:
                del self._past[next(iter(self._past))]

    def of(self, name: str) -> Counted:
        """For what is counted after the interface has gone."""
        counted = self.bear(name)
        self.drop(name)
        return counted

    def view(self) -> dict[str, CountedView]:
        """Of the names that are borne."""
        return {name: counted.view() for name, counted in self._borne.items()}
