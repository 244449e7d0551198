#!/usr/bin/python3 -I
# SPDX-License-Identifier: Apache-2.0
"""covered.py FILE: how much of each package FILE, written by "coverage json", says ran."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path


def report(measured: dict[str, dict[str, dict[str, int]]]) -> list[str]:
    """A line a package and one for all: percent, statements, name. Of coverage's ``files``."""
    statements: Counter[str] = Counter()
    ran: Counter[str] = Counter()
    for path, file in measured.items():
        for name in (str(Path(path).parent), "total"):
            statements[name] += file["summary"]["num_statements"]
            ran[name] += file["summary"]["covered_lines"]
    packages = sorted(statements.keys() - {"total"})
    return [
        f"{100 * ran[name] / statements[name]:3.0f}% of {statements[name]:5} {name}"
        for name in (*packages, "total")
        if statements[name]
    ]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    print("\n".join(report(json.loads(Path(sys.argv[1]).read_text())["files"])))
