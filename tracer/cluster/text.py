# SPDX-License-Identifier: Apache-2.0
"""A cluster for people: a table for each node with a flag, the unknown nodes, a total. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import click

from tracer.cluster.questions import UNANSWERED_MINUTES
from tracer.cluster.view import Cluster, Flagged, Node, Since, State
from tracer.options import DEFAULT_TARGETS
from tracer.sinks.instant import duration
from tracer.sinks.printable import printable

# Of one reason on one node; --format json has all.
_LISTED = 10
_OF_MANY = 5


class Text:
    def __init__(self, *, colour: bool = False) -> None:
        self._colour = colour

    def whole(self, cluster: Cluster) -> str:
        lines: list[str] = []
        for node in cluster.nodes:
            if node.flagged:
                lines += [*self._flagged(node, cluster.ts), ""]
        unknown = [node for node in cluster.nodes if not node.known]
        lines += [self._unknown(node, cluster.ts) for node in unknown]
        if unknown:
            lines.append("")
        lines.append(_summary(cluster))
        if cluster.silent:
            lines.append("The mend: arpwhy diagnose on the node; arpwhy explain REASON.")
        return "".join(f"{line}\n" for line in lines)

    def _flagged(self, node: Node, now: float) -> Iterator[str]:
        many = node.silent
        of = "" if node.interfaces is None else f" of {node.interfaces}"
        yield self._style(
            f"{_name(node)}: {many}{of} interface{_s(node.interfaces or many)}"
            f" get{'s' if many == 1 else ''} no reply",
            fg="red",
            bold=True,
        )
        with_target = any(each.target not in DEFAULT_TARGETS for each in node.flagged)
        rows = [_head(with_target)]
        for _, group in groupby(node.flagged, key=lambda each: each.reason):
            alike = list(group)
            few = alike if len(alike) <= _LISTED else alike[:_OF_MANY]
            rows += [_row(each, now, with_target) for each in few]
            if more := len(alike) - len(few):
                rows.append((f"... and {more} more: {printable(alike[0].reason)}",))
        yield from _aligned(rows)

    def _unknown(self, node: Node, now: float) -> str:
        if node.state is State.DOWN:
            since = "" if node.since is None else f" for {_age(node.since, now)}"
            what = f"no answer from its exporter{since}"
        else:
            what = "what answers there is no arpwhy exporter"
        return self._style(f"{_name(node)}: {what}: its state is unknown", fg="yellow", bold=True)

    def _style(self, text: str, **style: Any) -> str:
        return click.style(text, **style) if self._colour else text


def _head(with_target: bool) -> tuple[str, ...]:
    target = ("target",) if with_target else ()
    return ("interface", *target, "reason", "for", f"unanswered/{UNANSWERED_MINUTES}m", "pod")


def _row(flagged: Flagged, now: float, with_target: bool) -> tuple[str, ...]:
    target = (flagged.target,) if with_target else ()
    unanswered = "-" if flagged.unanswered is None else str(flagged.unanswered)
    pod = f"{flagged.namespace}/{flagged.pod}" if flagged.pod else "-"
    cells = (
        flagged.interface,
        *target,
        flagged.reason,
        _age(flagged.since, now),
        unanswered,
        pod,
    )
    return tuple(map(printable, cells))


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    full = [row for row in rows if len(row) > 1]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)]
        yield f"  {'  '.join(cells)}".rstrip()


def _name(node: Node) -> str:
    return printable(f"{node.cluster}/{node.name}" if node.cluster else node.name)


def _age(since: Since, now: float) -> str:
    """Of what is known to some seconds."""
    age = max(0.0, now - since.ts)
    return f"{'>' if since.longer else ''}{f'{age:.0f}s' if age < 59.5 else duration(age)}"


def _summary(cluster: Cluster) -> str:
    nodes, unknown, flagged = len(cluster.nodes), cluster.unknown, cluster.silent
    watched = sum(node.interfaces or 0 for node in cluster.nodes)
    parts = [
        f"{nodes} node{_s(nodes)}" + (f", {unknown} unknown" if unknown else ""),
        f"{watched} interface{_s(watched)}, "
        + (f"{flagged} without a reply" if flagged else "none without a reply"),
    ]
    return ": ".join(parts)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
