# SPDX-License-Identifier: Apache-2.0
"""What is said, and when, of the field's stranger cases: replies that the pod does not take, a
pod that never asks, requests for other targets, uplinks, a second fault behind a first."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import remedies
from conftest import EMULATED, PATIENCE_S, Bench
from lab import Lab
from lab.errors import Unavailable
from lab.faults import FAULTS
from lab.pod import Pod
from lab.tracer import Tracer, command
from lab.wiring import UPLINK
from results import Result, note, note_unavailable
from scenarios import NOT_TAKEN
from test_traffic import pinging

ONCE_A_SECOND = 7  # requests: more than the three in a row within 5 s that it takes


def ask_once_a_second(pod: Pod, fault: str) -> None:
    """By the pod's own kernel, unless what is wrong is the frame that it sends."""
    if FAULTS[fault].frame is None:
        pinging(pod, ONCE_A_SECOND)
    else:
        pod.ask(ONCE_A_SECOND, interval=1.0)


@pytest.mark.parametrize(("reason", "fault"), NOT_TAKEN, ids=[fault for _, fault in NOT_TAKEN])
def test_a_reply_that_the_pod_does_not_take(
    bench: Bench, pod: Pod, engine: str, reason: str, fault: str
) -> None:
    try:
        bench.lab.break_(fault, pod)
    except Unavailable as lack:
        note_unavailable(reason, fault, str(lack))
        pytest.skip(str(lack))
    ask_once_a_second(pod, fault)
    raised = [flag for flag in bench.tracer.flags(pod.interface) if flag["state"] == "raised"]
    said = (raised[-1]["reason"], raised[-1]["confidence"]) if raised else (None, None)
    note(Result(engine, reason, fault, *said))
    bench.lab.mend(fault, pod)
    verdicts = {line["verdict"] for line in bench.tracer.requests(pod.interface)}
    assert verdicts == {"answered"}
    assert [flag["reason"] for flag in raised] == [reason]
    remedies.check(raised[0], fault)
    assert pod.ask(1).replies == 1
    assert bench.flag(pod, "cleared", reason=reason)


def test_a_healthy_pod_that_asks_once_a_second_is_not_flagged(bench: Bench, pod: Pod) -> None:
    pod.ask(ONCE_A_SECOND, interval=1.0)
    assert bench.verdicts(pod, ONCE_A_SECOND) == {"answered": ONCE_A_SECOND}
    assert bench.flags(pod) == []


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab("said", pods=2) as made:
        yield made


