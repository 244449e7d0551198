# SPDX-License-Identifier: Apache-2.0
"""The C that bcc compiles: one text, for bcc rewrites map calls in the main file alone."""

from __future__ import annotations

import re
from pathlib import Path

_INCLUDE = re.compile(r'^#include "([a-z_]+\.h)"$', re.MULTILINE)


def directory() -> Path:
    """Where the C files are: in the wheel inside the package, in a checkout beside it."""
    package = Path(__file__).resolve().parent.parent
    for place in (package / "bpf", package.parent / "bpf"):
        if (place / "event.h").is_file():
            return place
    raise FileNotFoundError("arpwhy's C files (bpf/) are not installed beside its Python")


def assemble(name: str) -> str:
    """``name`` with our own headers pulled in, each once."""
    seen: set[str] = set()

    def text_of(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = (directory() / name).read_text()
        return _INCLUDE.sub(lambda found: text_of(found[1]), text)

    return text_of(name)
