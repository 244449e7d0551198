# SPDX-License-Identifier: Apache-2.0
"""What a person pastes of a remedy, and that it is of the kind it says."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from lab.faults import FAULTS


def pasted(remedy: str) -> list[str]:
    """The lines that start with a program and are no sentence: those that get pasted."""
    return [
        line
        for line in remedy.split("\n")
        if line.split() and not line.rstrip().endswith(".") and shutil.which(line.split()[0])
    ]


def check(said: Mapping[str, Any], fault: str | None = None) -> None:
    """A command is nothing but lines to paste, advice has none; the fault's own kind, if it
    has one."""
    remedy, kind = said["remedy"], said.get("remedy_kind")
    lines = [line for line in remedy.split("\n") if line.strip()]
    assert lines, said
    assert kind in ("command", "advice"), said
    assert pasted(remedy) == (lines if kind == "command" else []), said
    if kind == "advice":
        assert [line for line in lines if not line.endswith(".")] == [], said
    if fault is not None and FAULTS[fault].remedy is not None:
        assert kind == FAULTS[fault].remedy, (fault, said)
