# SPDX-License-Identifier: Apache-2.0
"""Which engines run on this kernel: the other tests run with each that does."""

from __future__ import annotations

import subprocess

import pytest
from conftest import DEMANDED, WHY_NOT
from lab.tracer import command


@pytest.mark.parametrize("name", WHY_NOT)
def test_engine_can_run(name: str) -> None:
    why = WHY_NOT[name]
    assert not (why and DEMANDED), f"demanded, but: {why}"
    if why:
        pytest.skip(why)


def test_auto_takes_the_first_that_can() -> None:
    argv = [*command(), "trace", "-i", "nosuch*", "--duration", "0.1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0
    if DEMANDED:
        return  # others may be able to run too
    first = next(name for name, why in WHY_NOT.items() if not why)
    assert f"engine {first};" in done.stderr
    for name, why in WHY_NOT.items():
        assert (f"no {name} engine: " in done.stderr) is bool(why)
