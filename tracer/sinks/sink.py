# SPDX-License-Identifier: Apache-2.0
"""The seam between the notices of the pure state and the lines of an output format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tracer.notices import Line

# An interface's name -> {"namespace": ..., "name": ...}, or None if no pod is known.
Pods = Callable[[str], Mapping[str, str] | None]

# A reason -> one sentence that says what it means, or "".
Means = Callable[[str], str]


def no_pod(interface: str) -> Mapping[str, str] | None:
    return None


def no_meaning(reason: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Options:
    """What a sink may need to know besides the notices; each takes what it uses."""

    colour: bool = False
    pods: Pods = no_pod
    means: Means = no_meaning


class Sink(Protocol):
    """One output format. Notices come in order; Investigate is never among them."""

    def line(self, notice: Line) -> str:
        """The text for one notice: whole lines with their newline, or "" for none."""
        ...
