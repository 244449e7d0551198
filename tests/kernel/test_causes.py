# SPDX-License-Identifier: Apache-2.0
"""Every fault of the lab is named by every engine, from what the kernel did to the request.

All engines trace the same lab at the same time, so that they judge the same requests.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest
import remedies
import scenarios
from conftest import EMULATED, NUMBERS, PATIENCE_S, WHY_NOT, Bench, every_engine
from lab import Lab
from lab.errors import Unavailable
from lab.faults import FAULTS
from lab.names import GATEWAY
from lab.pod import Pod
from lab.tracer import Line, TracerError
from results import Result, note, note_unavailable
from scenarios import CLAIMED, NOT_TAKEN, OTHER_SENDERS, REFUSED

from tracer.causes import CAUSES, INFERRED, OBSERVED

# No more than so many faults of each cause, where time is short.
CHOSEN = scenarios.at_most(int(os.environ.get("ARPWHY_FAULTS") or len(REFUSED)))

# Flagged without any request, two seconds after the link went there. Who sees no request
# (SEEN_BY) infers it: no request's own path shows it.
LINK_STATES = ("link_down", "host_link_down", "bridge_port")
# The engines that see the requests, of those faults where not every one does.
SEEN_BY = {
    # A function probe sees a request in arp_rcv, or where something drops it. The bridge
    # takes it before, and what tc takes is consumed, not dropped.
    "bridge_port": ("tracepoint",),
    "tc_ingress_stolen": ("tracepoint",),
    # Nothing comes in.
    "link_down": (),
    "host_link_down": (),
}

# While a BPF map is read on a CPU, the kernel skips the programs of kprobes there
# (kernel/bpf/syscall.c, bpf_disable_instrumentation; docs/KNOWN_ISSUES.md), and the other
# engines' traces read theirs meanwhile. Emulated, that takes long enough to be met.
MAY_MISS = {"kprobe": 1} if EMULATED else {}
ROUND = 3
PAUSE_S = 1.0 if EMULATED else 0.3

Benches = Mapping[str, Bench]


@pytest.fixture(scope="session")
def benches() -> Iterator[Benches]:
    with Lab("causes", pods=0) as lab, every_engine(lab) as traces:
        yield traces


def healthy(benches: Benches) -> Pod:
    """A new pod that every engine has seen answered."""
    lab = next(iter(benches.values())).lab
    made = lab.add_pod(f"c{next(NUMBERS)}")
    assert made.ask(2).replies == 2
    for bench in benches.values():
        assert bench.verdicts(made, 2) == {"answered": 2}
    return made


@pytest.fixture
def pod(benches: Benches) -> Iterator[Pod]:
    """A healthy pod, of this test alone."""
    made = healthy(benches)
    yield made
    made.delete()


@contextmanager
def broken(pod: Pod, *faults: str) -> Iterator[None]:
    """Mended when the block ends, but for those that the block itself has mended."""
    undone = []
    try:
        for name in faults:
            FAULTS[name].break_(pod.lab, pod)
            undone.append(name)
        yield
    except Unavailable as lack:
        pytest.skip(str(lack))
    finally:
        there = {record["fault"] for record in pod.lab.state.faults}
        for name in reversed([name for name in undone if name in there]):
            FAULTS[name].mend(pod.lab, pod)


def flags(bench: Bench, pod: Pod) -> list[Line]:
    """The pod's flags since it was up: emulated, wiring it may take the 2 s of a link state."""
    up = bench.tracer.requests(pod.interface)[0]["ts"]
    return [flag for flag in bench.tracer.flags(pod.interface) if flag["ts"] > up]


def said(bench: Bench, pod: Pod) -> list[tuple[str, str]]:
    """(state, reason) of each. Emulated, a look may take longer than the second it has."""
    pairs = [(flag["state"], flag["reason"]) for flag in flags(bench, pod)]
    return [pair for pair in pairs if not (EMULATED and pair == ("raised", "unknown"))]


