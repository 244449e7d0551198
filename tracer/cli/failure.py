# SPDX-License-Identifier: Apache-2.0
"""How a command says that it could not run: one line on stderr, exit status 1."""

from __future__ import annotations

import contextlib
import sys
from typing import NoReturn


def fail(message: str) -> NoReturn:
    say(f"arpwhy: {message}")
    sys.exit(1)


def say(message: str) -> None:
    """A line on stderr, if anybody still reads it."""
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)
