# SPDX-License-Identifier: Apache-2.0
"""What the doctor says to people: a line a thing, at most 79 columns. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import click

from tracer import __version__
from tracer.doctor.checks import State, checks
from tracer.doctor.facts import Facts
from tracer.doctor.trial import EngineTrial, HookTrial
from tracer.sinks.printable import printable

_WIDTH = 79
_WORDS = {State.OK: "ok", State.NO: "no", State.UNKNOWN: "??", State.NOTE: "--"}
_STYLES: dict[State, dict[str, Any]] = {
    State.OK: {"fg": "green"},
    State.NO: {"fg": "red", "bold": True},
    State.UNKNOWN: {"fg": "yellow"},
    State.NOTE: {"dim": True},
}
_NAME = 26  # as long as the longest hook, and a space
_CELL = 12
_RETURN = {"fexit", "kretprobe"}


def text(facts: Facts, *, colour: bool = False) -> str:
    def mark(state: State, width: int = 2) -> str:
        word = f"{_WORDS[state]:<{width}}"
        return click.style(word, **_STYLES[state]) if colour else word

    lines = [f"arpwhy {__version__} on Linux {facts.release}, {facts.machine}"]
    for group, found in groupby(checks(facts), lambda check: check.group):
        lines += ["", group]
        for check in found:
            lines += _line(mark(check.state), check.name, check.text)
    if any(engine.tried for engine in facts.trial.engines):
        lines += ["", *_hooks(facts.trial.engines, mark)]
    lines += ["", "engines"]
    for engine in facts.trial.engines:
        lines += _line(mark(_engine_state(engine)), engine.name, _of_engine(engine))
    lines += ["", *textwrap.wrap(printable(summary(facts)), _WIDTH, break_on_hyphens=False)]
    return "\n".join(lines) + "\n"


def summary(facts: Facts) -> str:
    """Which engine ``auto`` takes, and why none of the better ones."""
    better = {}
    for engine in facts.trial.engines:
        if engine.name == facts.auto:
            break
        better[engine.name] = engine.why or facts.libbpf_why
    if facts.auto is None and len(set(better.values())) == 1:
        return f"auto takes none: {next(iter(better.values()))}"
    passed_over = (f"{name}: {why}" for name, why in better.items())
    return "; ".join((f"auto takes {facts.auto or 'none'}", *passed_over))


def _line(mark: str, name: str, said: str) -> list[str]:
    wrapped = textwrap.wrap(
        printable(said), _WIDTH - 6 - _NAME, break_on_hyphens=False, break_long_words=False
    ) or [""]
    first = f"  {mark}  {name:<{_NAME}}{wrapped[0]}"
    return [first, *(" " * (6 + _NAME) + rest for rest in wrapped[1:])]


def _hooks(engines: tuple[EngineTrial, ...], mark: Callable[[State, int], str]) -> Iterator[str]:
    """A row a hook, a column an engine."""
    table: dict[str, dict[str, HookTrial]] = {}
    for engine in engines:
        for hook in engine.hooks:
            table.setdefault(_place(hook), {})[engine.name] = hook
    heads = "".join(f"{engine.name:<{_CELL}}" for engine in engines)
    yield f"{'hooks, tried':<{_NAME + 6}}{heads}".rstrip()
    for place, found in sorted(table.items(), key=lambda row: "(" in row[0]):
        optional = all(hook.optional for hook in found.values())
        cells = (
            mark(_hook_state(found[engine.name]), _CELL) if engine.name in found else " " * _CELL
            for engine in engines
        )
        yield f"  {'*' if optional else ' '}   {place:<{_NAME}}{''.join(cells)}".rstrip()
    yield "  *   tells causes apart; an engine runs without it"


def _place(hook: HookTrial) -> str:
    if hook.kind == "raw_tracepoint":
        return hook.place
    return f"{hook.place}() {'return' if hook.kind in _RETURN else ''}".rstrip()


def _hook_state(hook: HookTrial) -> State:
    return {True: State.OK, False: State.NO, None: State.UNKNOWN}[hook.attached]


def _engine_state(engine: EngineTrial) -> State:
    if engine.why is None:
        return State.OK
    return State.NO if engine.tried else State.UNKNOWN


def _of_engine(engine: EngineTrial) -> str:
    if _engine_state(engine) is State.UNKNOWN:
        return f"not tried: {engine.why}"
    if engine.why:
        return engine.why
    without = [f"{hook.place} ({hook.why})" for hook in engine.hooks if not hook.attached]
    return f"can run, without {', '.join(without)}" if without else "can run"
