# SPDX-License-Identifier: Apache-2.0
"""What the page says, as one JSON object of ready-made texts. Pure.

The page as it is served and its updates both show these: nothing is formatted twice. Every
text is printable, control bytes and lone surrogates written as ``\\x1b``; it is not escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracer.causes import CAUSES
from tracer.export.page.history import History, Key
from tracer.export.page.sparkline import sparkline
from tracer.export.snapshot import Snapshot
from tracer.sinks.evidence import words
from tracer.sinks.instant import latency
from tracer.sinks.printable import printable
from tracer.sinks.sink import Pods
from tracer.state import FlagView, InterfaceView, NeighbourView

Texts = dict[str, Any]
Name = Callable[[str], str]

_MEANS = {cause.name: cause.means for cause in CAUSES}
_NEIGHBOURS_SHOWN = 3
# What to see first of many.
_NUD_ORDER = {"failed": 0, "incomplete": 1, "probe": 2, "delay": 3, "stale": 4, "reachable": 5}


def describe(snapshot: Snapshot, history: History, pods: Pods) -> Texts:
    """``flags``: the longest without a reply first, so that none changes its place while it is
    up; those that stand for a link state, and for no request, last. ``interfaces``: flagged
    ones first, the others by pod and name. ``since`` is milliseconds since the epoch.
    """
    several = len({view.netns for view in snapshot.interfaces}) > 1
    flags: list[tuple[tuple[Any, ...], Texts]] = []
    rows: list[tuple[tuple[Any, ...], Texts]] = []
    for view in snapshot.interfaces:
        row = _row(view, history, _pod(pods, view.interface), several)
        ranks = [_rank(flag) for flag in view.flags]
        place = (not ranks, min(ranks, default=()), not row["pod"], row["pod"], row["interface"])
        rows.append((place, row))
        flags += [(_rank(flag), _flag(flag, row)) for flag in view.flags]
    flags.sort(key=lambda pair: pair[0])
    rows.sort(key=lambda pair: pair[0])
    return {
        **_headline(snapshot.interfaces),
        "totals": _totals(snapshot),
        "lost": _lost(snapshot.totals.lost),
        "flags": [flag for _, flag in flags],
        "interfaces": [row for _, row in rows],
    }


def _rank(flag: FlagView) -> tuple[Any, ...]:
    return (flag.unanswered == 0, flag.since, flag.interface, flag.target_ip, flag.ifindex)


def key_of(view: InterfaceView) -> Key:
    return (view.netns, view.ifindex, view.interface)


def _headline(interfaces: Sequence[InterfaceView]) -> Texts:
    flagged = sum(1 for view in interfaces if view.flags)
    quiet = sum(1 for view in interfaces if _state(view) == "quiet")
    count = len(interfaces)
    if flagged:
        of = f"{flagged:,} of {count:,} interfaces get{'s'[: flagged == 1]} no reply"
        return {"level": "flagged", "headline": of, "quiet": _quiet(quiet)}
    if not count:
        return {"level": "quiet", "headline": "No interface to trace yet", "quiet": ""}
    if quiet == count:
        return {"level": "quiet", "headline": "No request seen yet", "quiet": _quiet(quiet)}
    return {"level": "ok", "headline": "No interface is flagged", "quiet": _quiet(quiet)}


def _quiet(count: int) -> str:
    return f"{count:,} {'has' if count == 1 else 'have'} not asked yet" if count else ""


def _totals(snapshot: Snapshot) -> list[Texts]:
    totals = snapshot.totals
    numbers = (
        ("interfaces", len(snapshot.interfaces)),
        ("requests", totals.requests),
        ("answered", totals.answered),
        ("unanswered", totals.unanswered),
        ("deferred", totals.deferred),
        ("ignored", totals.ignored),
        ("flags raised", totals.flags_raised),
    )
    texts = [{"key": name, "value": f"{number:,}"} for name, number in numbers]
    return [*texts, {"key": "mean reply", "value": _mean(snapshot.latency) or "none yet"}]


def _lost(count: int) -> str:
    if not count:
        return ""
    events = "1 event was" if count == 1 else f"{count:,} events were"
    return f"{events} lost on the way from the kernel; the counts are exact all the same."


def _mean(replies: Any) -> str:
    return latency(replies.sum_ns // replies.count) if replies.count else ""


def _state(view: InterfaceView) -> str:
    if view.flags:
        return "flagged"
    return "ok" if view.answered or view.unanswered else "quiet"


def _row(view: InterfaceView, history: History, pod: str, several: bool) -> Texts:
    drawn = sparkline(history.of(key_of(view)))
    others = [(view.deferred, "deferred"), (view.ignored, "ignored")]
    return {
        "key": f"{view.netns}-{view.ifindex}",
        "state": _state(view),
        "interface": printable(view.interface),
        "netns": f"netns {view.netns}" if several else "",
        "pod": pod,
        "bars": drawn.requests,
        "bad_bars": drawn.unanswered,
        "said": drawn.said,
        "answered": f"{view.answered:,}",
        "unanswered": f"{view.unanswered:,}",
        "others": ", ".join(f"{number:,} {what}" for number, what in others if number),
        "reply": _mean(view.latency),
        "neighbours": _neighbours(view.neighbours),
        "failures": _number(view.neighbour_failures, "failure"),
    }


def _flag(flag: FlagView, row: Texts) -> Texts:
    lines = [printable(line.strip()) for line in flag.remedy.split("\n") if line.strip()]
    command = flag.remedy_kind == "command"
    return {
        "key": f"{row['key']}-{flag.target_ip}-{flag.sender_ip}",
        **{name: row[name] for name in ("interface", "netns", "pod", "bars", "bad_bars", "said")},
        **{name: row[name] for name in ("neighbours", "failures")},
        "target": flag.target_ip,
        "reason": flag.reason,
        "page": f"#reason-{flag.reason}",
        "means": _MEANS.get(flag.reason, ""),
        "confidence": flag.confidence,
        "since": flag.since // 1_000_000,
        "before": "or longer: it was so when tracing began" if flag.before_trace else "",
        "unanswered": f"{flag.unanswered:,}",
        "because": printable(flag.evidence.because or ""),
        "evidence": printable(words(flag.evidence)),
        # What is to be copied is a command, and nothing else is.
        "advice": "" if command else " ".join(lines),
        "commands": "\n".join(lines) if command else "",
    }


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'s'[: count != 1]}" if count else ""


def _neighbours(neighbours: Sequence[NeighbourView]) -> str:
    ordered = sorted(neighbours, key=lambda each: (_NUD_ORDER.get(each.state, 6), each.ip))
    texts = [f"{each.ip} {each.state}" for each in ordered[:_NEIGHBOURS_SHOWN]]
    if more := len(ordered) - len(texts):
        texts.append(f"{more:,} more")
    return ", ".join(texts)


def _pod(pods: Pods, interface: str) -> str:
    pod: Mapping[str, str] | None = pods(interface)
    return "" if pod is None else printable(f"{pod['namespace']}/{pod['name']}")
