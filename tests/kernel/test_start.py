# SPDX-License-Identifier: Apache-2.0
"""A start from the cache: what it needs, what it trusts, and that it traces as any other."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from conftest import PATIENCE_S
from lab import Lab
from lab.tracer import Tracer, command

ANEW = "is not used"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is to become the cache of this test's traces."""
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def without_bcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bcc cannot be imported from now on."""
    (tmp_path / "bcc.py").write_text("raise OSError('bcc is imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def start(engine: str, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [*command(), "trace", "--engine", engine, "-i", "nosuch*", "--duration", "0.1"]
    return subprocess.run(
        [*argv, *options], capture_output=True, text=True, timeout=120, check=False
    )


def entries(cache: Path) -> dict[str, tuple[int, bytes]]:
    return {each.name: (each.stat().st_ino, each.read_bytes()) for each in cache.iterdir()}


def test_the_second_start_needs_no_bcc_and_judges_as_the_first(
    engine: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = []
    with Lab("warm", pods=2) as lab:
        healthy, broken = lab.pods
        lab.break_("proxy_arp_off", broken)
        for _ in range(2):
            with Tracer(lab.node, engine) as tracer:
                healthy.ask(3)
                broken.ask(2)
                requests = tracer.wait_for_count(
                    5, lambda line: line["type"] == "request", PATIENCE_S
                )
                flag = tracer.wait_for(lambda line: line["type"] == "flag", PATIENCE_S)
                code, stop = tracer.stop()
                assert code == 0
                assert not any(ANEW in line for line in tracer.stderr)
            seen = Counter((each["interface"], each["verdict"]) for each in requests)
            verdicts.append((seen, flag["interface"], flag["reason"], stop["lost"]))
            (tmp_path / "bcc.py").write_text("raise OSError('bcc is imported')")
            monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert verdicts[0] == verdicts[1]
    seen, interface, reason, lost = verdicts[1]
    assert seen == {(healthy.interface, "answered"): 3, (broken.interface, "unanswered"): 2}
    assert (interface, reason, lost) == (broken.interface, "proxy_arp_off", 0)
    assert "bcc is imported" in start(engine, "--no-cache").stderr


def test_other_filters_are_compiled_for(engine: str, cache: Path, without_bcc: None) -> None:
    """Without bcc, so that it is seen."""
    assert "bcc is imported" in start(engine).stderr
    assert "bcc is imported" in start(engine, "--target", "10.0.0.1").stderr


@pytest.mark.parametrize("length", [0, 100, -1])
def test_damaged_entries_are_compiled_anew_and_said_once(
    engine: str, cache: Path, length: int
) -> None:
    assert start(engine).returncode == 0
    for entry in cache.iterdir():
        os.truncate(entry, length if length >= 0 else entry.stat().st_size + length)
    done = start(engine)
    assert done.returncode == 0
    assert done.stderr.count(f"an entry in {cache} is not used: it is damaged\n") == len(
        entries(cache)
    )
    again = start(engine)
    assert again.returncode == 0
    assert ANEW not in again.stderr


def test_a_cache_of_somebody_else_is_not_used(engine: str, cache: Path) -> None:
    assert start(engine).returncode == 0
    before = entries(cache)
    os.chown(cache, 65534, 65534)
    done = start(engine)
    assert done.returncode == 0
    assert f"arpwhy: the cache {cache} is not used: it belongs to user 65534\n" in done.stderr
    assert entries(cache) == before


def test_no_cache_neither_reads_nor_writes(
    engine: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start(engine, "--no-cache").returncode == 0
    assert not cache.exists()
    assert start(engine).returncode == 0
    for entry in cache.iterdir():
        os.truncate(entry, 100)
    before = entries(cache)
    monkeypatch.setenv("ARPWHY_NO_CACHE", "1")
    done = start(engine)
    assert done.returncode == 0
    assert ANEW not in done.stderr
    assert entries(cache) == before


def test_two_at_once_on_an_empty_cache(engine: str, cache: Path) -> None:
    argv = [*command(), "trace", "--engine", engine, "-i", "nosuch*", "--duration", "0.1"]
    starts = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for each in starts:
        said = each.communicate(timeout=120)[1]
        assert each.returncode == 0
        assert ANEW not in said
    assert start(engine).returncode == 0
    assert all(name.isalnum() for name in entries(cache))  # none is unfinished
