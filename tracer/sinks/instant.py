# SPDX-License-Identifier: Apache-2.0
"""Nanoseconds since the epoch as text, for one line after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

_SECOND: Final = 1_000_000_000


def rfc3339() -> Callable[[int], str]:
    """A function that gives ``2026-11-23T09:04:01.123456789Z``: UTC, nanoseconds."""
    # Most lines of a busy run share their second, and strftime costs more than the rest.
    date = lru_cache(1)(lambda second: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))

    def text(ts: int) -> str:
        second, rest = divmod(ts, _SECOND)
        return f"{date(second)}.{rest:09d}Z"

    return text


def clock_time() -> Callable[[int], str]:
    """A function that gives ``09:04:01.123``: local time as tcpdump shows it, cut to ms."""
    clock = lru_cache(1)(lambda second: time.strftime("%H:%M:%S", time.localtime(second)))

    def text(ts: int) -> str:
        second, rest = divmod(ts, _SECOND)
        return f"{clock(second)}.{rest // 1_000_000:03d}"

    return text


def latency(ns: int) -> str:
    """A short time in at most five characters up to hours: 870ns, 3.4us, 312ms, 1.5s."""
    if ns < 1000:
        return f"{ns}ns"
    value = float(ns)
    for unit in ("us", "ms", "s"):
        value /= 1000
        if value < 9.95:
            return f"{value:.1f}{unit}"
        if value < 999.5:
            return f"{value:.0f}{unit}"
    return f"{value:.0f}s"


def duration(seconds: float) -> str:
    """A longer time: 12.3s, 2m03s, 1h02m, 3d04h; the last part is cut, not rounded."""
    if seconds < 60:
        return f"{int(seconds * 10) / 10:.1f}s"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02d}h"
    if hours:
        return f"{hours}h{minute:02d}m"
    return f"{minutes}m{second:02d}s"
