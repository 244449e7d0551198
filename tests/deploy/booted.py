# SPDX-License-Identifier: Apache-2.0
"""A systemd of one's own: PID 1 of namespaces of its own, in a network namespace of the lab."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.netns import Netns

TOP = Path(__file__).resolve().parents[2]
_BOOT = Path(__file__).with_name("boot")
_NAMESPACES = ("--pid", "--mount", "--cgroup", "--uts", "--ipc")
# It becomes the root of systemd's own cgroup namespace: nothing of ours is in it, or gets there.
_ENTER = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
_NUMBERS = itertools.count(1)
START_S = 30.0


class Booted:
    """Runs in the block. ``units``: files, relative to the checkout; none is started by itself."""

    def __init__(self, netns: Netns, *units: str) -> None:
        self._netns = netns
        self._cgroup = _cgroup_root() / f"arpwhy-{os.getpid()}-{next(_NUMBERS)}"
        self._argv = ["sh", "-ec", _ENTER, "enter", str(self._cgroup)]
        self._argv += ["setpriv", "--pdeathsig=KILL", "unshare", *_NAMESPACES, "--fork"]
        self._argv += ["--kill-child", str(_BOOT), str(TOP), *units]

    def __enter__(self) -> Booted:
        self._cgroup.mkdir()
        self._process = self._netns.popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            self.wait(lambda: self.run("systemctl", "is-active", "tested.target").returncode == 0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        deadline = time.monotonic() + START_S
        while "populated 1" in (self._cgroup / "cgroup.events").read_text():
            assert time.monotonic() < deadline, f"{self._cgroup} still has processes"
            time.sleep(0.02)
        for directory, _, _ in os.walk(self._cgroup, topdown=False):
            Path(directory).rmdir()

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command in there and capture its output; it fails if there is no such place."""
        started = self._process.pid
        children = Path(f"/proc/{started}/task/{started}/children").read_text().split()
        if not children:
            return subprocess.CompletedProcess(argv, 1, "", "no systemd is running")
        return subprocess.run(
            ["nsenter", f"--target={children[0]}", "--all", *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def write(self, path: str, text: str) -> None:
        """Write a file in there, and make its directory."""
        script = 'mkdir -p "${1%/*}" && printf %s "$2" >"$1"'
        assert self.run("sh", "-c", script, "write", path, text).returncode == 0

    def wait(self, holds: Callable[[], object]) -> None:
        """Fails the test if that does not hold within ``START_S`` seconds."""
        deadline = time.monotonic() + START_S
        while not holds():
            assert self._process.poll() is None, f"it ended: {self._process.communicate()[1]!r}"
            assert time.monotonic() < deadline, f"{START_S:g} s without what was waited for"
            time.sleep(0.05)


def _cgroup_root() -> Path:
    """Where cgroup v2 is mounted, beside v1 or alone."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    pytest.skip("no cgroup2 is mounted")
