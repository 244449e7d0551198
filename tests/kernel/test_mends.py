# SPDX-License-Identifier: Apache-2.0
"""What arpwhy prints as the mend, pasted on the node, mends: the pod is answered again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
from conftest import EMULATED, NUMBERS, PATIENCE_S, Bench
from lab import Lab
from lab.errors import Unavailable
from lab.faults import FAULTS
from lab.pod import Pod
from lab.tracer import Line, Tracer
from lab.wiring import ROUTER_ADDRESS

from tracer.causes import CAUSES

# The mend is in the pod, or what is wrong may be another's, and so a sentence: nothing on the
# node is to be changed.
IN_THE_POD = (
    *("link_down", "other_mac_request", "malformed_hardware", "malformed_lengths"),
    *("source_route_foreign", "source_local", "tc_ingress_drop", "tc_ingress_stolen"),
    *("tc_egress_drop", "tc_egress_stolen"),
)
# The lab's node has no other default route below the one that refuses. That the reason is
# still no_route no new flag says (docs/KNOWN_ISSUES.md).
DEFAULT = f"ip route add default via {ROUTER_ADDRESS}"
AFTERWARDS = {"unreachable_default": DEFAULT, "throw_default": DEFAULT}

SCENARIOS = [
    (cause.name, fault)
    for cause in CAUSES
    for fault in [name for name in cause.shown_by if name not in IN_THE_POD][
        : 1 if EMULATED else None
    ]
]


@pytest.fixture(scope="module")
def bench(any_engine: str) -> Iterator[Bench]:
    with Lab("mends", pods=0) as lab, Tracer(lab.node, engine=any_engine) as tracer:
        yield Bench(lab, tracer)


@pytest.fixture
def pod(bench: Bench) -> Iterator[Pod]:
    made = bench.lab.add_pod(f"m{next(NUMBERS)}")
    assert made.ask(1).replies == 1
    yield made
    bench.lab.delete_pod(made)


def whole_again(lab: Lab, pod: Pod, fault: str) -> None:
    """As before the fault, whatever of it is left: what was pasted has undone a part."""
    with contextlib.suppress(Exception):  # anything that is not there any more
        FAULTS[fault].mend(lab, pod)
    if any(record["fault"] == fault for record in lab.state.faults):
        FAULTS[fault].forget(lab, pod)
    lab.node.run(["ip", "route", "replace", "default", "via", ROUTER_ADDRESS])


def newest(bench: Bench, pod: Pod) -> Line | None:
    flags = bench.tracer.flags(pod.interface, state="raised")
    return flags[-1] if flags else None


def ask_until_flagged(bench: Bench, pod: Pod, reason: str | None, known: Line | None) -> Line:
    """A flag of that reason, or any that is newer than ``known``."""
    deadline = time.monotonic() + 2 * PATIENCE_S
    while time.monotonic() < deadline:
        pod.ask(1, settle=0.01)
        flag = newest(bench, pod)
        if flag is not None and flag != known and reason in (None, flag["reason"]):
            return flag
        time.sleep(0.2)
    pytest.fail(f"no flag; {bench.tracer.flags(pod.interface)}")


def paste(lab: Lab, remedy: str) -> None:
    for line in remedy.replace("GATEWAY", ROUTER_ADDRESS).split("\n"):
        if not line.endswith("."):
            done = lab.node.run(["sh", "-c", line])
            assert done.returncode == 0, (line, done.stderr)


@pytest.mark.parametrize(
    ("reason", "fault"), SCENARIOS, ids=[f"{reason}-{fault}" for reason, fault in SCENARIOS]
)
def test_the_mend(bench: Bench, pod: Pod, reason: str, fault: str) -> None:
    lab = bench.lab
    try:
        FAULTS[fault].break_(lab, pod)
    except Unavailable as lack:
        pytest.skip(f"{fault}: {lack}")
    try:
        flag = ask_until_flagged(bench, pod, reason, None)
        pasted = []
        # What it mends may bring out what it was hiding: that is flagged in its turn.
        while True:
            paste(lab, flag["remedy"])
            pasted.append(flag["remedy"])
            paste(lab, AFTERWARDS.get(fault, "."))
            if pod.ask(2).replies == 2:
                break
            assert len(pasted) < 3, pasted
            flag = ask_until_flagged(bench, pod, None, flag)
        bench.flag(pod, "cleared")
    finally:
        whole_again(lab, pod, fault)
