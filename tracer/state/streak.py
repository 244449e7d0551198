# SPDX-License-Identifier: Apache-2.0
"""A pod that is answered again and again, and asks on: it does not take the replies."""

from __future__ import annotations

SECOND = 1_000_000_000
IN_A_ROW = 3
STREAK_NS = 5 * SECOND
"""So many answers within this time: did the pod take the last one? It is looked into."""
FIRST_WAIT_NS = SECOND
LONGEST_WAIT_NS = 60 * SECOND
"""While it asks on, the next looks are after 1 s, 2, 4, ... 60 s."""


class Streak:
    """The answers to one sender for one target, the newest at ``newest_ts``.

    ``count`` of them came without a pause of 5 s, the first at ``since``.
    """

    __slots__ = ("_last", "_looked_ts", "_wait_ns", "count", "newest_ts", "since")

    def __init__(self, ts: int) -> None:
        self._begin(ts)

    def _begin(self, ts: int) -> None:
        self.count = 1
        self.since = self.newest_ts = ts
        self._last: tuple[int, ...] = (ts,)
        self._looked_ts = -1
        self._wait_ns = FIRST_WAIT_NS

    def answered(self, ts: int) -> bool:
        """One more answer. Is it the third in a row within 5 s, or a later one?"""
        if ts - self.newest_ts > STREAK_NS:
            self._begin(ts)
            return False
        self._last = last = (*self._last[1 - IN_A_ROW :], ts)
        self.count += 1
        self.newest_ts = max(ts, self.newest_ts)
        return len(last) == IN_A_ROW and ts - last[0] <= STREAK_NS

    def look_due(self, ts: int) -> bool:
        """Is a look into the pod due? If so, the wait for the next one doubles."""
        if self._looked_ts >= 0:
            if ts - self._looked_ts < self._wait_ns:
                return False
            self._wait_ns = min(2 * self._wait_ns, LONGEST_WAIT_NS)
        self._looked_ts = ts
        return True
