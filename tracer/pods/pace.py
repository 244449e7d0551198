# SPDX-License-Identifier: Apache-2.0
"""How often the API server may be asked. Thousands of nodes ask the same one."""

from __future__ import annotations

from collections.abc import Callable

LIST_EVERY_S = 60.0
_FIRST_S = 1.0
_LONGEST_S = 60.0


class ListGate:
    """Never more than one list a minute, whatever became of it.

    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._last: float | None = None

    def wait_s(self, now: float) -> float:
        """How long until the next list may be asked for."""
        return 0.0 if self._last is None else max(0.0, self._last + LIST_EVERY_S - now)

    def asked(self, now: float) -> None:
        """A list may have reached the server, or is about to."""
        self._last = now


class Backoff:
    """Waits that double from 1 s to 60 s, each shortened by chance to as little as a half."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self.failures = 0

    def reset(self) -> None:
        self.failures = 0

    def next_s(self) -> float:
        wait = min(_LONGEST_S, _FIRST_S * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return wait * (1 - self._chance() / 2)
