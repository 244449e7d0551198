# SPDX-License-Identifier: Apache-2.0
"""The one way through the house: events into the state, what it says to the sinks.

A live run and a replay differ only in where the events come from.
"""

from __future__ import annotations

from collections.abc import Callable

from tracer.events import Event, Request
from tracer.notices import FlagNotice, Investigate, Line, Remark
from tracer.recording import Writer
from tracer.state import State


class Pipeline:
    """Feeds the state, records what it was fed, and passes on what it says.

    ``remark``: given the text of each. ``count``: after so many new requests no further
    request is taken (None: all are).
    """

    def __init__(
        self,
        emit: Callable[[Line], None],
        *,
        order: Callable[[Investigate], None] | None = None,
        recording: Writer | None = None,
        count: int | None = None,
        remark: Callable[[str], object] | None = None,
    ) -> None:
        self.state = State()
        self.flags_raised = 0
        self._emit = emit
        self._order = order
        self._recording = recording
        self._left = count
        self._remark = remark

    @property
    def full(self) -> bool:
        """Whether ``count`` requests have been judged."""
        return self._left == 0

    def flush(self) -> None:
        """What was recorded so far survives our death."""
        if self._recording is not None:
            self._recording.flush()

    def feed(self, event: Event) -> None:
        new = isinstance(event, Request) and event.is_new
        if self._left is not None and new:
            if self._left == 0:
                return
            self._left -= 1
        if self._recording is not None:
            self._recording.write(event)
        for notice in self.state.feed(event):
            if isinstance(notice, Investigate):
                if self._order is not None:
                    self._order(notice)
                continue
            if isinstance(notice, Remark):
                if self._remark is not None:
                    self._remark(f"arpwhy: {notice.interface}: {notice.text}")
                continue
            if isinstance(notice, FlagNotice) and notice.state == "raised":
                self.flags_raised += 1
            self._emit(notice)
