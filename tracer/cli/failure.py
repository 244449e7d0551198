# SPDX-License-Identifier: Apache-2.0
"""How a command says that it could not run: one line on stderr, exit status 1."""

from __future__ import annotations

import sys
from typing import NoReturn


def fail(message: str) -> NoReturn:
    print(f"arpwhy: {message}", file=sys.stderr)
    sys.exit(1)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
