# SPDX-License-Identifier: Apache-2.0
"""How an interface stands with each of the conditions that the kernel asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum

from tracer.causes.conditions import CONDITIONS, Condition
from tracer.node.look import Look


class State(StrEnum):
    """``UNREAD``: not everything could be read that it takes to judge. ``UNREACHED``: the
    kernel refuses before it asks.
    """

    PASS = "pass"
    WARNING = "warning"
    FAIL = "fail"
    UNREAD = "unread"
    UNREACHED = "unreached"


def states(
    looks: Iterable[Look], failing: Collection[Condition | None], warned: Collection[str]
) -> dict[str, State]:
    """By the condition's name. ``failing``: those that a problem's cause fails; ``warned``:
    names of those that a warning is about.
    """
    found: dict[str, State] = {}
    failed = False
    looks = tuple(looks)
    for condition in CONDITIONS:
        if condition in failing:
            state = State.FAIL
            failed = True
        elif failed:
            state = State.UNREACHED
        elif not all(_read(condition, look) for look in looks):
            state = State.UNREAD
        elif condition.name in warned:
            state = State.WARNING
        else:
            state = State.PASS
        found[condition.name] = state
    return found


def _read(condition: Condition, look: Look) -> bool:
    if any(failure.startswith(condition.failures) for failure in look.failures):
        return False
    return condition.read(look)
