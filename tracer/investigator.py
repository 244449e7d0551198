# SPDX-License-Identifier: Apache-2.0
"""Looks for causes on a thread of its own, so that a slow look never delays an event."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from tracer.events import CauseFound
from tracer.notices import Investigate


class Investigator:
    """Orders in, answers out. ``investigate`` runs on the thread, one order at a time.

    ``fileno()`` is readable while answers wait.
    """

    def __init__(self, prepare: Callable[[], Callable[[Investigate], CauseFound]]) -> None:
        self._prepare = prepare
        self._orders: SimpleQueue[Investigate | None] = SimpleQueue()
        self._answers: deque[CauseFound] = deque()
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        # A daemon: a look that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="investigator", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._read_fd

    def order(self, order: Investigate) -> None:
        self._orders.put(order)

    def answers(self) -> list[CauseFound]:
        """The answers that have come since the last call."""
        try:
            os.read(self._read_fd, 4096)
        except BlockingIOError:
            return []
        answers = []
        while self._answers:
            answers.append(self._answers.popleft())
        return answers

    def _run(self) -> None:
        investigate = self._prepare()
        while (order := self._orders.get()) is not None:
            self._answers.append(_safely(investigate, order))
            with contextlib.suppress(BlockingIOError):  # it is full of wake-ups already
                os.write(self._write_fd, b"\0")

    def close(self, patience_s: float = 0.5) -> None:
        self._orders.put(None)
        self._thread.join(patience_s)


def _safely(investigate: Callable[[Investigate], CauseFound], order: Investigate) -> CauseFound:
    """An error of ours must not end the thread, nor be passed over in silence."""
    try:
        return investigate(order)
    except Exception as error:
        return CauseFound(
            ts=time.time_ns(),
            netns=order.netns,
            ifindex=order.ifindex,
            target_ip=order.target_ip,
            reason="unknown",
            confidence="inferred",
            remedy="The look for the cause failed: please report it as a fault of arpwhy.",
            seen=order.seen,
            sender_ip=order.sender_ip,
            asked_ts=order.ts,
            read={"error": f"{type(error).__name__}: {error}"},
        )
