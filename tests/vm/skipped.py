#!/usr/bin/python3 -I
# SPDX-License-Identifier: Apache-2.0
"""skipped.py DIR: what the JUnit files below DIR say was skipped: how often, where, why."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path


def skips(directory: Path) -> Counter[tuple[str, str]]:
    """(file without .xml, reason), counted."""
    found: Counter[tuple[str, str]] = Counter()
    for path in sorted(directory.rglob("*.xml")):
        name = str(path.relative_to(directory).with_suffix(""))
        for skip in ET.parse(path).iter("skipped"):
            found[name, " ".join(skip.get("message", "").split())] += 1
    return found


def report(directory: Path) -> list[str]:
    found = skips(directory)
    return [f"{count:4} {name}: {why}" for (name, why), count in found.items()] or ["nothing"]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    print("\n".join(report(Path(sys.argv[1]))))
