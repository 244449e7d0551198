# SPDX-License-Identifier: Apache-2.0
"""``--only``: which notices reach a sink."""

from __future__ import annotations

from collections.abc import Callable

from tracer.events import Verdict
from tracer.notices import (
    FlagNotice,
    Line,
    LostNotice,
    RequestNotice,
    StartNotice,
    StopNotice,
)
from tracer.options import ONLY

# What a run began with, missed and added up to is said under every choice.
_ALWAYS = (StartNotice, LostNotice, StopNotice)


def _all(notice: Line) -> bool:
    return True


def _flags(notice: Line) -> bool:
    return isinstance(notice, (FlagNotice, *_ALWAYS))


def _unanswered(notice: Line) -> bool:
    if isinstance(notice, RequestNotice):
        return notice.verdict is Verdict.UNANSWERED
    return _flags(notice)


_CHOICES: dict[str, Callable[[Line], bool]] = dict(
    zip(ONLY, (_all, _unanswered, _flags), strict=True)
)


def passes(only: str) -> Callable[[Line], bool]:
    """The filter for a choice of ONLY; KeyError for any other word."""
    return _CHOICES[only]
