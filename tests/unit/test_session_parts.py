# SPDX-License-Identifier: Apache-2.0
"""What a session reads of the machine."""

from __future__ import annotations

import pytest

from tracer.kernel.realtime import OPTION, _without_lock
from tracer.kernel.session import possible_cpus


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0\n", [0]), ("0-3\n", [0, 1, 2, 3]), ("0-1,8-9,12\n", [0, 1, 8, 9, 12])],
)
def test_cpu_numbers_may_have_holes(text: str, cpus: list[int]) -> None:
    assert possible_cpus(text) == cpus


def test_a_realtime_kernel_without_the_softirq_lock_is_refused() -> None:
    assert _without_lock(f"# {OPTION} is not set\n")
    assert _without_lock(f"{OPTION}=y\n") is None
    assert _without_lock("CONFIG_PREEMPT_RT=y\n") is None  # older than the option
    assert _without_lock(None) is None
