# SPDX-License-Identifier: Apache-2.0
"""Lines for a descriptor whose reader may be slow, stuck or gone: nobody waits for it."""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable

_MOST_WAITING = 1000
_END_S = 0.5


class Lines:
    """Writes on a thread of its own; what cannot be written is dropped, and ``say`` told.

    ``name``: of the descriptor, as a reader knows it. ``fd`` None: it was closed before we
    were started, and is perhaps another file of ours by now.
    """

    def __init__(self, fd: int | None, name: str, say: Callable[[str], object]) -> None:
        self._fd = fd
        self._name = name
        self._say = say
        self._waiting: queue.Queue[str | None] = queue.Queue(_MOST_WAITING)
        self._blocked = False
        if fd is None:
            say(f"arpwhy: {name} is closed")
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Never blocks, and never fails."""
        if not text:
            return
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            if not self._blocked:
                self._blocked = True
                self._say(f"arpwhy: {self._name} is blocked: lines are dropped")

    def close(self) -> None:
        """Writes what waits, if that takes no longer than half a second."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_END_S)

    def _run(self) -> None:
        gone = self._fd is None
        while (text := self._waiting.get()) is not None:
            if self._waiting.empty():
                self._blocked = False
            if gone:
                continue
            try:
                self._deliver(text.encode("utf-8", "backslashreplace"))
            except OSError as error:
                gone = True
                self._say(f"arpwhy: cannot write to {self._name}: {error.strerror}")

    def _deliver(self, data: bytes) -> None:
        assert self._fd is not None
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # somebody has made it so
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
