# SPDX-License-Identifier: Apache-2.0
"""What took long to make, kept for the next start: a directory with a file an entry.

An entry ends up as code in the kernel. So nobody but us may be able to write it: the
directory and the file must be our own, closed to others, and no symbolic link; and what is
read must be what was written.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]

ENTRIES = 16

_MAGIC = b"arpwhy cache 1\n\0"
_HEAD = len(_MAGIC) + 2 * sha256().digest_size
_NOT_A_DIRECTORY = (errno.ENOTDIR, errno.ELOOP)
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def place() -> Path | None:
    """Where this user's entries are; None: there is no place for them.

    $CACHE_DIRECTORY is systemd's, which has made it for us (systemd.exec(5)); with
    DynamicUser= it may be a symbolic link.
    """
    if given := os.environ.get("CACHE_DIRECTORY"):
        return Path(given.split(":")[0]).resolve()
    if os.geteuid() == 0:
        return Path("/var/cache/arpwhy")
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):  # else it is to be ignored (XDG Base Directory Specification)
        return Path(base) / "arpwhy"
    home = os.environ.get("HOME")
    return Path(home) / ".cache" / "arpwhy" if home else None


def key(*parts: str | bytes) -> bytes:
    """Of an entry that is made of these parts, and of these sources of ours."""
    digest = sha256()
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py"))]
    for part in (*sources, *parts):
        data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d " % len(data) + data)
    return digest.digest()


class Cache:
    """``remarks``: a line for each thing that should not have been so.

    No method raises for what is wrong with the directory or an entry: the entry is
    then not to be had, or not kept.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self.remarks: list[str] = []

    def load(self, key: bytes) -> Any | None:
        """What was stored; None if there is no such entry, or none to be trusted."""
        try:
            with self._opened() as directory:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                with os.fdopen(os.open(key.hex(), flags, dir_fd=directory), "rb") as file:
                    why = _not_ours(os.fstat(file.fileno()), stat.S_ISREG)
                    data = b"" if why else file.read()
                    with suppress(OSError):
                        os.utime(file.fileno())  # the one not used for longest goes first
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.ELOOP:
                return None
            why, data = "it is a symbolic link", b""
        content = data[_HEAD:]
        if not why and data[:_HEAD] != _head(key, content):
            why = "it is damaged"
        if why:
            self.remarks.append(f"an entry in {self._directory} is not used: {why}")
            return None
        return msgpack.unpackb(content, strict_map_key=False)

    def store(self, key: bytes, value: Any) -> None:
        """Keep it, if that is possible; others see all of it or nothing."""
        content = msgpack.packb(value)
        # A process number would not do: containers that share a cache may have the same.
        name, unfinished = key.hex(), f"{key.hex()}.{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with suppress(OSError), self._opened() as directory:
            try:
                with os.fdopen(os.open(unfinished, flags, 0o600, dir_fd=directory), "wb") as file:
                    file.write(_head(key, content) + content)
                os.rename(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                os.unlink(unfinished, dir_fd=directory)
            _remove_oldest(directory)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Raises OSError if there is no such directory, or it is not one to be trusted."""
        if self._directory is None:
            raise FileNotFoundError
        with suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            directory = os.open(self._directory, flags)
        except OSError as error:
            if error.errno in _NOT_A_DIRECTORY:
                self._distrust("it is a symbolic link, or no directory")
            raise
        try:
            if why := _not_ours(os.fstat(directory), stat.S_ISDIR):
                self._distrust(why)
                raise PermissionError
            yield directory
        finally:
            os.close(directory)

    def _distrust(self, why: str) -> None:
        self.remarks.append(f"the cache {self._directory} is not used: {why}")
        self._directory = None


def _head(key: bytes, content: bytes) -> bytes:
    return _MAGIC + key + sha256(content).digest()


def _not_ours(status: os.stat_result, is_wanted: Any) -> str | None:
    if not is_wanted(status.st_mode):
        return "it is of another kind"
    if status.st_uid != os.geteuid():
        return f"it belongs to user {status.st_uid}"
    if status.st_mode & _OTHERS_MAY_WRITE:
        return f"others may write to it (mode {stat.S_IMODE(status.st_mode):o})"
    return None


def _remove_oldest(directory: int) -> None:
    """What an earlier start could not finish goes the same way."""
    with os.scandir(directory) as files:
        ages = sorted(
            ((file.stat(follow_symlinks=False).st_mtime_ns, file.name) for file in files),
            reverse=True,
        )
    for _, name in ages[ENTRIES:]:
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)
