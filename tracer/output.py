# SPDX-License-Identifier: Apache-2.0
"""Standard output that never gets stuck: a reader may be slow, stop reading or go away."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from contextlib import suppress
from typing import NoReturn

# A pipe or terminal takes this much at once when poll() says it is writable: a free slot
# of a pipe is a page (fs/pipe.c, pipe_poll() and pipe_write()), and a write of at most
# PIPE_BUF is not mixed with another writer's.
_CHUNK = select.PIPE_BUF
_FILE_CHUNK = 1 << 18
_FLUSH_BYTES = 1 << 16
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL
_RETRY_S = 0.01

_CLOSED = "the reader of standard output is gone"
_REFUSED = "cannot write to standard output"


class OutputError(Exception):
    """Nothing more can be written; what was not yet delivered is dropped."""


class OutputClosed(OutputError):  # noqa: N818 - a state, and the usual end of `| head`
    """The reader is gone."""


class OutputBlocked(OutputError):  # noqa: N818 - a state
    """The run was asked to stop while the reader was not reading."""


class OutputFailed(OutputError):  # noqa: N818 - a state
    """The operating system refused, e.g. a full disk; the text is one line for the user."""


class Output:
    """Text for a file descriptor: a pipe, socket, terminal or file, which its owner closes.

    ``stop_fd`` becomes readable when the run is to end (the runner's signal wake-up
    descriptor) and is not read here. It must stay readable while the last lines are
    written: as long as it is, a reader that does not read costs ``grace_s`` seconds in
    all, and then OutputBlocked is raised.

    A run that waits for events should end when its reader goes away, not at the next
    line: register ``fileno()`` in the run's poll() with an event mask of 0; when poll()
    returns it, closed_by_reader() tells. (Use poll(): epoll refuses regular files.)

    Once one of the OutputErrors was raised, everything written is dropped silently.
    """

    def __init__(self, fd: int, stop_fd: int, *, grace_s: float = 0.2) -> None:
        self._buffer = bytearray()
        self._over = False
        self._grace_s = grace_s
        self._deadline: float | None = None
        self._stop_fd = stop_fd
        self._own_fd: int | None = None
        try:
            mode = os.fstat(fd).st_mode
        except OSError as error:
            raise OutputFailed(f"{_REFUSED}: {_why(error)}") from error
        self._chunk = _FILE_CHUNK if stat.S_ISREG(mode) else _CHUNK
        self._terminal = os.isatty(fd)
        if self._terminal:
            # A terminal says writable when it has room for one byte, and then blocks
            # (n_tty_write()). Opened anew, it can be told not to: O_NONBLOCK on fd itself
            # would reach the shell, which shares it.
            with suppress(OSError):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._own_fd = os.open(os.ttyname(fd), flags)
        self._fd = fd if self._own_fd is None else self._own_fd
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._poll.register(stop_fd, select.POLLIN)
        self._state = select.poll()
        self._state.register(self._fd, 0)

    def fileno(self) -> int:
        """The descriptor to watch for a reader that goes away."""
        return self._fd

    def closed_by_reader(self) -> bool:
        """Whether the reader is gone, so that no write can succeed any more."""
        return any(happened & _GONE for _, happened in self._state.poll(0))

    def write(self, text: str) -> None:
        """Buffers ``text``; flushes, and may raise what flush() raises, at each 64 KiB."""
        if self._over:
            return
        # A lone surrogate has no encoding: a name must not end the run.
        self._buffer += text.encode("utf-8", "backslashreplace")
        if len(self._buffer) >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Delivers what is buffered. Blocks while the reader is slow, until it is to stop."""
        while self._buffer:
            ready = dict(self._poll.poll(self._timeout_ms()))
            state = ready.get(self._fd, 0)
            if state & _GONE:
                self._end(OutputClosed(_CLOSED))
            if state & select.POLLOUT:
                if self._write_chunk():
                    continue
                time.sleep(_RETRY_S)  # a terminal that has room for one byte, not for two
            if self._deadline is None:
                if self._stop_fd in ready:
                    self._deadline = time.monotonic() + self._grace_s
                    # From here on it would end every poll() at once.
                    self._poll.unregister(self._stop_fd)
            elif time.monotonic() >= self._deadline:
                self._end(OutputBlocked("standard output is blocked"))

    def close(self) -> None:
        """Releases what the constructor opened; does not flush and leaves ``fd`` open."""
        self._over = True
        self._buffer.clear()
        if self._own_fd is not None:
            os.close(self._own_fd)
            self._own_fd = None

    def _write_chunk(self) -> bool:
        """Writes what fits at once; False if nothing did after all."""
        size = len(self._buffer)
        if size > self._chunk:
            # Whole lines where possible, so that what OutputBlocked drops is whole lines.
            size = self._buffer.rfind(b"\n", 0, self._chunk) + 1 or self._chunk
        try:
            written = os.write(self._fd, self._buffer[:size])
        except BlockingIOError:
            return False
        except OSError as error:
            # EIO: the terminal was hung up (drivers/tty/tty_io.c, hung_up_tty_write()).
            hung_up = error.errno == errno.EIO and self._terminal
            if hung_up or error.errno in (errno.EPIPE, errno.ECONNRESET):
                self._end(OutputClosed(_CLOSED), error)
            self._end(OutputFailed(f"{_REFUSED}: {_why(error)}"), error)
        del self._buffer[:written]
        return True

    def _timeout_ms(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - time.monotonic()) * 1000

    def _end(self, outcome: OutputError, cause: OSError | None = None) -> NoReturn:
        self._over = True
        self._buffer.clear()
        raise outcome from cause


def _why(error: OSError) -> str:
    return error.strerror or str(error)
