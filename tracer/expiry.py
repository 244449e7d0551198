# SPDX-License-Identifier: Apache-2.0
"""Deferred requests whose end cannot be seen: when to give up on them.

The tracepoint engine sees the late reply, but not that the proxy queue's timer let a
request go without one. After proxy_delay, and a second for a late timer, there is none.
"""

from __future__ import annotations

import heapq
from pathlib import Path

from tracer.events import Request

NEIGH_SYSCTLS = Path("/proc/sys/net/ipv4/neigh")
_GRACE_NS = 1_000_000_000
_USER_HZ = 100  # proxy_delay is in 1/100 s: net/core/neighbour.c, NEIGH_SYSCTL_USERHZ_*
_UNREADABLE_NS = 10_000_000_000  # e.g. the interface is in another network namespace


def proxy_delay_ns(interface: str) -> int:
    """The longest that a proxied reply may be held back, ns (in our own netns)."""
    try:
        text = (NEIGH_SYSCTLS / interface / "proxy_delay").read_text()
        return int(text) * 1_000_000_000 // _USER_HZ
    except (OSError, ValueError):
        return _UNREADABLE_NS


class Expiry:
    """Remembers deferred requests until they are due. Times: CLOCK_MONOTONIC, ns."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, int, Request]] = []
        self._number = 0

    def add(self, request: Request, came: int) -> None:
        due = came + proxy_delay_ns(request.interface) + _GRACE_NS
        self._number += 1  # requests do not compare
        heapq.heappush(self._waiting, (due, self._number, came, request))

    def next_due(self) -> int | None:
        """When the next one is due; None when none waits."""
        return self._waiting[0][0] if self._waiting else None

    def due(self, now: int) -> list[tuple[int, Request]]:
        """Those whose time is over at ``now``, and when they came; they are forgotten."""
        over = []
        while self._waiting and self._waiting[0][0] <= now:
            _, _, came, request = heapq.heappop(self._waiting)
            over.append((came, request))
        return over
