# SPDX-License-Identifier: Apache-2.0
"""Each request gets the verdict that the kernel's doing deserves."""

from __future__ import annotations

import time

import pytest
from conftest import PATIENCE_S, Bench
from lab import Lab
from lab.errors import Unavailable
from lab.faults import FAULTS
from lab.pod import Pod
from lab.tracer import Tracer

REFUSING = (
    "proxy_arp_off",
    "forwarding_off",
    "no_default_route",
    "unreachable_default",
    "blackhole_target",
    "prohibit_target_route",
    "prohibit_rule",
    "source_route_missing",
    "noarp",
    "target_local_arp_ignore",
)

# Newer kernels free in nft's own function, older ones (5.10) in that which called it.
NETFILTER = ("nft_do_chain", "nf_hook_slow")
# fault -> what is dropped, the drop's reason, the functions that drop, and below which
DROPPING = {
    "nft_netdev_ingress": ("request", "NETFILTER_DROP", NETFILTER, "__netif_receive_skb_core"),
    "nft_arp_input": ("request", "NETFILTER_DROP", NETFILTER, "arp_rcv"),
    "nft_arp_output": ("reply", "NETFILTER_DROP", NETFILTER, "arp_xmit"),
    "tc_ingress_drop": (
        "request",
        "TC_INGRESS",
        ("__netif_receive_skb_core",),
        "__netif_receive_skb_core",
    ),
    "tc_egress_drop": ("reply", "TC_EGRESS", ("__dev_queue_xmit",), "__dev_queue_xmit"),
}


def break_or_skip(bench: Bench, fault: str, pod: Pod) -> None:
    try:
        FAULTS[fault].break_(bench.lab, pod)
    except Unavailable as error:
        pytest.skip(f"{fault}: {error}")


def test_a_healthy_pod_is_answered(bench: Bench, pod: Pod) -> None:
    tally = pod.ask(13)
    assert (tally.sent, tally.replies) == (13, 13)
    assert bench.verdicts(pod, 13) == {"answered": 13}
    for line in bench.tracer.requests(pod.interface):
        assert 0 < line["latency_ns"] < 1_000_000_000
        assert line["sender_ip"] == pod.address
        assert line["sender_mac"] == pod.mac
        assert line["target_ip"] == "169.254.1.1"
        assert line["netns"] == bench.lab.node.inode
        assert line["reason"] is None
    assert bench.flags(pod) == []


@pytest.mark.parametrize("fault", REFUSING)
def test_what_the_kernel_refuses_is_unanswered(bench: Bench, pod: Pod, fault: str) -> None:
    break_or_skip(bench, fault, pod)
    tally = pod.ask(7)
    FAULTS[fault].mend(bench.lab, pod)
    assert (tally.sent, tally.replies) == (7, 0)
    assert bench.verdicts(pod, 7) == {"unanswered": 7}
    for line in bench.tracer.requests(pod.interface):
        assert "dropped" not in line["evidence"]["seen"]
        assert line["evidence"]["seen"]["rp_filter"] == pod.rp_filter
    pod.ask(3)
    assert bench.verdicts(pod, 10) == {"unanswered": 7, "answered": 3}


@pytest.mark.parametrize("fault", DROPPING)
def test_what_is_dropped_is_unanswered_with_its_evidence(
    bench: Bench, pod: Pod, fault: str
) -> None:
    break_or_skip(bench, fault, pod)
    tally = pod.ask(7)
    FAULTS[fault].mend(bench.lab, pod)
    assert (tally.sent, tally.replies) == (7, 0)
    assert bench.verdicts(pod, 7) == {"unanswered": 7}
    what, reason, functions, below = DROPPING[fault]
    for line in bench.tracer.requests(pod.interface):
        evidence = line["evidence"]["seen"]
        assert evidence["dropped"] == what
        # Reasons came with Linux 5.17, and those of tc with 5.18.
        assert evidence.get("drop_reason", reason) == reason
        assert evidence["dropped_in"] == below
    # Not the first one: a busy machine may be late to name a function of a module.
    bench.tracer.wait_for(
        lambda line: (
            line["type"] == "flag"
            and line["interface"] == pod.interface
            and line["evidence"]["seen"].get("drop_function") in functions
        ),
        PATIENCE_S,
    )


def test_proxy_delay_defers_and_then_answers(bench: Bench, pod: Pod) -> None:
    with bench.lab.broken("proxy_delay", pod):
        tally = pod.ask(11, settle=1.5, alone=True)
    assert (tally.sent, tally.replies) == (11, 11)
    assert bench.verdicts(pod, 22) == {"deferred": 11, "answered late": 11}
    late = bench.tracer.requests(pod.interface, settled=True)
    assert all(0 < line["latency_ns"] < PATIENCE_S * 1e9 for line in late)
    assert bench.flags(pod) == []


def test_a_unicast_request_is_answered_at_once_in_spite_of_proxy_delay(
    bench: Bench, pod: Pod
) -> None:
    with bench.lab.broken("proxy_delay", pod):
        assert pod.unicast(5).replies == 5
    assert bench.verdicts(pod, 5) == {"answered": 5}


