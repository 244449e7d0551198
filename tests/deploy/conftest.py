# SPDX-License-Identifier: Apache-2.0
"""The real kubectl and helm, and what is asked of whatever they render."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import clients
import pytest


class Client:
    """One of them; called with its arguments."""

    def __init__(self, find: Callable[[], Path]) -> None:
        try:
            self.program = find()
        except clients.ClientsError as error:
            pytest.skip(str(error))

    def __call__(self, *args: object, fails: bool = False) -> str:
        """What it prints; ``fails``: what it says when it refuses."""
        argv = [str(self.program), *map(str, args)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout


@pytest.fixture(scope="session")
def kubectl() -> Client:
    return Client(clients.kubectl)


@pytest.fixture(scope="session")
def helm() -> Client:
    return Client(clients.helm)