def raised(bench: Bench, pod: Pod) -> list[Line]:
    return [flag for flag in flags(bench, pod) if flag["state"] == "raised"]


def named(bench: Bench, pod: Pod) -> tuple[str | None, str | None]:
    """Reason and confidence by the newest word on the pod's interface."""
    up = raised(bench, pod)
    requests = bench.tracer.requests(pod.interface, verdict="unanswered")
    if not up:
        return None, None
    newest = requests[-1] if requests and requests[-1]["ts"] > up[-1]["ts"] else up[-1]
    return newest["reason"], newest["confidence"]


def ask_until(pod: Pod, done: Callable[[], bool]) -> int:
    """Ask again and again, as a pod does, until it is so; how often was asked."""
    asked = 0
    deadline = time.monotonic() + 2 * PATIENCE_S
    while not done() and time.monotonic() < deadline:
        tally = pod.ask(ROUND, settle=0.01)
        assert tally.replies == 0
        asked += tally.sent
        time.sleep(PAUSE_S)
    return asked


def ask_until_named(
    benches: Benches, pod: Pod, expected: Mapping[str, tuple[str | None, str | None]]
) -> int:
    """Until every engine says what is expected of it: (reason, confidence)."""
    return ask_until(
        pod, lambda: {name: named(bench, pod) for name, bench in benches.items()} == expected
    )


def evidence(bench: Bench, pod: Pod) -> str:
    """For the message of a failure: all that was said of flags, and the last request."""
    lines = [*bench.tracer.flags(pod.interface), *bench.tracer.requests(pod.interface)[-1:]]
    return "\n".join(map(str, lines))


def check_flags(bench: Bench, pod: Pod, reasons: list[str], confidence: str) -> None:
    """These were raised, one after the other, and the last of them was cleared.

    A reason that was inferred may have been in the place of one that was observed later.
    """
    *before, last = flags(bench, pod)
    context = evidence(bench, pod)
    assert (last["state"], last["reason"]) == ("cleared", reasons[-1]), context
    assert last["confidence"] == confidence, context
    left = list(reasons)
    for flag in before:
        assert flag["state"] == "raised", context
        assert "error" not in flag["evidence"]["read"], context  # a look that failed
        if EMULATED and flag["reason"] == "unknown":
            continue  # the look took longer than a second
        assert flag["reason"] != "unknown", context
        if left and flag["reason"] == left[0]:
            del left[0]
        else:
            assert flag["confidence"] == INFERRED, context
    assert left == [], context


def may_miss(bench: Bench) -> int:
    return sum(count for engine, count in MAY_MISS.items() if engine in bench.tracer.argv)


def wait_requests(bench: Bench, pod: Pod, count: int) -> None:
    """All of them, or all but those that may be missed."""
    try:
        bench.requests(pod, count)
    except TracerError:
        if len(bench.tracer.requests(pod.interface)) < count - may_miss(bench):
            raise


def check_requests(bench: Bench, pod: Pod, answered: int, unanswered: int) -> None:
    """Exactly so many, and none without a known reason once there is a flag."""
    lines = bench.tracer.requests(pod.interface)
    verdicts = Counter(line["verdict"] for line in lines)
    expected = Counter(answered=answered, unanswered=unanswered)
    assert verdicts <= expected, evidence(bench, pod)
    assert (expected - verdicts).total() <= may_miss(bench), evidence(bench, pod)
    if not EMULATED:
        assert "unknown" not in {line["reason"] for line in lines}, evidence(bench, pod)


def wait_cleared(bench: Bench, pod: Pod) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not (up := flags(bench, pod)) or up[-1]["state"] != "cleared":
        assert time.monotonic() < deadline, evidence(bench, pod)
        time.sleep(0.01)


def expectation(engine: str, reason: str, fault: str) -> tuple[str | None, str | None]:
    if engine in SEEN_BY.get(fault, (engine,)):
        return reason, OBSERVED
    return (reason, INFERRED) if fault in LINK_STATES else (None, None)


