# SPDX-License-Identifier: Apache-2.0
"""Text for people: a line a request, as tcpdump has it, and flags that stand out."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import click

from tracer.events import Verdict
from tracer.notices import (
    FlagNotice,
    Line,
    LostNotice,
    NeighbourNotice,
    RequestNotice,
    StartNotice,
    StopNotice,
)
from tracer.sinks.evidence import words
from tracer.sinks.instant import clock_time, duration, latency
from tracer.sinks.printable import printable
from tracer.sinks.sink import Means, Pods, no_meaning, no_pod

_WIDTH = 79
_INDENT = "    "

# By (verdict, settled). Upper case, so that it stands out, and is told from `answered` by
# grep, without colour too.
_WORDS: Mapping[tuple[Verdict, bool], str] = {
    (Verdict.ANSWERED, False): " answered",
    (Verdict.ANSWERED, True): "late answer",
    (Verdict.UNANSWERED, False): " UNANSWERED",
    (Verdict.UNANSWERED, True): " UNANSWERED late",
    (Verdict.DEFERRED, False): " deferred",
    (Verdict.DEFERRED, True): " deferred",
    (Verdict.IGNORED, False): " ignored",
    (Verdict.IGNORED, True): " ignored",
}

_STYLES: Mapping[Verdict, Mapping[str, Any]] = {
    Verdict.ANSWERED: {},
    Verdict.UNANSWERED: {"fg": "red", "bold": True},
    Verdict.DEFERRED: {"fg": "yellow"},
    Verdict.IGNORED: {"dim": True},
}


class TextSink:
    """Lines of at most 79 columns, if the target is the default one.

    Longer are: a command to paste, a word of evidence that cannot be broken, a name with
    escaped characters, enormous counts. ``start`` gives no line: the command says on
    standard error that tracing has begun.
    """

    def __init__(
        self, *, colour: bool = False, pods: Pods = no_pod, means: Means = no_meaning
    ) -> None:
        self._colour = colour
        self._pods = pods
        self._means = means
        self._time = clock_time()
        self._texts: dict[type, Callable[[Any], str]] = {
            StartNotice: self._start,
            RequestNotice: self._request,
            FlagNotice: self._flag,
            NeighbourNotice: self._neighbour,
            LostNotice: self._lost,
            StopNotice: self._stop,
        }

    def line(self, notice: Line) -> str:
        """The lines of a notice, with their newlines; "" for a start."""
        return self._texts[type(notice)](notice)

    def _style(self, text: str, **style: Any) -> str:
        return click.style(text, **style) if self._colour and style else text

    def _start(self, notice: StartNotice) -> str:
        return ""

    def _request(self, notice: RequestNotice) -> str:
        twice = notice.answers > 1
        word = _WORDS[notice.verdict, notice.settled and not twice]
        if notice.latency_ns is not None:
            word = f"{word:11} {latency(notice.latency_ns):>5}"
        return (
            f"{self._time(notice.ts)} {printable(notice.interface):15}"
            f" {printable(notice.target_ip)} tell {printable(notice.sender_ip):15}"
            f" {self._style(word, **_STYLES[notice.verdict])}"
            f"{self._other(notice.seen.other_mac) if twice else ''}\n"
        )

    def _other(self, mac: str | None) -> str:
        text = f"by another one too, with {printable(mac or 'another address')}"
        return self._style(f"\n{_INDENT}{text}", fg="yellow")

    def _flag(self, notice: FlagNotice) -> str:
        return self._raised(notice) if notice.state == "raised" else self._cleared(notice)

    def _raised(self, notice: FlagNotice) -> str:
        head = (
            f">>> {printable(notice.interface)} gets no reply for"
            f" {printable(notice.target_ip)}: {printable(notice.reason)}"
        )
        facts = [
            f"since {'before the trace' if notice.before_trace else self._time(notice.since)}",
            f"{notice.unanswered} unanswered",
            printable(notice.confidence),
        ]
        pod = self._pods(notice.interface)
        if pod is not None:
            facts.append(f"pod {printable(pod['namespace'])}/{printable(pod['name'])}")
        lines = [
            self._style(head, fg="red", bold=True),
            *_wrapped(", ".join(facts)),
            *_wrapped(self._means(notice.reason)),
            *_labelled("because", notice.evidence.because),
            *_labelled("evidence:", words(notice.evidence)),
            *self._mend(notice.remedy),
        ]
        return "".join(f"{line}\n" for line in lines)

    def _mend(self, remedy: str) -> list[str]:
        """Sentences wrapped; each command on a line of its own, whole, to be pasted."""
        lines: list[str] = []
        label = "mend:"
        for part in filter(None, map(str.strip, remedy.split("\n"))):
            if _is_sentence(part):
                lines += _wrapped(f"{label} {part}")
            else:
                lines += _wrapped(label)
                lines.append(_INDENT + self._style(printable(part), bold=True))
            label = ""
        return lines

    def _cleared(self, notice: FlagNotice) -> str:
        at = self._time(notice.ts)[:8]
        after = duration((notice.ts - notice.since) / 1e9)
        if notice.before_trace:
            after = f"more than {after}"
        text = (
            f"<<< {printable(notice.interface)} {printable(notice.target_ip)} cleared {at}"
            f" after {after}, {notice.unanswered} unanswered"
        )
        return self._style(text, fg="green") + "\n"

    def _neighbour(self, notice: NeighbourNotice) -> str:
        old = f"{printable(notice.old_state)} > " if notice.old_state is not None else ""
        change = f"{old}{printable(notice.new_state)}"
        style = {"fg": "yellow"} if notice.new_state == "failed" else {"dim": True}
        return (
            f"{self._time(notice.ts)} {printable(notice.interface):15}"
            f" neigh {printable(notice.ip)} {self._style(change, **style)}\n"
        )

    def _lost(self, notice: LostNotice) -> str:
        texts = []
        if notice.count:
            events = _number(notice.count, "event")
            texts.append(f"lost {events}, not shown above; counts stay exact")
        if notice.skipped:
            runs = _number(notice.skipped, "run")
            texts.append(f"the kernel skipped {runs}: requests may be missing")
        return "".join(
            f"{self._time(notice.ts)} {self._style(text, fg='yellow', bold=True)}\n"
            for text in texts
        )

    def _stop(self, notice: StopNotice) -> str:
        flags = _number(notice.flags_raised, "flag") + " raised"
        lost = _number(notice.lost, "event") + " lost"
        unanswered = f"{notice.unanswered} unanswered"
        if notice.unanswered:
            unanswered = self._style(unanswered, fg="red", bold=True)
        if notice.flags_raised:
            flags = self._style(flags, fg="red", bold=True)
        if notice.lost:
            lost = self._style(lost, fg="yellow", bold=True)
        return (
            f"--- {_number(notice.requests, 'request')} in {duration(notice.duration_s)}\n"
            f"--- {notice.answered} answered, {unanswered}, {notice.deferred} deferred,"
            f" {notice.ignored} ignored\n"
            f"--- {flags}, {lost}\n"
        )


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _is_sentence(remedy: str) -> bool:
    """A remedy is a command or a sentence; a sentence ends like one."""
    return remedy.endswith((".", "!", "?"))


def _labelled(label: str, what: str | None) -> list[str]:
    return _wrapped(f"{label} {what}") if what else []


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        printable(text),
        _WIDTH,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
