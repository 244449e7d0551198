# SPDX-License-Identifier: Apache-2.0
"""A recording says, replayed, what the live trace said: to the byte."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE_S
from lab import Lab
from lab.tracer import command


@pytest.fixture(scope="module")
def recorded(any_engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with recordings ``text`` and ``json`` and what was printed meanwhile."""
    directory = tmp_path_factory.mktemp("recorded")
    with Lab("recorded", pods=2) as lab:
        healthy, broken = lab.pods
        for form in ("text", "json"):
            options = ("--format", form, "--write", str(directory / form))
            with (directory / f"{form}.out").open("w") as out:
                process = lab.node.popen(
                    [*command(), "trace", "--engine", any_engine, *options],
                    stdout=out,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "TZ": "UTC"},
                )
                with process:
                    while not process.stderr.readline().startswith("tracing "):
                        assert process.poll() is None
                    with lab.broken("proxy_arp_off", broken):
                        lab.storm({healthy: 101, broken: 103})
                        time.sleep(PATIENCE_S / 4)
                    broken.ask(2)
                    healthy.probe(3)
                    time.sleep(0.3)
                    process.send_signal(signal.SIGINT)
                    assert process.wait(PATIENCE_S) == 0
        yield directory


def replay(*args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*command(), "replay", *args],
        capture_output=True,
        text=True,
        env={**os.environ, "TZ": "UTC"},
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("form", ["text", "json"])
def test_replay_is_live(recorded: Path, form: str) -> None:
    live = (recorded / f"{form}.out").read_text()
    done = replay("--format", form, str(recorded / form))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == live
    assert (
        ("103 answered, 103 unanswered" in live) if form == "text" else ('"unanswered":103' in live)
    )


def test_a_recording_cut_short_is_shown_as_far_as_it_goes(recorded: Path, tmp_path: Path) -> None:
    whole = (recorded / "json").read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    done = replay("--format", "json", str(cut))
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) <= 1
    lines, live = done.stdout.splitlines(), (recorded / "json.out").read_text().splitlines()
    assert 100 < len(lines) < len(live)
    # What was still waiting for its cause is told as unknown before the stop line.
    assert lines[:-2] == live[: len(lines) - 2]
    assert '"type":"stop"' in lines[-1]


def test_a_damaged_recording_is_one_line(recorded: Path, tmp_path: Path) -> None:
    damaged = bytearray((recorded / "json").read_bytes())
    half = len(damaged) // 2
    (tmp_path / "damaged").write_bytes(damaged[:half] + b"\xc1" * 64 + damaged[half + 64 :])
    done = replay(str(tmp_path / "damaged"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout.count("answered") > 50


def test_not_a_recording() -> None:
    for path in ("/etc/hostname", "/nonexistent", "/dev/null"):
        done = replay(path)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
