# SPDX-License-Identifier: Apache-2.0
"""Requests counted by verdict, and how the kernel's own exact counts are taken over."""

from __future__ import annotations

from dataclasses import dataclass

from tracer.events import InterfaceCount, Request, Verdict
from tracer.state.names import Counted


class Tally:
    """requests = answered + unanswered + deferred + ignored; none is ever negative.

    A snapshot of the kernel's counts may run ahead of the events still to be read.
    ``ahead_*`` is by how much it did: so many events up to the snapshot's time are
    already counted. Without this, an event read after the snapshot counts twice.
    ``deferred`` falls when requests settle, ``deferrals`` does not. ``counted``: what is
    counted here is counted there too, by name.
    """

    __slots__ = (
        "ahead_answered",
        "ahead_deferrals",
        "ahead_ignored",
        "ahead_ts",
        "ahead_unanswered",
        "answered",
        "counted",
        "deferrals",
        "deferred",
        "ignored",
        "unanswered",
    )

    def __init__(self, counted: Counted | None = None) -> None:
        self.counted = Counted() if counted is None else counted
        self.answered = 0
        self.unanswered = 0
        self.deferred = 0
        self.ignored = 0
        self.deferrals = 0
        self.ahead_ts = -1
        self.ahead_answered = 0
        self.ahead_deferrals = 0
        self.ahead_unanswered = 0
        self.ahead_ignored = 0


@dataclass(frozen=True, slots=True)
class Change:
    """By how much the counts moved; the grand totals follow by the same."""

    answered: int
    unanswered: int
    deferred: int
    ignored: int
    deferrals: int


NO_CHANGE = Change(0, 0, 0, 0, 0)
ANSWERED = Change(1, 0, 0, 0, 0)
UNANSWERED = Change(0, 1, 0, 0, 0)
DEFERRED = Change(0, 0, 1, 0, 1)
DEFERRED_ONCE = Change(0, 0, 0, 0, 1)
IGNORED = Change(0, 0, 0, 1, 0)
SETTLED_ANSWERED = Change(1, 0, -1, 0, 0)
SETTLED_UNANSWERED = Change(0, 1, -1, 0, 0)


def change_by(tally: Tally, event: Request) -> Change:
    """What ``event`` changes; uses up what an earlier snapshot ran ahead by.

    A late event without a known pending one (its deferral was lost, or came before
    tracing began) is a new request.
    """
    verdict = event.verdict
    settles = event.late and tally.deferred > 0
    known = event.ts <= tally.ahead_ts
    if verdict is Verdict.ANSWERED:
        change = SETTLED_ANSWERED if settles else ANSWERED
        if known and tally.ahead_answered:
            tally.ahead_answered -= 1
            change = NO_CHANGE
    elif verdict is Verdict.UNANSWERED:
        change = SETTLED_UNANSWERED if settles else UNANSWERED
        if known and tally.ahead_unanswered:
            tally.ahead_unanswered -= 1
            change = NO_CHANGE
    elif verdict is Verdict.IGNORED:
        change = IGNORED
        if known and tally.ahead_ignored:
            tally.ahead_ignored -= 1
            change = NO_CHANGE
    else:
        # The snapshot's number of queued requests replaced ours: it knew of this one.
        change = DEFERRED_ONCE if known else DEFERRED
        if known and tally.ahead_deferrals:
            tally.ahead_deferrals -= 1
            change = NO_CHANGE
    return change


def apply(tally: Tally, change: Change) -> None:
    tally.answered += change.answered
    tally.unanswered += change.unanswered
    tally.deferred += change.deferred
    tally.ignored += change.ignored
    tally.deferrals += change.deferrals
    counted = tally.counted
    counted.answered += change.answered
    counted.unanswered += change.unanswered
    counted.deferred += change.deferrals
    counted.ignored += change.ignored


def take_over(tally: Tally, ts: int, row: InterfaceCount) -> Change:
    """Takes the kernel's absolute counts where they are larger; gives what changed.

    ``row.deferred`` is a level, not a count: it replaces ours in both directions.
    ``ts`` must not be earlier than the moment the kernel's counts were read.
    """
    change = Change(
        max(0, row.answered - tally.answered),
        max(0, row.unanswered - tally.unanswered),
        row.deferred - tally.deferred,
        max(0, row.ignored - tally.ignored),
        max(0, row.deferrals - tally.deferrals),
    )
    apply(tally, change)
    # Added, not set: what an earlier snapshot ran ahead by may still be unread.
    tally.ahead_ts = ts
    tally.ahead_answered += change.answered
    tally.ahead_unanswered += change.unanswered
    tally.ahead_ignored += change.ignored
    tally.ahead_deferrals += change.deferrals
    return change
