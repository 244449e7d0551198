# SPDX-License-Identifier: Apache-2.0
"""What becomes of one request: every verdict, by every engine, against the pod's own count."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
from lab import FAULTS, GATEWAY, Lab, Pod, frames
from lab.tracer import Tracer
from watching import Watch, barrier, broken, kernel

# Of the others, link_down lets no request arrive, and a delay is not a refusal.
REFUSING = [name for name, each in FAULTS.items() if not each.delays and name != "link_down"]

# What is seen of a drop: what was dropped, its reason, and functions by kernel version.
DROPS = {
    "nft_netdev_ingress": ("request", "NETFILTER_DROP", ("nft_do_chain", "nf_hook_slow")),
    "nft_arp_input": ("request", "NETFILTER_DROP", ("nft_do_chain", "nf_hook_slow")),
    "nft_arp_output": ("reply", "NETFILTER_DROP", ("nft_do_chain", "nf_hook_slow")),
    "tc_ingress_drop": ("request", "TC_INGRESS", ("__netif_receive_skb_core",)),
    "tc_egress_drop": ("reply", "TC_EGRESS", ("__dev_queue_xmit",)),
}


def test_an_answered_request(lab: Lab, pod: Pod, watch: Watch) -> None:
    assert pod.ask(7).replies == 7
    for line in watch.judged(7):
        assert (line["verdict"], line["reason"], line["confidence"]) == ("answered", None, None)
        assert (line["sender_ip"], line["sender_mac"]) == (pod.address, pod.mac)
        assert (line["target_ip"], line["netns"]) == (GATEWAY, lab.node.inode)
        assert line["evidence"] == {}


def test_the_latency_is_that_of_the_reply(pod: Pod, watch: Watch) -> None:
    tally = pod.ask(1)
    (line,) = watch.judged(1)
    # Sender and kernel measure the same interval, the sender's is the wider one.
    assert tally.lasted_ns is not None
    assert 0 < line["latency_ns"] < tally.lasted_ns


def test_all_refusing_faults_are_tested() -> None:
    assert len(REFUSING) >= 15
    assert set(DROPS) <= set(REFUSING)


@pytest.mark.parametrize("fault", REFUSING)
def test_a_refused_request(lab: Lab, pod: Pod, watch: Watch, fault: str) -> None:
    with broken(lab, fault, pod):
        tally = pod.ask(13, settle=0.15)
        assert (tally.sent, tally.replies) == (13, 0)
        assert watch.verdicts(13) == {"unanswered": 13}
        assert {line["latency_ns"] for line in watch.lines("request")} == {None}


@pytest.mark.parametrize("fault", DROPS)
def test_a_drop_is_seen_where_it_happened(lab: Lab, pod: Pod, watch: Watch, fault: str) -> None:
    what, reason, functions = DROPS[fault]
    with broken(lab, fault, pod):
        pod.ask(3, settle=0.1)
        for line in watch.judged(3):
            evidence = line["evidence"]
            assert evidence["dropped"] == what
            assert evidence["drop_function"].split(".")[0] in functions
            assert evidence.get("drop_reason") == (reason if kernel() >= (5, 17) else None)


def test_a_refusal_that_is_no_drop_has_no_drop_in_its_evidence(
    lab: Lab, pod: Pod, watch: Watch
) -> None:
    with broken(lab, "proxy_arp_off", pod):
        pod.ask(3, settle=0.1)
        assert [line["evidence"] for line in watch.judged(3)] == [{}, {}, {}]


def test_a_request_for_another_hosts_mac(pod: Pod, watch: Watch) -> None:
    assert pod.ask(5, destination="02:00:00:00:00:99", settle=0.1).replies == 0
    assert watch.verdicts(5) == {"unanswered": 5}


def test_a_unicast_request(pod: Pod, watch: Watch) -> None:
    assert pod.unicast(5).replies == 5
    assert watch.verdicts(5) == {"answered": 5}


def test_a_probe_is_ignored_and_raises_nothing(pod: Pod, watch: Watch) -> None:
    assert pod.probe(5, settle=0.1).replies == 0
    assert watch.verdicts(5) == {"ignored": 5}
    assert watch.flags() == []


def test_an_announcement_is_ignored_and_raises_nothing(pod: Pod, watch: Watch) -> None:
    # Of the gateway's address, for that is the one target judged by default.
    assert pod.ask(5, GATEWAY, GATEWAY, settle=0.1).sent == 5
    assert watch.verdicts(5) == {"ignored": 5}
    assert watch.flags() == []


def test_an_ignored_request_does_not_clear_a_flag(lab: Lab, pod: Pod, watch: Watch) -> None:
    with broken(lab, "proxy_arp_off", pod):
        pod.ask(1, settle=0.1)
        watch.flag("raised")
    pod.probe(3, settle=0.1)
    assert watch.flags() == [("raised", "proxy_arp_off")]


def test_a_request_for_another_address_is_not_judged(pod: Pod, watch: Watch) -> None:
    assert pod.ask(5, "8.8.4.4").replies == 5  # the kernel proxies for any address
    assert pod.announce(5, settle=0.1).sent == 5
    assert watch.judged(0) == []


def test_a_pods_replies_are_not_judged(pod: Pod, watch: Watch) -> None:
    frame = frames.arp(frames.REPLY, sender_mac=pod.mac, sender_ip=pod.address, target_ip=GATEWAY)
    pod.send(frame, 5)
    assert watch.judged(0) == []


def test_a_frame_that_is_cut_short_is_passed_over(pod: Pod, watch: Watch) -> None:
    pod.send(pod.request()[:30], 3)
    assert pod.ask(3).replies == 3
    assert watch.verdicts(3) == {"answered": 3}


def test_an_interface_that_no_glob_names_is_not_judged(lab: Lab, tracer: Tracer) -> None:
    pod = lab.add_pod("tapped", interface="taptest0")
    try:
        assert pod.ask(5).replies == 5
        barrier(tracer)
        assert tracer.requests("taptest0") == []
    finally:
        pod.delete()


# ---- requests that the kernel queues -------------------------------------------------


def delay(lab: Lab, pod: Pod, ticks: int, queue: int = 64) -> None:
    """Before proxy_arp, as old kernels need it, and never set back: the pod is deleted."""
    neigh = f"net/ipv4/neigh/{pod.interface}"
    conf = f"net/ipv4/conf/{pod.interface}"
    lab.node.set_sysctls({f"{conf}/proxy_arp": 0})
    lab.node.set_sysctls({f"{neigh}/proxy_delay": ticks, f"{neigh}/proxy_qlen": queue})
    lab.node.set_sysctls({f"{conf}/proxy_arp": 1})


def test_a_deferred_request_is_answered_late(lab: Lab, pod: Pod, watch: Watch) -> None:
    delay(lab, pod, 20)
    assert pod.ask(11, settle=1.5).replies == 11
    assert watch.verdicts(11) == {"deferred": 11}
    late = watch.settled(11)
    assert {line["verdict"] for line in late} == {"answered"}
    # Up to proxy_delay (200 ms), and the timer's own lateness.
    assert all(0 < line["latency_ns"] < 1_500_000_000 for line in late)
    assert max(line["latency_ns"] for line in late) > 1_000_000
    assert watch.flags() == []


def test_a_unicast_request_is_not_deferred(lab: Lab, pod: Pod, watch: Watch) -> None:
    delay(lab, pod, 100)
    assert pod.unicast(5).replies == 5
    assert watch.verdicts(5) == {"answered": 5}


def test_a_full_proxy_queue_drops_the_rest(lab: Lab, pod: Pod, watch: Watch) -> None:
    delay(lab, pod, 200, queue=3)
    tally = pod.ask(23, settle=3.0)
    verdicts = watch.verdicts(23)
    assert verdicts["deferred"] + verdicts["unanswered"] == 23
    assert verdicts["deferred"] >= 3
    assert verdicts["unanswered"] >= 3
    late = Counter(line["verdict"] for line in watch.settled(verdicts["deferred"]))
    assert late == {"answered": tally.replies}
    dropped = watch.lines("request", verdict="unanswered")
    assert {line["evidence"].get("dropped") for line in dropped} == {"request"}


def test_an_interface_goes_while_requests_are_deferred(lab: Lab, pod: Pod, watch: Watch) -> None:
    delay(lab, pod, 3000)
    replies = pod.ask(7, settle=0.05).replies
    assert watch.verdicts(7) == {"deferred": 7}
    pod.delete()
    late = Counter(line["verdict"] for line in watch.settled(7))
    assert late == Counter(answered=replies, unanswered=7 - replies)


def test_deferred_and_then_refused(lab: Lab, pod: Pod, watch: Watch) -> None:
    delay(lab, pod, 100)
    with contextlib.closing(pod.line()) as line:
        for _ in range(7):
            line.send()
        lab.node.set_sysctls({f"net/ipv4/conf/{pod.interface}/proxy_arp": 0})
        assert watch.verdicts(7) == {"deferred": 7}
        late = Counter(line["verdict"] for line in watch.settled(7, timeout=6.0))
        line.count()
        assert late == Counter(answered=line.replies, unanswered=7 - line.replies)
    assert late["unanswered"] >= 1
    assert watch.flag("raised")["reason"] == "proxy_arp_off"


# ---- the first request of an interface -----------------------------------------------

NEWBORN = 17


def test_the_first_request_of_an_interface_just_created(lab: Lab, tracer: Tracer) -> None:
    pods = []
    try:
        for number in range(NEWBORN):
            pods.append(lab.add_pod(f"newborn{number}", interface=f"calinew{number}"))
            assert pods[-1].ask(1).replies == 1
        barrier(tracer)
        for pod in pods:
            (line,) = tracer.requests(pod.interface)
            assert line["verdict"] == "answered"
    finally:
        for pod in pods:
            pod.delete()