def diagnose(lab: Lab, *args: str) -> tuple[int, str]:
    done = lab.node.run([*command(), "diagnose", *args], timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def text(tracer: Tracer) -> str:
    return "\n".join([*tracer.stderr, *map(json.dumps, tracer.lines)])


def test_a_pod_whose_gateway_entry_is_wrong_and_permanent(lab: Lab, engine: str) -> None:
    pod = lab.pods[0]
    with lab.broken("permanent_gateway_entry", pod), Tracer(lab.node, engine) as tracer:
        pod.resolve(4).wait(20)
        time.sleep(1.0)
        assert tracer.requests(pod.interface) == []
        status, found = diagnose(lab)
        tracer.stop()
    assert "46:a9:d3:46:96:82" in text(tracer), text(tracer)
    assert pod.interface in text(tracer)
    assert status == 3 or "MAC" in found, found


def test_requests_for_other_targets_alone_are_said_once(lab: Lab, engine: str) -> None:
    pod = lab.pods[0]
    with Tracer(lab.node, engine, ["--only", "flags"]) as tracer:
        pod.ask(13, "10.77.0.1")
        time.sleep(3.0 if EMULATED else 1.0)
        pod.ask(17, "10.77.0.1")
        code, stop = tracer.stop()
    assert code == 0 and stop is not None
    assert stop["requests"] == 0
    said = [line for line in tracer.stderr if "not judged" in line]
    assert len(said) == 1, tracer.stderr
    assert "10.77.0.1" in said[0] and "--target" in said[0]


def test_an_uplink_is_not_judged(lab: Lab, engine: str) -> None:
    status, found = diagnose(lab, UPLINK, "lo")
    assert status in (0, 4), found
    assert remedies.pasted(found.replace("    ", "")) == [], found
    with Tracer(lab.node, engine, ["-i", UPLINK, "--target", "any"]) as tracer:
        router = lab.fabric
        router.run(["ip", "neigh", "flush", "all"])
        router.run(["ping", "-n", "-c", "1", "-W", "1", "10.65.0.77"])
        tracer.wait_for(lambda line: line["type"] == "request", PATIENCE_S)
        time.sleep(0.5)
        assert {line["verdict"] for line in tracer.requests(UPLINK)} == {"ignored"}
        assert all("not_a_pod_link" in line["evidence"]["seen"] for line in tracer.requests(UPLINK))
        assert tracer.flags() == []


def test_a_second_fault_is_told_from_the_first_and_at_once_after_its_mend(
    lab: Lab, engine: str
) -> None:
    pod = lab.pods[0]
    with Tracer(lab.node, engine) as tracer:
        bench = Bench(lab, tracer)
        lab.break_("proxy_arp_off", pod)
        lab.break_("source_route_missing", pod)
        pod.ask(5, interval=0.3)
        first = bench.flag(pod, "raised")
        assert first["reason"] == "source_rejected"
        assert "proxy_arp_off" in first["evidence"].get("also", "").split()
        lab.mend("source_route_missing", pod)
        mended = time.time()
        before = len(tracer.requests(pod.interface))
        pod.ask(11, interval=0.2)
        second = bench.flag(pod, "raised", reason="proxy_arp_off")
        assert second.arrival_ns / 1e9 - mended < (30 if EMULATED else 5)
        stale = tracer.requests(pod.interface)[before:]
        assert "source_rejected" not in {line["reason"] for line in stale}, stale


def test_fail_on_flag_is_not_failed_by_a_limited_pod(lab: Lab, engine: str) -> None:
    try:
        lab.break_("egress_limit", lab.pods[0])
    except Unavailable as lack:
        pytest.skip(str(lack))
    args = ["--fail-on-flag", "--duration", "4"]
    with Tracer(lab.node, engine, args) as tracer:
        assert lab.pods[0].ask(7, settle=0.5).replies == 7
        code, stop = tracer.finish()
    assert code == 0
    assert stop is not None
    assert (stop["requests"], stop["answered"], stop["flags_raised"]) == (7, 7, 0)


def test_a_link_that_is_down_is_never_unknown(lab: Lab, engine: str) -> None:
    pod = lab.pods[0]
    lab.break_("link_down", pod)
    with Tracer(lab.node, engine, ["--duration", "2"]) as tracer:
        code, _ = tracer.finish()
    assert code == 0
    assert {flag["reason"] for flag in tracer.flags()} <= {"link_down"}


def test_with_all_namespaces_the_command_runs_in_the_right_one(lab: Lab, engine: str) -> None:
    """Pasted where the operator is, which is not the node's namespace."""
    with Lab("outside", pods=0) as outside:
        pod = lab.pods[0]
        with Tracer(outside.node, engine, ["--all-netns"]) as tracer:
            lab.break_("proxy_arp_off", pod)
            pod.ask(3)
            flag = tracer.wait_for(
                lambda line: (
                    line["type"] == "flag"
                    and line["netns"] == lab.node.inode
                    and line["reason"] == "proxy_arp_off"
                ),
                PATIENCE_S,
            )
            remedies.check(flag)
            for line in remedies.pasted(flag["remedy"]):
                done = outside.node.run(["bash", "-c", line])
                assert done.returncode == 0, (line, done.stderr)
            assert pod.ask(3).replies == 3
