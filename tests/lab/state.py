# SPDX-License-Identifier: Apache-2.0
"""What the lab made, on disk: /run/<name>-lab.json.

Written before anything is made, so that whatever a killed process leaves behind is
listed there; also how ``scripts/lab`` finds the lab again and knows what to mend.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import LabError

RUN = Path("/run")


def start_time(pid: int) -> int | None:
    """When the process started (clock ticks since boot), or None: a pid may be reused."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def identity(pid: int) -> list[int]:
    """[pid, start time]: names this process for good; start time 0 if it is gone."""
    return [pid, start_time(pid) or 0]


def alive(process: list[int]) -> bool:
    """Whether the process that :func:`identity` named still runs."""
    pid, started = process
    return start_time(pid) == started


@dataclass
class State:
    """``owner`` is the process whose Lab this is, or None when it was left up on purpose.

    ``pods``: name, namespace, interface, address, rp_filter of each. ``faults``: fault,
    pod (None for those of the whole node) and what ``mend`` needs, in the order broken.
    """

    name: str
    owner: list[int] | None
    rp_filter: int
    pods: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    children: list[list[int]] = field(default_factory=list)

    def save(self) -> None:
        path = state_path(self.name)
        fresh = path.with_suffix(".json.new")
        fresh.write_text(json.dumps(asdict(self), indent=1) + "\n")
        fresh.replace(path)

    def forget(self) -> None:
        path = state_path(self.name)
        path.with_suffix(".json.new").unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def end_children(self, patience: float = 3.0) -> None:
        """SIGTERM, then SIGKILL, to the commands the lab started and that still run."""
        for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 1.0)):
            running = [child for child in self.children if alive(child)]
            if not running:
                return
            for pid, _ in running:
                os.kill(pid, number)
            deadline = time.monotonic() + wait
            while any(map(alive, running)) and time.monotonic() < deadline:
                time.sleep(0.005)


def state_path(name: str) -> Path:
    return RUN / f"{name}-lab.json"


def load(name: str) -> State | None:
    """The state of that lab, or None if there is none."""
    path = state_path(name)
    try:
        return State(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise LabError(f"{path} is not a lab's state: {error}") from error
