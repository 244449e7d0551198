# SPDX-License-Identifier: Apache-2.0
"""What is made of files that somebody renews while we run: certificates, passwords."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

_Mark = tuple[tuple[int, int, int] | None, ...]


class FileError(Exception):
    """A file cannot be used; the message is one line and names it."""


class Watched(Generic[T]):
    """What ``load`` makes of ``paths``, made anew when one of them has changed.

    ``load`` raises FileError or OSError; the constructor passes FileError on. Later on, what was
    there before is kept, and ``say`` is told once.
    """

    def __init__(
        self, paths: Sequence[str], load: Callable[[], T], say: Callable[[str], object]
    ) -> None:
        self._paths = tuple(paths)
        self._load = load
        self._say = say
        self._lock = threading.Lock()
        self._mark = self._look()
        self._value = load()

    def current(self) -> T:
        """Costs a stat() of each file as long as nothing changes."""
        with self._lock:
            mark = self._look()
            if mark != self._mark:
                self._mark = mark
                try:
                    self._value = self._load()
                except FileError as error:
                    self._say(f"arpwhy: {error}: what was there before is kept")
            return self._value

    def _look(self) -> _Mark:
        return tuple(map(_mark, self._paths))


def _mark(path: str) -> tuple[int, int, int] | None:
    try:
        status = Path(path).stat()  # of what a link leads to: Kubernetes exchanges links
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def read(path: str, what: str) -> bytes:
    """The bytes of a file; raises FileError."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {what} {path}: {error.strerror}") from None
