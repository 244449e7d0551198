# SPDX-License-Identifier: Apache-2.0
"""Finding a network namespace by its inode, and entering it with one thread."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
OWN = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


def own() -> int:
    """The inode of the calling thread's network namespace."""
    return os.stat(OWN).st_ino  # noqa: PTH116 - a magic link, not a path


def each() -> Iterator[tuple[str, int]]:
    """(file, inode) of each namespace: under /run/netns, else of a process in it."""
    home = os.stat(OWN)  # noqa: PTH116
    told = set()
    for pattern in ("run/netns/*", "proc/[0-9]*/ns/net"):
        for path in Path("/").glob(pattern):
            try:
                found = path.stat()
            except OSError:
                continue  # A process that ended, or a name whose mount is gone.
            if found.st_dev == home.st_dev and found.st_ino not in told:
                told.add(found.st_ino)
                yield str(path), found.st_ino


def find(inode: int) -> str | None:
    """A file of the namespace, None if there is none."""
    return next((path for path, number in each() if number == inode), None)


@contextmanager
def entered(path: str, inode: int) -> Iterator[None]:
    """Moves the calling thread, and it alone, into the namespace for the block.

    Raises OSError if ``path`` cannot be entered or is another namespace by now. Coming
    back cannot fail for want of rights: the file of the way back is open beforehand.
    """
    home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(there).st_ino != inode:
                raise FileNotFoundError(f"{path} is another network namespace by now")
            _setns(there)
        finally:
            os.close(there)  # An open file would keep the namespace alive.
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def _setns(fd: int) -> None:
    # os.setns came with Python 3.12.
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
