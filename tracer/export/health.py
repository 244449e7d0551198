# SPDX-License-Identifier: Apache-2.0
"""``/healthz``: is the loop that reads events going round, and is the kernel side there?"""

from __future__ import annotations

import time

from tracer.events import Started
from tracer.export.response import Request, Response, Unready
from tracer.export.snapshot import Snapshot
from tracer.run import Live
from tracer.state import State

STUCK_NS = 5_000_000_000
"""The loop goes round at least once a second; after so long without it is stuck."""


class Health:
    """Of a trace that is about to begin, until :meth:`begun` tells of it."""

    def __init__(self) -> None:
        self._running: tuple[Live, State, Started] | None = None

    def begun(self, live: Live, state: State, started: Started) -> None:
        """After Live.begin()."""
        self._running = live, state, started

    def trouble(self) -> str | None:
        """Why what is exported could not be trusted now, in one line; None if it can."""
        if self._running is None:
            return "starting"
        live = self._running[0]
        still_ns = time.monotonic_ns() - live.last_round_ns
        if still_ns > STUCK_NS:
            return f"no events were read for {still_ns // 1_000_000_000} s"
        return live.trouble

    def snapshot(self) -> Snapshot:
        """The Source of everything that is exported. Raises Unready."""
        if (why := self.trouble()) is not None or self._running is None:
            raise Unready(why)
        live, state, started = self._running
        if not live.lock.acquire(timeout=STUCK_NS / 1e9):
            raise Unready("events are not being read")
        try:
            return Snapshot.of(state, started, time.time_ns())
        finally:
            live.lock.release()

    def respond(self, request: Request) -> Response:
        why = self.trouble()
        return Response.text(200, "ok") if why is None else Response.text(503, why)