def test_a_full_proxy_queue(bench: Bench, pod: Pod) -> None:
    delay = f"net/ipv4/neigh/{pod.interface}"
    bench.lab.node.set_sysctls({f"{delay}/proxy_delay": 3000, f"{delay}/proxy_qlen": 3})
    pod.ask(11)
    seen = bench.verdicts(pod, 11)
    assert seen["deferred"] + seen["unanswered"] + seen["answered late"] >= 11
    assert seen["unanswered"] >= 5
    for line in bench.tracer.requests(pod.interface, verdict="unanswered"):
        assert line["evidence"]["seen"]["dropped"] == "request"


def test_deferred_requests_of_an_interface_that_vanishes_are_unanswered(
    bench: Bench, pod: Pod
) -> None:
    bench.lab.node.set_sysctls({f"net/ipv4/neigh/{pod.interface}/proxy_delay": 6000})
    pod.ask(5)
    bench.requests(pod, 5)
    # The delay is random, up to 60 s: now and then one is answered before this.
    bench.lab.delete_pod(pod)
    seen = bench.verdicts(pod, 10)
    assert seen["deferred"] == 5
    assert seen["unanswered late"] + seen["answered late"] == 5
    assert seen["unanswered late"] >= 3


def test_deferred_requests_that_are_then_refused_are_unanswered(
    bench: Bench, pod: Pod, engine: str
) -> None:
    node = bench.lab.node
    node.set_sysctls({f"net/ipv4/neigh/{pod.interface}/proxy_delay": 500})
    pod.ask(5, settle=0.0)
    bench.requests(pod, 5)  # all queued, before it is switched off
    node.set_sysctls({f"net/ipv4/conf/{pod.interface}/proxy_arp": 0})
    seen = bench.verdicts(pod, 10)
    assert seen["deferred"] == 5
    assert seen["unanswered late"] + seen["answered late"] == 5
    assert seen["unanswered late"] >= 1
    for line in bench.tracer.requests(pod.interface, settled=True, verdict="unanswered"):
        assert ("given_up" in line["evidence"]["seen"]) == (engine == "tracepoint")


def test_probes_and_announcements_are_ignored_and_flag_nothing(bench: Bench, pod: Pod) -> None:
    with bench.lab.broken("proxy_arp_off", pod):
        pod.probe(7)
        pod.ask(5, "169.254.1.1", "169.254.1.1")
        assert bench.verdicts(pod, 12) == {"ignored": 12}
    assert bench.flags(pod) == []


def test_requests_for_other_addresses_and_replies_are_not_judged(bench: Bench, pod: Pod) -> None:
    pod.ask(5, "192.168.156.250")
    pod.announce(3)
    reply = bytearray(pod.request())
    reply[21] = 2  # the operation: reply
    pod.send(bytes(reply), 3)
    pod.ask(2)
    assert bench.verdicts(pod, 2) == {"answered": 2}


def test_the_first_request_of_a_new_interface(bench: Bench) -> None:
    """Not one is missed, however soon after its interface it comes."""
    for number in range(7):
        pod = bench.lab.add_pod(f"new{number}")
        assert pod.ask(1, settle=0.05).sent == 1
        assert bench.verdicts(pod, 1) == {"answered": 1}
        bench.lab.delete_pod(pod)


def test_other_targets_and_other_namespaces(engine: str) -> None:
    """Two labs with the same names: alone, --all-netns, --target."""
    with (
        Lab("here", pods=1) as here,
        Lab("there", pods=1) as there,
        Tracer(here.node, engine, ["--target", "any"]) as alone,
        Tracer(here.node, engine, ["--all-netns", "--target", "10.9.8.7"]) as everywhere,
    ):
        (mine,), (other,) = here.pods, there.pods
        assert mine.interface == other.interface
        mine.ask(5)
        other.ask(7)
        mine.ask(3, "10.9.8.7")
        other.ask(11, "10.9.8.7")
        for tracer, expected in (
            (alone, {(here.node.inode, "169.254.1.1"): 5, (here.node.inode, "10.9.8.7"): 3}),
            (everywhere, {(here.node.inode, "10.9.8.7"): 3, (there.node.inode, "10.9.8.7"): 11}),
        ):
            total = sum(expected.values())
            tracer.wait_for_count(total, lambda line: line["type"] == "request", PATIENCE_S)
            time.sleep(0.3)
            seen: dict[tuple[int, str], int] = {}
            for line in tracer.requests():
                key = (line["netns"], line["target_ip"])
                seen[key] = seen.get(key, 0) + 1
            assert seen == expected


def test_globs(engine: str) -> None:
    with Lab("globs", pods=0) as lab:
        names = ("calia1", "calia2", "calib1", "veth9")
        pods = [lab.add_pod(f"g{n}", interface=name) for n, name in enumerate(names)]
        with Tracer(lab.node, engine, ["-i", "cali?1", "-i", "veth9"]) as tracer:
            for pod in pods:
                pod.ask(3)
            tracer.wait_for_count(9, lambda line: line["type"] == "request", PATIENCE_S)
            time.sleep(0.3)
            assert {line["interface"] for line in tracer.requests()} == {
                "calia1",
                "calib1",
                "veth9",
            }
            code, stop = tracer.stop()
    assert (code, stop and stop["requests"]) == (0, 9)
    (start,) = tracer.of_type("start")
    assert start["interfaces"] == ["calia1", "calib1", "veth9"]