def test_every_cause_is_shown_by_two_faults() -> None:
    shown = REFUSED + NOT_TAKEN
    assert len(shown) == len({fault for _, fault in shown})
    times = Counter(reason for reason, _ in shown)
    assert {cause.name for cause in CAUSES if times[cause.name] < 2} == {"unknown"}
    assert {fault for _, fault in CLAIMED} <= set(FAULTS)


@pytest.mark.parametrize(
    ("reason", "fault"), CHOSEN, ids=[f"{reason}-{fault}" for reason, fault in CHOSEN]
)
def test_every_engine_names_the_cause(benches: Benches, pod: Pod, reason: str, fault: str) -> None:
    lab = pod.lab
    try:
        FAULTS[fault].break_(lab, pod)
    except Unavailable as lack:
        note_unavailable(reason, fault, str(lack))
        pytest.skip(f"{fault}: {lack}")
    expected = {engine: expectation(engine, reason, fault) for engine in benches}
    try:
        asked = ask_until_named(benches, pod, expected)
    finally:
        FAULTS[fault].mend(lab, pod)
        for engine, why in WHY_NOT.items():
            if why:
                note(Result(engine, reason, fault, why_not=why))
            else:
                note(Result(engine, reason, fault, *named(benches[engine], pod)))
    for engine, bench in benches.items():
        assert named(bench, pod) == expected[engine], f"{engine}: {evidence(bench, pod)}"
        for flag in raised(bench, pod)[-1:]:
            remedies.check(flag, fault)

    assert pod.ask(5).replies == 5
    for engine, bench in benches.items():
        confidence = expected[engine][1]
        seen = asked if engine in SEEN_BY.get(fault, (engine,)) else 0
        wait_requests(bench, pod, 2 + seen + 5)
        if fault in OTHER_SENDERS:
            # What the pod asks as itself is answered, and nothing to the one that it was.
            assert said(bench, pod)[0] == ("raised", reason), evidence(bench, pod)
        elif confidence is not None:
            wait_cleared(bench, pod)
            check_flags(bench, pod, [reason], confidence)
        else:
            assert said(bench, pod) == []
        check_requests(bench, pod, 2 + 5, seen)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("no_default_route", "proxy_arp_off"),
        ("forwarding_off", "source_route_missing"),
        ("nft_arp_input", "no_default_route"),
        ("source_route_blackhole", "proxy_arp_off"),
        ("tc_ingress_drop", "nft_arp_input"),
    ],
)
def test_of_two_faults_the_one_that_the_kernel_meets_first_is_named(
    benches: Benches, pod: Pod, first: str, second: str
) -> None:
    reasons = {fault: reason for reason, fault in REFUSED}
    with broken(pod, second, first):
        asked = ask_until_named(benches, pod, dict.fromkeys(benches, (reasons[first], OBSERVED)))
        FAULTS[first].mend(pod.lab, pod)
        asked += ask_until_named(benches, pod, dict.fromkeys(benches, (reasons[second], OBSERVED)))
    assert pod.ask(3).replies == 3
    for bench in benches.values():
        wait_cleared(bench, pod)
        check_flags(bench, pod, [reasons[first], reasons[second]], OBSERVED)
        check_requests(bench, pod, 2 + 3, asked)


def test_a_fault_that_comes_back_is_raised_again(benches: Benches, pod: Pod) -> None:
    asked = 0
    for incident in (1, 2):
        with broken(pod, "proxy_arp_off"):
            asked += ask_until(
                pod,
                lambda incident=incident: all(  # type: ignore[misc]
                    len(raised(bench, pod)) == incident
                    and named(bench, pod) == ("proxy_arp_off", OBSERVED)
                    for bench in benches.values()
                ),
            )
        assert pod.ask(2).replies == 2
        for bench in benches.values():
            bench.tracer.wait_for_count(
                incident,
                lambda line: (
                    line["type"] == "flag"
                    and line["interface"] == pod.interface
                    and line["state"] == "cleared"
                ),
                PATIENCE_S,
            )
    for bench in benches.values():
        expected = [("raised", "proxy_arp_off"), ("cleared", "proxy_arp_off")]
        assert said(bench, pod) == 2 * expected, evidence(bench, pod)
        check_requests(bench, pod, 2 + 2 + 2, asked)


