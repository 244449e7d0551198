#!/usr/bin/python3 -I
# SPDX-License-Identifier: Apache-2.0
"""matrix.py RESULTS...: the table of who named what on which kernel, of a run's results.
matrix.py --write RESULTS...: keep them in tests/vm/results.jsonl and make docs/kernels.md.
matrix.py --write: make docs/kernels.md again, of the results that are kept.

RESULTS are the causes.jsonl that tests/kernel/results.py writes, one object a line, or
directories with such files below; of the same kernel, engine and fault the last one counts.
The kernels are those of tests/vm/kernels.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
KERNELS = TOP / "tests/vm/kernels"
KEPT = TOP / "tests/vm/results.jsonl"
DOCS = TOP / "docs/kernels.md"

ENGINES = ("fentry", "kprobe", "tracepoint")


@dataclass(frozen=True)
class Kernel:
    """A line of tests/vm/kernels, or (``userland`` empty) a machine that is not listed."""

    version: str  # its first two numbers
    userland: str = ""
    source: str = ""
    bcc: str = ""
    python: str = ""

    @property
    def runs_on(self) -> str:
        if not self.userland:
            return "the build machine, no guest"
        kernel = "" if self.source == self.userland else f", kernel from {self.source}"
        return f"Debian {self.userland}{kernel}; Python {self.python}, bcc {self.bcc}"


@dataclass(frozen=True)
class Result:
    """As in tests/kernel/results.py; ``kernel``: its first two numbers."""

    kernel: str
    engine: str
    reason: str
    fault: str
    named: str | None
    confidence: str | None
    why_not: str | None

    @property
    def outcome(self) -> str:
        if self.named is None:
            return "not seen"
        return f"{self.confidence}" if self.named == self.reason else f"WRONG: {self.named}"


def read_kernels(text: str) -> list[Kernel]:
    kernels = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            _, userland, source, version, bcc, python, *_ = line.split()
            kernels.append(Kernel(version, userland, source, bcc, python))
    return kernels


def version_of(release: str) -> str:
    """6.1.0-56-cloud-amd64 -> 6.1"""
    found = re.match(r"\d+\.\d+", release)
    return found[0] if found else release


def read_results(lines: Iterable[str]) -> list[Result]:
    """In the order in which each kernel, engine and fault came first."""
    newest: dict[tuple[str, str, str, str], Result] = {}
    for line in lines:
        fields = json.loads(line)
        fields["kernel"] = version_of(fields["kernel"])
        result = Result(**fields)
        newest[result.kernel, result.engine, result.reason, result.fault] = result
    return list(newest.values())


class Matrix:
    """The results, by kernel and by fault."""

    def __init__(self, kernels: Sequence[Kernel], results: Sequence[Result]) -> None:
        self.notes: list[str] = []
        listed = [kernel.version for kernel in kernels]
        others = sorted({result.kernel for result in results} - set(listed))
        self.kernels = [*kernels, *map(Kernel, others)]
        self.faults = list(dict.fromkeys((result.reason, result.fault) for result in results))
        self.results = {(r.kernel, r.engine, r.reason, r.fault): r for r in results}

    def note(self, text: str) -> str:
        """Its mark in the table."""
        text = text.removeprefix("arpwhy: ")
        if text not in self.notes:
            self.notes.append(text)
        return f"[{self.notes.index(text) + 1}]"

    def cannot_run(self, kernel: Kernel, engine: str) -> str | None:
        """Why the engine named no fault at all there; None if it did."""
        of_engine = [
            result
            for (version, name, _, _), result in self.results.items()
            if (version, name) == (kernel.version, engine)
        ]
        if any(result.why_not is None for result in of_engine):
            return None
        whys = [result.why_not for result in of_engine if result.why_not is not None]
        # A fault that is not to be had there says so for all engines alike.
        own = [why for why in whys if engine in why]
        return max(own or whys, key=whys.count) if whys else "not tried"

    def engine_cell(self, kernel: Kernel, engine: str) -> str:
        why = self.cannot_run(kernel, engine)
        if why is None:
            return "runs"
        return why if why == "not tried" else f"no {self.note(why)}"

    def cell(self, kernel: Kernel, reason: str, fault: str) -> str:
        """What the engines that run there said; where they differ, which said what."""
        said: dict[str, list[str]] = {}
        for engine in ENGINES:
            result = self.results.get((kernel.version, engine, reason, fault))
            if result is None or self.cannot_run(kernel, engine):
                continue
            outcome = result.outcome
            if result.why_not is not None:
                outcome = f"cannot be had {self.note(result.why_not)}"
            said.setdefault(outcome, []).append(engine)
        if not said:
            return ""
        if len(said) == 1:
            return next(iter(said))
        return ", ".join(f"{outcome} ({' '.join(engines)})" for outcome, engines in said.items())

    def engine_rows(self) -> list[tuple[str, ...]]:
        return [
            ("Linux", "on", *ENGINES),
            *(
                (
                    kernel.version,
                    kernel.runs_on,
                    *(self.engine_cell(kernel, engine) for engine in ENGINES),
                )
                for kernel in self.kernels
            ),
        ]

    def fault_rows(self) -> list[tuple[str, ...]]:
        return [
            ("reason", "fault", *(kernel.version for kernel in self.kernels)),
            *(
                (reason, fault, *(self.cell(kernel, reason, fault) for kernel in self.kernels))
                for reason, fault in self.faults
            ),
        ]

    def note_lines(self) -> list[str]:
        return [f"[{number}] {text}" for number, text in enumerate(self.notes, 1)]


def plain(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]


def terminal(matrix: Matrix) -> str:
    lines = [*plain(matrix.engine_rows()), "", *plain(matrix.fault_rows())]
    return "\n".join([*lines, *matrix.note_lines()])


def page(matrix: Matrix) -> str:
    engines, faults = markdown(matrix.engine_rows()), markdown(matrix.fault_rows())
    notes = [f"- {line}" for line in matrix.note_lines()]
    return "\n".join(
        [
            "<!-- Made by tests/vm/matrix.py --write, of tests/vm/results.jsonl: do not edit. -->",
            "# Kernels",
            "",
            "Which engine runs on which kernel, and what it made of every fault of the lab. The "
            "kernels",
            "are those of `tests/vm/kernels`, run by `scripts/test --kernels all`.",
            "",
            *engines,
            "",
            "In one cell is what all engines said that run there, or which of them said what:",
            "",
            "- `observed`: the reason is right, from what the kernel did to the request;",
            "- `inferred`: the reason is right, from the node's configuration;",
            "- `not seen`: no request of this fault reaches a hook of that engine "
            "(docs/KNOWN_ISSUES.md);",
            "- `cannot be had`: the fault cannot be brought about on that kernel.",
            "",
            "The rows `answered` are bystanders: they look like faults, each request is answered, "
            "and",
            "nothing is flagged.",
            "",
            *faults,
            *(["", *notes] if notes else []),
            "",
        ]
    )


def lines_of(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        for file in sorted(path.rglob("causes.jsonl")) if path.is_dir() else [path]:
            yield from file.read_text().splitlines()


def main(arguments: list[str]) -> int:
    write = "--write" in arguments
    paths = [Path(argument) for argument in arguments if argument != "--write"]
    if any(str(path).startswith("-") for path in paths) or not (paths or write):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        results = read_results(lines_of(paths or [KEPT]))
    except OSError as error:
        print(f"matrix: cannot read {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except (ValueError, TypeError, KeyError) as error:
        print(f"matrix: not a file of results: {error}", file=sys.stderr)
        return 1
    kernels = read_kernels(KERNELS.read_text())
    if not write:
        tried = {result.kernel for result in results}
        kernels = [kernel for kernel in kernels if kernel.version in tried]
        print(terminal(Matrix(kernels, results)))
        return 0
    matrix = Matrix(kernels, results)
    if paths:
        KEPT.write_text("".join(f"{json.dumps(asdict(result))}\n" for result in results))
    DOCS.write_text(page(matrix))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
