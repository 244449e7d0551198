# SPDX-License-Identifier: Apache-2.0
"""Requests counted by verdict, and how the kernel's own exact counts are taken over."""

from __future__ import annotations

from dataclasses import dataclass

from tracer.events import InterfaceCount, Request, Verdict
from tracer.state.names import Counted


class Tally:
    """requests = answered + unanswered - corrected + deferred + ignored; none is negative.

    ``answered`` and ``unanswered`` never fall: a request that was answered after it had been
    reported as unanswered is in both, and in ``corrected``.

    A snapshot of the kernel's counts may run ahead of the events still to be read.
    ``ahead_*`` is by how much it did: so many events up to the snapshot's time are
    already counted. Without this, an event read after the snapshot counts twice.
    ``deferred`` falls when requests settle, ``deferrals`` does not. ``counted``: what is
    counted here is counted there too, by name.
    """

    __slots__ = (
        "ahead_answered",
        "ahead_corrected",
        "ahead_deferrals",
        "ahead_ignored",
        "ahead_ts",
        "ahead_unanswered",
        "answered",
        "corrected",
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
        self.corrected = 0
        self.deferred = 0
        self.ignored = 0
        self.deferrals = 0
        self.ahead_ts = -1
        self.ahead_answered = 0
        self.ahead_corrected = 0
        self.ahead_deferrals = 0
        self.ahead_unanswered = 0
        self.ahead_ignored = 0

    @property
    def still_unanswered(self) -> int:
        """Those whose last verdict it is."""
        return self.unanswered - self.corrected

    @property
    def requests(self) -> int:
        return self.answered + self.still_unanswered + self.deferred + self.ignored


@dataclass(frozen=True, slots=True)
class Change:
    """By how much the counts moved; the grand totals follow by the same."""

    answered: int = 0
    unanswered: int = 0
    deferred: int = 0
    ignored: int = 0
    deferrals: int = 0
    corrected: int = 0


NO_CHANGE = Change()
ANSWERED = Change(answered=1)
UNANSWERED = Change(unanswered=1)
DEFERRED = Change(deferred=1, deferrals=1)
DEFERRED_ONCE = Change(deferrals=1)
IGNORED = Change(ignored=1)
SETTLED_ANSWERED = Change(answered=1, deferred=-1)
SETTLED_UNANSWERED = Change(unanswered=1, deferred=-1)


def change_by(tally: Tally, event: Request) -> Change:
    """What ``event`` changes; uses up what an earlier snapshot ran ahead by.

    A late event without a known pending one (its deferral was lost, or came before
    tracing began) is a new request.
    """
    verdict = event.verdict
    settles = event.late and tally.deferred > 0
    known = event.ts <= tally.ahead_ts
    if event.again:
        change = NO_CHANGE
    elif event.corrects:
        change = _correction(tally, known)
    elif verdict is Verdict.ANSWERED:
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


def _correction(tally: Tally, known: bool) -> Change:
    """An answer to a request that was counted as unanswered, or whose event was lost."""
    answered = corrected = 1
    if known and tally.ahead_answered:
        tally.ahead_answered -= 1
        answered = 0
    if known and tally.ahead_corrected:
        tally.ahead_corrected -= 1
        corrected = 0
    missing = corrected if not tally.still_unanswered else 0
    return Change(answered=answered, unanswered=missing, corrected=corrected)


def apply(tally: Tally, change: Change) -> None:
    tally.answered += change.answered
    tally.unanswered += change.unanswered
    tally.corrected += change.corrected
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
        answered=max(0, row.answered - tally.answered),
        unanswered=max(0, row.unanswered - tally.unanswered),
        deferred=row.deferred - tally.deferred,
        ignored=max(0, row.ignored - tally.ignored),
        deferrals=max(0, row.deferrals - tally.deferrals),
        corrected=max(0, row.corrected - tally.corrected),
    )
    apply(tally, change)
    # Added, not set: what an earlier snapshot ran ahead by may still be unread.
    tally.ahead_ts = ts
    tally.ahead_answered += change.answered
    tally.ahead_unanswered += change.unanswered
    tally.ahead_corrected += change.corrected
    tally.ahead_ignored += change.ignored
    tally.ahead_deferrals += change.deferrals
    return change
