# SPDX-License-Identifier: Apache-2.0
"""What arpwhy prints as a command, pasted on the node, mends, and costs nobody anything: beside
the pod there live others, and the node itself. Advice has nothing that could be pasted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
import remedies
from conftest import EMULATED, NUMBERS, PATIENCE_S, Bench
from lab import Lab
from lab.errors import Unavailable
from lab.faults import FAULTS
from lab.pod import Pod
from lab.tracer import Line, Tracer
from lab.wiring import ROUTER_ADDRESS
from scenarios import OTHER_SENDERS, REFUSED
from snapshot import snapshot

SCENARIOS = REFUSED[: 20 if EMULATED else None]
OTHER_POOL = "10.233.7.9"
MOST = 3  # commands one after the other: what one mends may bring out what it was hiding
ASKED = 2


class Others:
    """The bystanders: a healthy pod, a limited one, one of another pool, and the node."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.pods = [
            lab.add_pod("healthy"),
            lab.add_pod("limited"),
            lab.add_pod("pool2", address=OTHER_POOL),
        ]
        for limit in ("egress_limit", "ingress_limit"):
            with contextlib.suppress(Unavailable):
                lab.break_(limit, self.pods[1])

    def reached(self) -> dict[str, bool]:
        """Whose gateway answers, and whether the node reaches its router."""
        tallies = self.lab.storm(dict.fromkeys(self.pods, ASKED), settle=0.1)
        reached = {pod.name: tally.replies == ASKED for pod, tally in tallies.items()}
        ping = self.lab.node.run(["ping", "-n", "-c", "1", "-W", "1", ROUTER_ADDRESS])
        return {**reached, "the node's router": ping.returncode == 0}


@pytest.fixture(scope="module")
def bench(any_engine: str) -> Iterator[Bench]:
    with Lab("mends", pods=0) as lab, Tracer(lab.node, engine=any_engine) as tracer:
        yield Bench(lab, tracer)


@pytest.fixture(scope="module")
def others(bench: Bench) -> Others:
    return Others(bench.lab)


@pytest.fixture
def pod(bench: Bench) -> Iterator[Pod]:
    made = bench.lab.add_pod(f"m{next(NUMBERS)}")
    assert made.ask(1).replies == 1
    yield made
    bench.lab.delete_pod(made)


def whole_again(lab: Lab, pod: Pod, fault: str, before: set[str]) -> None:
    """As before the fault, whatever of it is left: what was pasted has undone a part."""
    with contextlib.suppress(Exception):  # anything that is not there any more
        FAULTS[fault].mend(lab, pod)
    if any(record["fault"] == fault for record in lab.state.faults):
        FAULTS[fault].forget(lab, pod)
    lab.node.run(["ip", "route", "replace", "default", "via", ROUTER_ADDRESS])
    values = [line[8:].split("=", 1) for line in before if line.startswith("sysctl: ")]
    changed = before - snapshot(lab.node)
    lab.node.set_sysctls(
        {key: value for key, value in values if f"sysctl: {key}={value}" in changed}, gone_ok=True
    )
    now = snapshot(lab.node)
    for command, lines in (("del", now - before), ("add", before - now)):
        for line in lines:
            if line.startswith("route: "):
                lab.node.run(["ip", "route", command, *line.split()[1:]])
    left = without(snapshot(lab.node), pod) ^ without(before, pod)
    assert left == set(), "the test's own clearing up"


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


def without(lines: set[str], pod: Pod) -> set[str]:
    """What is not the pod's own link's."""
    return {line for line in lines if pod.interface not in line or foreign_route(line, pod)}


def foreign_route(line: str, pod: Pod) -> bool:
    """Another's address that is sent to the pod. (What the fault routes so may well go.)"""
    return line.startswith("route: ") and f"{pod.address} " not in line + " "


def of_fault(line: str, before: set[str]) -> bool:
    """Whether it is the state of a link that the fault has brought."""
    number = line.split(": ")[1]
    return line.startswith("link: ") and not any(
        each.startswith(f"link: {number}: ") for each in before
    )


def paste(lab: Lab, pod: Pod, remedy: str, before: set[str]) -> None:
    """Each line works and changes something, and nothing that is others' goes or comes.

    ``before``: the node without the fault. What the fault itself has brought may go, and what
    it has taken may come back.
    """
    under_fault = snapshot(lab.node)
    for line in remedies.pasted(remedy):
        was = snapshot(lab.node)
        done = lab.node.run(["bash", "-c", line])
        assert done.returncode == 0, (line, done.stderr)
        assert snapshot(lab.node) != was, f"does nothing: {line}"
    after = without(snapshot(lab.node), pod)
    lost = without(before & under_fault, pod) - after
    assert lost == set(), (remedy, "takes from others")
    came = {line for line in after - under_fault - before if not of_fault(line, before)}
    assert came == set(), (remedy, "gives to others")


def answered(pod: Pod) -> bool:
    """A link that came up takes its time."""
    deadline = time.monotonic() + 1.0
    while pod.ask(ASKED, settle=0.2).replies != ASKED:
        if time.monotonic() > deadline:
            return False
    return True


@pytest.mark.parametrize(
    ("reason", "fault"), SCENARIOS, ids=[f"{reason}-{fault}" for reason, fault in SCENARIOS]
)
def test_the_mend(bench: Bench, others: Others, pod: Pod, reason: str, fault: str) -> None:
    lab = bench.lab
    before = snapshot(lab.node)
    assert set(others.reached().values()) == {True}
    try:
        FAULTS[fault].break_(lab, pod)
    except Unavailable as lack:
        pytest.skip(f"{fault}: {lack}")
    try:
        flag = ask_until_flagged(bench, pod, reason, None)
        reached = others.reached()
        said = []
        while True:
            remedies.check(flag, fault if not said else None)
            said.append((flag["reason"], flag["remedy"]))
            if flag["remedy_kind"] == "advice":
                assert not answered(pod)
                break
            paste(lab, pod, flag["remedy"], before)
            now = others.reached()
            assert [who for who in now if now[who] < reached[who]] == [], said
            reached = now
            if answered(pod):
                bench.flag(pod, "cleared")
                break
            assert len(said) < MOST, said
            flag = ask_until_flagged(bench, pod, None, flag)
    finally:
        whole_again(lab, pod, fault, before)
    if fault not in OTHER_SENDERS:
        assert answered(pod)
        bench.flag(pod, "cleared")
