# SPDX-License-Identifier: Apache-2.0
"""Flags: once an incident, in time, with the right cause and a mend that mends."""

from __future__ import annotations

import shlex
import time

import pytest
import remedies
from conftest import EMULATED, Bench
from lab.faults import FAULTS
from lab.pod import Pod
from test_verdicts import break_or_skip

from tracer.seen import SEEN_NAMES

# The demo's promise is 100 ms. Emulated, a look at the node alone takes half a second.
SOON_MS = 2000 if EMULATED else 100

REASONS = {
    "proxy_arp_off": "proxy_arp_off",
    "forwarding_off": "forwarding_off",
    "forwarding_off_all": "forwarding_off",
    "no_default_route": "no_route",
    "unreachable_default": "no_route",
    "blackhole_target": "no_route",
    "prohibit_target_route": "no_route",
    "prohibit_rule": "no_route",
}


@pytest.mark.parametrize("fault", REASONS)
def test_the_cause_is_named_at_once_and_the_remedy_mends_it(
    bench: Bench, pod: Pod, fault: str
) -> None:
    pod.ask(2)
    break_or_skip(bench, fault, pod)
    tally = pod.ask(5)
    raised = bench.flag(pod, "raised", reason=REASONS[fault])
    assert (raised.arrival_ns - tally.first_sent_ns) / 1e6 < SOON_MS
    # Function probes may observe the first request at once.
    assert raised["confidence"] in ("inferred", "observed")
    assert raised["target_ip"] == "169.254.1.1"
    assert raised["evidence"]["because"]
    requests = bench.requests(pod, 7)
    assert raised["since"] == requests[2]["ts"]

    remedies.check(raised, fault)
    if raised["remedy_kind"] == "command":
        done = bench.lab.node.run(shlex.split(raised["remedy"]))
        assert done.returncode == 0, done.stderr
        FAULTS[fault].forget(bench.lab, pod)
    else:
        FAULTS[fault].mend(bench.lab, pod)
    assert pod.ask(3).replies == 3
    cleared = bench.flag(pod, "cleared", reason=REASONS[fault])
    assert cleared["unanswered"] == 5
    bench.verdicts(pod, 10)
    # An emulated look may come too late for the first second: unknown, then the cause.
    said = [flag for flag in bench.flags(pod) if not (EMULATED and flag[1] == "unknown")]
    assert said == [("raised", REASONS[fault]), ("cleared", REASONS[fault])]


def test_no_configuration_is_blamed_for_what_netfilter_drops(bench: Bench, pod: Pod) -> None:
    break_or_skip(bench, "nft_arp_input", pod)
    with bench.lab.broken("proxy_arp_off", pod):
        pod.ask(3)
        raised = bench.flag(pod, "raised")
    FAULTS["nft_arp_input"].mend(bench.lab, pod)
    assert (raised["reason"], raised["confidence"]) == ("filtered_in", "observed")
    assert raised["evidence"]["also"] == "proxy_arp_off"


@pytest.mark.parametrize("fault", ["proxy_arp_off", "no_default_route"])
def test_what_was_seen_is_apart_from_what_was_read(bench: Bench, pod: Pod, fault: str) -> None:
    pod.ask(2)  # answered, and never looked at
    break_or_skip(bench, fault, pod)
    pod.ask(3)
    found = bench.flag(pod, "raised", reason=REASONS[fault])["evidence"]
    FAULTS[fault].mend(bench.lab, pod)
    answered, unanswered = bench.requests(pod, 5)[:2], bench.requests(pod, 5)[2:]
    assert all(line["evidence"] == {"seen": {}, "read": {}} for line in answered)
    assert found["read"].keys() > {"ip_forward", "route_question", "route_ok"}
    assert found["read"].keys() & set(SEEN_NAMES)  # what both have is in both
    for line in unanswered:
        assert line["evidence"]["read"] == {}
        assert line["evidence"]["seen"].keys() <= set(SEEN_NAMES)
    assert found["seen"] in [line["evidence"]["seen"] for line in unanswered]


def test_requests_after_the_flag_carry_its_reason(bench: Bench, pod: Pod) -> None:
    """Inferred for the first; the second is looked at closely, and the reason observed."""
    with bench.lab.broken("proxy_arp_off", pod):
        pod.ask(1)
        bench.flag(pod, "raised", reason="proxy_arp_off")
        for _ in range(4):
            time.sleep(0.5)
            pod.ask(1)
        first, second, *_, last = bench.requests(pod, 5)
    assert (first["reason"], first["confidence"]) == (None, None)
    assert second["reason"] == "proxy_arp_off"
    assert (last["reason"], last["confidence"]) == ("proxy_arp_off", "observed")


def test_a_change_of_cause_is_a_new_flag(bench: Bench, pod: Pod) -> None:
    """proxy_arp goes off; then the default route too, which the kernel meets first."""
    with bench.lab.broken("proxy_arp_off", pod):
        pod.ask(1)
        bench.flag(pod, "raised", reason="proxy_arp_off")
        with bench.lab.broken("no_default_route", pod):
            pod.ask(7, interval=1.0 if EMULATED else 0.3)
            bench.flag(pod, "raised", reason="no_route")
    pod.ask(1)
    bench.flag(pod, "cleared", reason="no_route")


def test_each_incident_raises_once(bench: Bench, pod: Pod) -> None:
    for number in range(1, 4):
        with bench.lab.broken("proxy_arp_off", pod):
            pod.ask(3)
            bench.tracer.wait_for_count(
                number,
                lambda line: (
                    line["type"] == "flag"
                    and line["interface"] == pod.interface
                    and line["state"] == "raised"
                ),
                30,
            )
        pod.ask(2)
        bench.verdicts(pod, 5 * number)
    assert bench.flags(pod) == 3 * [("raised", "proxy_arp_off"), ("cleared", "proxy_arp_off")]


def test_a_flag_goes_with_its_interface(bench: Bench, pod: Pod) -> None:
    with bench.lab.broken("proxy_arp_off", pod):
        pod.ask(2)
        bench.flag(pod, "raised")
    bench.lab.delete_pod(pod)
    bench.flag(pod, "cleared")


def test_the_pod_s_own_kernel_asks_as_in_the_incident(bench: Bench, pod: Pod) -> None:
    with bench.lab.broken("proxy_arp_off", pod):
        pod.resolve(3)
        lines = bench.requests(pod, 2)
        assert {line["verdict"] for line in lines} == {"unanswered"}
        bench.flag(pod, "raised", reason="proxy_arp_off")
