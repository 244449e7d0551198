# SPDX-License-Identifier: Apache-2.0
"""What a cause is."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from tracer.events import Evidence
from tracer.node.look import Look

INFERRED = "inferred"


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why a request gets no answer, and all that is known of it.

    ``holds`` gives one sentence, what in the look establishes the cause, or None when
    the look does not establish it: it never guesses. ``remedy`` is a command to paste,
    or a sentence; only asked when the cause holds. ``lasting`` tells what usually did it,
    and so where the mend must go to stay. ``shown_by`` is the test that brings it about.
    """

    name: str
    means: str
    holds: Callable[[Look], str | None]
    remedy: Callable[[Look], str]
    lasting: str
    field_reports: tuple[str, ...]
    shown_by: str


@dataclass(frozen=True, slots=True)
class Finding:
    """``evidence`` is all that the look read, and under ``because`` what decided."""

    reason: str
    confidence: str
    remedy: str
    evidence: Evidence


def command(look: Look, line: str) -> str:
    """``line`` as it is to be pasted: in another network namespace if that is where it is."""
    if look.netns_path is None:
        return line
    return f"nsenter --net={shlex.quote(look.netns_path)} {line}"
