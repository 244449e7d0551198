# SPDX-License-Identifier: Apache-2.0
"""SIGINT, SIGTERM and SIGHUP as a readable descriptor."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While entered, these signals make ``fileno()`` readable, and do nothing else.

    It stays readable. A second signal ends the process at once.
    """

    def __enter__(self) -> StopSignals:
        self._read_fd, self._write_fd = os.pipe()
        self.received = False
        self._before = {each: signal.signal(each, self._on_signal) for each in _SIGNALS}
        return self

    def fileno(self) -> int:
        return self._read_fd

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        os.write(self._write_fd, b"\0")
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        os.close(self._read_fd)
        os.close(self._write_fd)
