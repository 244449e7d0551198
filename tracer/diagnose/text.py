# SPDX-License-Identifier: Apache-2.0
"""A diagnosis for people: a table, then each problem with its mend, then warnings. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import click

from tracer.causes.conditions import CONDITIONS
from tracer.causes.remedy import Remedy
from tracer.diagnose.conditions import State
from tracer.diagnose.diagnosis import Diagnosis, Found, Problem
from tracer.diagnose.drift import Drift
from tracer.sinks.instant import clock_time
from tracer.sinks.printable import printable

T = TypeVar("T")

_WIDTH = 79
_INDENT = "    "
_NAME = 16  # IFNAMSIZ
_HEADS = {"forwarding": "forward", "other_interface": "other if"}
_CELLS: dict[State, tuple[str, dict[str, Any]]] = {
    State.PASS: ("ok", {"fg": "green"}),
    State.WARNING: ("warn", {"fg": "yellow"}),
    State.FAIL: ("NO", {"fg": "red", "bold": True}),
    State.UNREAD: ("?", {"fg": "yellow"}),
    State.UNREACHED: ("-", {"dim": True}),
}
# Of more interfaces than these, only some of each state are listed.
_LISTED = 20
_OF_MANY = 5
# Of one problem or warning that many interfaces have.
_REMEDIES = 10
_NAMED = 3


class Text:
    def __init__(self, *, colour: bool = False) -> None:
        self._colour = colour
        self._time = clock_time()

    def whole(self, diagnosis: Diagnosis, asked: str) -> str:
        """``asked``: the names or globs that were asked for."""
        found = diagnosis.interfaces
        aside = [
            line
            for name, why in diagnosis.not_pods
            for line in _wrapped(f"{name} is not judged: {why}", indent="")
        ]
        if not found and aside:
            return "".join(f"{line}\n" for line in aside)
        if not found:  # Yet, for one that keeps looking.
            return f"no interface matches {printable(asked)}\n"
        lines = [*self._table(found), *self._details(diagnosis, found), ""]
        lines += [*aside, *_wrapped(_summary(diagnosis), indent="")]
        return "".join(f"{line}\n" for line in lines)

    def change(
        self, diagnosis: Diagnosis, ts: int, changed: Sequence[Found], gone: Iterable[str]
    ) -> str:
        """What has changed since the last look, at ``ts`` (ns since the epoch)."""
        at = self._time(ts)
        lines = [f"{at} {printable(name):{_NAME}}gone" for name in gone]
        lines += [f"{at} {printable(each.interface):{_NAME}}{self._word(each)}" for each in changed]
        lines += self._details(diagnosis, changed)
        return "".join(f"{line}\n" for line in lines)

    def _word(self, found: Found) -> str:
        if found.reason is not None:
            return self._style(found.reason, fg="red", bold=True)
        if found.warnings:
            names = ", ".join(dict.fromkeys(warning.name for warning in found.warnings))
            return self._style(f"ok, with warnings: {names}", fg="yellow")
        return self._style("ok", fg="green")

    def _style(self, text: str, **style: Any) -> str:
        return click.style(text, **style) if self._colour and style else text

    def _table(self, found: Sequence[Found]) -> Iterator[str]:
        heads = {each.name: _HEADS.get(each.name, each.name) for each in CONDITIONS}
        yield f"{'interface':{_NAME}}{' '.join(heads.values())}"
        for group in _alike(found):
            for each in group if len(found) <= _LISTED else group[:_OF_MANY]:
                cells = []
                for name, head in heads.items():
                    word, style = _CELLS[each.conditions[name]]
                    cells.append(self._style(f"{word:{len(head)}}", **style))
                yield f"{printable(each.interface):{_NAME - 1}} {' '.join(cells)}".rstrip()
            if len(found) > _LISTED and len(group) > _OF_MANY:
                yield f"... and {len(group) - _OF_MANY} more like {printable(group[0].interface)}"

    def _details(self, diagnosis: Diagnosis, found: Sequence[Found]) -> Iterator[str]:
        problems = [(each.interface, problem) for each in found for problem in each.problems]
        for group in _grouped(problems, _same):
            yield ""
            yield from self._problem(group, diagnosis.target_ip)
        warnings = [(each.interface, warning) for each in found for warning in each.warnings]
        for drifts in _grouped(warnings, lambda warning: (warning.name, warning.text)):
            yield ""
            yield from self._warning(drifts)
        unread = [(each.interface, failure) for each in found for failure in each.unread]
        for failures in _grouped(unread, lambda failure: failure):
            yield ""
            yield from _wrapped(f"{_names(failures)}: could not read {failures[0][1]}", indent="")

    def _problem(self, group: list[tuple[str, Problem]], target_ip: str) -> Iterator[str]:
        problem = group[0][1]
        head = f"{_names(group)} {'get' if len(group) > 1 else 'gets'} no reply for {target_ip}"
        yield from (
            self._style(line, fg="red", bold=True)
            for line in _wrapped(f"{head}: {problem.reason}", indent="")
        )
        yield from _wrapped(problem.cause.means)
        yield from _wrapped(f"because {problem.because}")
        yield from self._mend([problem.remedy for _, problem in group])
        if problem.cause.lasting:
            yield from _wrapped(f"so that it stays: {problem.cause.lasting}")

    def _warning(self, group: list[tuple[str, Drift]]) -> Iterator[str]:
        head = f"{_names(group)}: {group[0][1].whole if len(group) == 1 else group[0][1].text}"
        yield from (self._style(line, fg="yellow") for line in _wrapped(head, indent=""))
        yield from self._mend([warning.remedy for _, warning in group])

    def _mend(self, remedies: list[Remedy]) -> Iterator[str]:
        """Sentences wrapped; each command on a line of its own, whole, to be pasted."""
        distinct = list(dict.fromkeys(remedies))
        label = "mend:"
        for remedy in distinct[:_REMEDIES]:
            for line in remedy.text.split("\n"):
                if remedy.kind == "advice":
                    yield from _wrapped(f"{label} {line}")
                else:
                    yield from _wrapped(label)
                    yield _INDENT + self._style(printable(line), bold=True)
                label = ""
        if len(distinct) > _REMEDIES:
            yield f"{_INDENT}... and {len(distinct) - _REMEDIES} more: --format json has them all"


def _same(problem: Problem) -> tuple[str, str]:
    """One mend for all, or a mend of one line for each: one paragraph."""
    return problem.reason, problem.remedy.text if "\n" in problem.remedy.text else ""


def _grouped(items: list[tuple[str, T]], key: Callable[[T], object]) -> list[list[tuple[str, T]]]:
    groups: dict[object, list[tuple[str, T]]] = {}
    for name, item in items:
        groups.setdefault(key(item), []).append((name, item))
    return list(groups.values())


def _names(group: Sequence[tuple[str, object]]) -> str:
    names = list(dict.fromkeys(name for name, _ in group))
    if len(names) <= _NAMED:
        return printable(", ".join(names))
    return printable(f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more")


def _alike(found: Sequence[Found]) -> list[list[Found]]:
    """Those in the same state, the worst first; one group while they are few."""
    if len(found) <= _LISTED:
        return [list(found)]
    groups: dict[object, list[Found]] = {}
    for each in found:
        groups.setdefault(tuple(each.conditions.items()), []).append(each)
    return sorted(groups.values(), key=lambda group: (not group[0].problems, len(group)))


def _summary(diagnosis: Diagnosis) -> str:
    found = diagnosis.interfaces
    broken = sum(1 for each in found if each.problems)
    warned = sum(1 for each in found if each.warnings and not each.problems)
    unjudged = sum(1 for each in found if not each.judged)
    well = "no problem found" if unjudged else "no problem"
    parts = [
        _number(len(found), "interface"),
        f"{broken} without a reply" if broken else well,
    ]
    if warned:
        parts.append(f"{warned} with warnings")
    if unjudged:
        rights = dict.fromkeys(right for each in found for right in each.missing)
        parts.append(
            f"{unjudged} not judged whole{': needs ' if rights else ''}{', '.join(rights)}"
        )
    return ", ".join(parts)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _wrapped(text: str, indent: str = _INDENT) -> list[str]:
    return textwrap.wrap(
        printable(text),
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
