# SPDX-License-Identifier: Apache-2.0
"""The cache of what was compiled: what is kept, and what is not trusted."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tracer.kernel.cache import ENTRIES, Cache, key, place

KEY = key("engine", "int x;")
VALUE = [{"map": [1, 2, 3, 4, 5]}, {"program": [b"\x95\0\0\0\0\0\0\0", {4: "map"}]}]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a file of another user")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "below" / "cache"


@pytest.fixture
def entry(directory: Path) -> Path:
    """An entry that is well."""
    Cache(directory).store(KEY, VALUE)
    (entry,) = directory.iterdir()
    return entry


def test_what_was_stored_is_loaded(directory: Path) -> None:
    cache = Cache(directory)
    assert cache.load(KEY) is None
    cache.store(KEY, VALUE)
    assert Cache(directory).load(KEY) == VALUE
    assert cache.load(key("engine", "int y;")) is None
    assert not cache.remarks


def test_nobody_else_may_read_or_write(directory: Path, entry: Path) -> None:
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600


def test_the_parts_of_a_key_are_told_apart() -> None:
    assert len({key("ab", "c"), key("a", "bc"), key("abc"), key("abc", "")}) == 4
    assert key("é") == key("é".encode())


def test_without_a_directory_nothing_is_kept() -> None:
    cache = Cache(None)
    cache.store(KEY, VALUE)
    assert cache.load(KEY) is None
    assert not cache.remarks


def cut(entry: Path) -> None:
    os.truncate(entry, entry.stat().st_size - 1)


def emptied(entry: Path) -> None:
    os.truncate(entry, 0)


def longer(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes() + b"\0")


def flipped(entry: Path) -> None:
    data = bytearray(entry.read_bytes())
    data[-1] ^= 1
    entry.write_bytes(bytes(data))


def anothers_entry(entry: Path) -> None:
    other = key("other")
    Cache(entry.parent).store(other, "other")
    (entry.parent / other.hex()).rename(entry)


def written_by_all(entry: Path) -> None:
    entry.chmod(0o602)


def linked(entry: Path) -> None:
    entry.rename(entry.parent.parent / "elsewhere")
    entry.symlink_to(entry.parent.parent / "elsewhere")


def a_pipe(entry: Path) -> None:
    entry.unlink()
    os.mkfifo(entry, 0o600)


def given_away(entry: Path) -> None:
    os.chown(entry, 65534, 65534)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        *((harm, "it is damaged") for harm in (cut, emptied, longer, flipped, anothers_entry)),
        (written_by_all, "others may write to it (mode 602)"),
        (linked, "it is a symbolic link"),
        (a_pipe, "it is of another kind"),
        pytest.param(given_away, "it belongs to user 65534", marks=as_root),
    ],
)
def test_an_entry_that_is_not_to_be_trusted_is_said_once_and_replaced(
    entry: Path, harm: Callable[[Path], None], why: str
) -> None:
    harm(entry)
    cache = Cache(entry.parent)
    assert cache.load(KEY) is None
    assert cache.remarks == [f"an entry in {entry.parent} is not used: {why}"]
    cache.store(KEY, VALUE)
    again = Cache(entry.parent)
    assert again.load(KEY) == VALUE
    assert not again.remarks


def test_every_truncation_is_seen(entry: Path) -> None:
    data = entry.read_bytes()
    for length in range(len(data)):
        entry.write_bytes(data[:length])
        assert Cache(entry.parent).load(KEY) is None


def open_to_all(directory: Path) -> None:
    directory.chmod(0o777)


def open_to_the_group(directory: Path) -> None:
    directory.chmod(0o770)


def moved_away(directory: Path) -> None:
    directory.rename(directory.parent / "elsewhere")
    directory.symlink_to(directory.parent / "elsewhere")


def a_file(directory: Path) -> None:
    directory.rename(directory.parent / "elsewhere")
    directory.touch()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (open_to_all, "others may write to it (mode 777)"),
        (open_to_the_group, "others may write to it (mode 770)"),
        (moved_away, "it is a symbolic link, or no directory"),
        (a_file, "it is a symbolic link, or no directory"),
        pytest.param(given_away, "it belongs to user 65534", marks=as_root),
    ],
)
def test_a_directory_that_is_not_to_be_trusted_is_said_once_and_left_alone(
    directory: Path, entry: Path, harm: Callable[[Path], None], why: str
) -> None:
    harm(directory)
    before = sorted(directory.iterdir()) if directory.is_dir() else []
    cache = Cache(directory)
    assert cache.load(KEY) is None
    cache.store(key("another"), VALUE)
    assert cache.load(KEY) is None
    assert cache.remarks == [f"the cache {directory} is not used: {why}"]
    assert (sorted(directory.iterdir()) if directory.is_dir() else []) == before


def test_where_nothing_can_be_written_nothing_is_kept_or_said() -> None:
    cache = Cache(Path("/proc/none/cache"))
    cache.store(KEY, VALUE)
    assert cache.load(KEY) is None
    assert not cache.remarks


def test_what_cannot_be_written_to_its_end_leaves_nothing(directory: Path, entry: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # as a full disk: Python gets EFBIG
    try:
        Cache(directory).store(key("another"), VALUE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(directory.iterdir()) == [entry]


def test_the_entries_used_last_are_kept(directory: Path) -> None:
    cache = Cache(directory)
    for number in range(ENTRIES):
        cache.store(key(str(number)), number)
        os.utime(directory / key(str(number)).hex(), (number, number))
    assert cache.load(key("0")) == 0  # from now on it is the one used last
    for number in range(ENTRIES, ENTRIES + 3):
        cache.store(key(str(number)), number)
    kept = {n for n in range(ENTRIES + 3) if cache.load(key(str(n))) is not None}
    assert kept == {0, *range(4, ENTRIES + 3)}
    assert len(list(directory.iterdir())) == ENTRIES


def test_what_could_not_be_finished_goes_with_the_old(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o700)
    unfinished = directory / f"{KEY.hex()}.1"
    unfinished.touch()
    os.utime(unfinished, (1, 1))
    for number in range(ENTRIES):
        Cache(directory).store(key(str(number)), number)
    assert not unfinished.exists()


def test_many_at_once_see_all_of_an_entry_or_nothing(directory: Path) -> None:
    def start(number: int) -> bool:
        cache = Cache(directory)
        found = cache.load(KEY)
        if found is None:
            cache.store(KEY, VALUE)
        return found in (None, VALUE) and not cache.remarks

    with ThreadPoolExecutor(8) as starts:
        assert all(starts.map(start, range(400)))
    assert Cache(directory).load(KEY) == VALUE


@pytest.mark.parametrize(
    ("environment", "uid", "where"),
    [
        ({}, 0, "/var/cache/arpwhy"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, 0, "/var/cache/arpwhy"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, 1000, "/x/arpwhy"),
        ({"XDG_CACHE_HOME": "x", "HOME": "/h"}, 1000, "/h/.cache/arpwhy"),
        ({"HOME": "/h"}, 1000, "/h/.cache/arpwhy"),
        ({}, 1000, None),
        ({"CACHE_DIRECTORY": "/c/arpwhy", "HOME": "/h"}, 0, "/c/arpwhy"),
        ({"CACHE_DIRECTORY": "/c/arpwhy:/c/other"}, 1000, "/c/arpwhy"),
    ],
)
def test_place(
    environment: dict[str, str], uid: int, where: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CACHE_DIRECTORY", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.geteuid", lambda: uid)
    assert place() == (Path(where) if where else None)