LASTING = (
    "tc_ingress_stolen",
    "prohibit_rule",
    "source_route_missing",
    "proxy_arp_off",
    "medium_id_minus_one",
)


def test_what_was_observed_is_not_doubted_while_it_lasts(benches: Benches, pod: Pod) -> None:
    """The closer look ends with the first observation; what later requests show is less."""
    lab = pod.lab
    reasons = {fault: reason for reason, fault in REFUSED}
    others = [healthy(benches) for _ in LASTING[1:]]
    pods = dict(zip(LASTING, [pod, *others], strict=True))
    try:
        for fault, each in pods.items():
            FAULTS[fault].break_(lab, each)
        ends = time.monotonic() + (60 if EMULATED else 20)
        while time.monotonic() < ends:
            lab.storm(dict.fromkeys(pods.values(), ROUND), settle=0.01)
            time.sleep(PAUSE_S)
        for fault, each in pods.items():
            for engine, bench in benches.items():
                blind = engine not in SEEN_BY.get(fault, (engine,))
                expected = [] if blind else [("raised", reasons[fault])]
                assert said(bench, each) == expected, evidence(bench, each)
    except Unavailable as lack:
        pytest.skip(str(lack))
    finally:
        lab.mend()
        for each in others:
            lab.delete_pod(each)


@pytest.mark.parametrize("fault", ["no_default_route", "forwarding_off_all"])
def test_a_fault_of_all_pods_flags_each_of_them(benches: Benches, pod: Pod, fault: str) -> None:
    lab = pod.lab
    reason = {name: reason for reason, name in REFUSED}[fault]
    others = [healthy(benches) for _ in range(4)]
    pods = [pod, *others]
    try:
        with broken(pod, fault):
            deadline = time.monotonic() + 2 * PATIENCE_S
            while time.monotonic() < deadline and {
                named(bench, each) for bench in benches.values() for each in pods
            } != {(reason, OBSERVED)}:
                lab.storm(dict.fromkeys(pods, 3), settle=0.01)
                time.sleep(PAUSE_S)
        tallies = lab.storm(dict.fromkeys(pods, 3))
        assert [tally.replies for tally in tallies.values()] == [3] * 5
        for bench in benches.values():
            for each in pods:
                wait_cleared(bench, each)
                check_flags(bench, each, [reason], OBSERVED)
    finally:
        for each in others:
            lab.delete_pod(each)


def test_what_is_observed_wins_over_what_the_configuration_lets_expect(
    benches: Benches, pod: Pod
) -> None:
    """The kernel answers "ip route get" as if for UDP (net/ipv4/route.c,
    inet_rtm_getroute_build_skb): a rule that refuses UDP refuses the question, not ARP.
    That the sender is refused only the closer look shows, whatever the engine."""

    def rule(command: str) -> None:
        pod.lab.node.netlink(
            lambda ipr: ipr.rule(
                command,
                family=socket.AF_INET,
                priority=101,
                iifname=pod.interface,
                dst=GATEWAY,
                dst_len=32,
                ip_proto=socket.IPPROTO_UDP,
                action="FR_ACT_PROHIBIT",
            )
        )

    rule("add")
    try:
        assert pod.ask(3).replies == 3
        with broken(pod, "source_route_missing"):
            ask_until_named(benches, pod, dict.fromkeys(benches, ("source_rejected", OBSERVED)))
        assert pod.ask(2).replies == 2
    finally:
        rule("del")
    for bench in benches.values():
        wait_cleared(bench, pod)
        check_flags(bench, pod, ["no_route", "source_rejected"], OBSERVED)
        assert raised(bench, pod)[-1]["evidence"]["instead_of"] == "no_route (inferred)"
