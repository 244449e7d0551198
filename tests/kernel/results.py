# SPDX-License-Identifier: Apache-2.0
"""What the scenario tests found: which fault each engine named, and how sure it was.

Kept in causes.jsonl in the directory $ARPWHY_OUT, if that is set, and printed as a table at
the end of the session.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from conftest import WHY_NOT


@dataclass(frozen=True)
class Result:
    """``reason``: what the fault is an example of. ``named``, ``confidence``: what the engine
    said. ``why_not``: why the fault, or the engine, could not be had here."""

    engine: str
    reason: str
    fault: str
    named: str | None = None
    confidence: str | None = None
    why_not: str | None = None

    @property
    def cell(self) -> str:
        if self.why_not is not None:
            return "-"
        if self.named is None:
            return "not seen"
        name = "" if self.named == self.reason else f"{self.named}, "
        return f"{name}{self.confidence}"


_RESULTS: list[Result] = []


def note(result: Result) -> None:
    _RESULTS.append(result)
    out = os.environ.get("ARPWHY_OUT")
    if out:
        line = json.dumps({"kernel": os.uname().release, **asdict(result)})
        with Path(out, "causes.jsonl").open("a") as file:
            file.write(f"{line}\n")


def note_unavailable(reason: str, fault: str, why_not: str) -> None:
    for engine in WHY_NOT:
        note(Result(engine, reason, fault, why_not=why_not))


def table() -> Iterator[str]:
    """Reason, fault, and what each engine said; then what could not be had."""
    engines = list(WHY_NOT)
    cells: dict[tuple[str, str], dict[str, str]] = {}
    lacking: dict[str, None] = {}
    for result in _RESULTS:
        cells.setdefault((result.reason, result.fault), {})[result.engine] = result.cell
        if result.why_not is not None:
            lacks = result.engine if result.why_not == WHY_NOT[result.engine] else result.fault
            lacking[f"- {lacks}: {result.why_not}"] = None
    if not cells:
        return
    rows = [("reason", "fault", *engines)]
    rows += [(*key, *(found.get(name, "") for name in engines)) for key, found in cells.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
    yield from lacking
