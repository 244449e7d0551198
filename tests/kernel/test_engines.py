# SPDX-License-Identifier: Apache-2.0
"""Which engines this machine has: those that it lacks are named here, each with its reason."""

from __future__ import annotations

import pytest
from conftest import NAMED, NAMES, engines, why_not
from lab import Lab
from lab.tracer import Tracer


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_runs_or_says_in_one_line_why_not(root: None, name: str) -> None:
    if name in NAMED:
        assert why_not(name) is None
        return
    why = why_not(name)
    if why is None:
        return
    assert why.startswith(f"arpwhy: engine {name} cannot run: ")
    assert "\n" not in why
    pytest.skip(why)


def test_auto_takes_the_cheapest_that_runs(lab: Lab) -> None:
    with Tracer(lab.node, args=["--duration", "0.1"]) as tracer:
        code, _ = tracer.finish()
        assert code == 0
        (start,) = tracer.of_type("start")
    cheapest = next(name for name in NAMES if name in engines())
    assert start["engine"] == cheapest
