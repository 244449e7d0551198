# SPDX-License-Identifier: Apache-2.0
"""Every verdict is the one of an independent oracle: packet sockets in the pods, which know of
each single request whether a reply to it was delivered.

Each request has a sender MAC address of its own (in the header of the ARP packet, too, to
which the reply goes): that tells it apart in the trace and in the pod.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import EMULATED, NUMBERS, Bench, every_engine
from lab import Lab, frames, traffic
from lab.errors import Unavailable
from lab.names import GATEWAY
from lab.pod import Pod
from lab.tracer import Line

REQUESTS = 5_003 if EMULATED else 20_011
BURST = 8  # in one go: several of them are in one softirq round
PAUSE_S = 0.02 if EMULATED else 0.003
SETTLE_S = 5.0 if EMULATED else 1.0
EVERY_THIRD = 3  # request of some healthy pods goes to a MAC address that is another's
ELSEWHERE = "02:00:5e:00:53:01"

BROKEN = (
    "proxy_arp_off",
    "forwarding_off",
    "source_route_missing",
    "prohibit_rule",
    "noarp",
    "nft_arp_input",
    "nft_arp_output",
    "nft_netdev_ingress",
    "egress_limit_full",
    "tc_egress_stolen",
)
PODS_EACH = 2
# What the healthy half has: each of these as often as it fits.
BYSTANDERS = ("egress_limit", "mirror_full", "ingress_limit", "macvlan_full", None)


class Asked:
    """A pod, its socket, and what came back: the MAC addresses of the requests answered."""

    def __init__(self, pod: Pod, number: int, mixed: bool) -> None:
        self.pod, self.number, self.mixed = pod, number, mixed
        self.sent: list[str] = []
        self.answered: set[str] = set()
        self.replies = 0
        program = traffic.reply_filter(GATEWAY, pod.address)
        self.socket = pod.call(lambda: traffic.packet_socket("eth0", program))

    def send(self) -> None:
        count = len(self.sent)
        mac = f"02:{self.number:02x}:00:{count >> 16:02x}:{count >> 8 & 255:02x}:{count & 255:02x}"
        astray = self.mixed and count % EVERY_THIRD == 0
        self.socket.send(
            frames.arp(
                frames.REQUEST,
                sender_mac=mac,
                sender_ip=self.pod.address,
                target_ip=GATEWAY,
                destination=ELSEWHERE if astray else frames.BROADCAST,
            )
        )
        self.sent.append(mac)

    def hear(self) -> bool:
        """Whether there was anything new."""
        before = self.replies
        try:
            while True:
                reply = self.socket.recv(64, socket.MSG_DONTWAIT)
                self.answered.add(reply[32:38].hex(":"))
                self.replies += 1
        except BlockingIOError:
            return self.replies > before


def receive_on_any_cpu(lab: Lab) -> None:
    """RPS on. /sys/class/net shows the namespace that sysfs was mounted in: mount it anew."""
    loop = "for f in /sys/class/net/cali*/queues/rx-0/rps_cpus; do echo 3 > $f; done"
    done = lab.node.run(["unshare", "-m", "sh", "-ec", f"mount -t sysfs s /sys; {loop}"])
    if done.returncode != 0:
        pytest.skip(f"RPS: {done.stderr.strip()}")


@contextmanager
def forty_pods(lab: Lab) -> Iterator[list[Asked]]:
    faults: list[str | None] = [fault for fault in BROKEN for _ in range(PODS_EACH)]
    faults += [BYSTANDERS[n % len(BYSTANDERS)] for n in range(len(faults))]
    asked: list[Asked] = []
    try:
        for number, fault in enumerate(faults):
            pod = lab.add_pod(f"o{next(NUMBERS)}")
            if fault is not None:
                lab.break_(fault, pod)
            # Every fourth of the healthy ones is refused now and then.
            mixed = number >= len(faults) // 2 and number % 4 == 0
            asked.append(Asked(pod, number, mixed))
        receive_on_any_cpu(lab)
        yield asked
    except Unavailable as lack:
        pytest.skip(str(lack))
    finally:
        for each in asked:
            each.socket.close()


def ask(asked: list[Asked]) -> None:
    """REQUESTS in all, mixed over all of them."""
    share, more = divmod(REQUESTS, len(asked))
    order = traffic.interleave([share + (n < more) for n in range(len(asked))])
    for start in range(0, len(order), BURST):
        for who in order[start : start + BURST]:
            asked[who].send()
        time.sleep(PAUSE_S)
        if start % 512 == 0:
            for each in asked:
                each.hear()
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        news = [each.hear() for each in asked]  # every one, however many have some
        if any(news):
            deadline = time.monotonic() + SETTLE_S
        time.sleep(0.05)


def told(lines: list[Line]) -> dict[tuple[str, str], list[str]]:
    """All verdicts of each request, by (interface, sender's MAC address)."""
    verdicts: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        verdicts.setdefault((line["interface"], line["sender_mac"]), []).append(line["verdict"])
    return verdicts


def judged(bench: Bench) -> int:
    """Wait until no more verdicts come; how many runs of our programs were skipped."""
    deadline, before = time.monotonic() + 60, -1
    while time.monotonic() < deadline:
        now = len(bench.tracer.requests())
        if now == before:
            break
        before = now
        time.sleep(1.0 if now >= REQUESTS else 3.0)
    lost = bench.tracer.of_type("lost")
    assert not any(line["count"] for line in lost), lost
    return sum(line["skipped"] for line in lost)


def test_every_verdict_is_that_of_packet_sockets_in_the_pods() -> None:
    with Lab("oracle", pods=0) as lab, forty_pods(lab) as asked, every_engine(lab) as benches:
        ask(asked)
        oracle = {
            (each.pod.interface, mac): "answered" if mac in each.answered else "unanswered"
            for each in asked
            for mac in each.sent
        }
        # The oracle itself: nothing twice, and all that should be was answered and refused.
        assert sum(each.replies for each in asked) == sum(len(each.answered) for each in asked)
        assert len(oracle) == REQUESTS
        half = len(asked) // 2
        for place, each in enumerate(asked):
            strayed = -(-len(each.sent) // EVERY_THIRD) if each.mixed else 0
            due = 0 if place < half else len(each.sent) - strayed
            assert len(each.answered) == due, each.pod
        expected = Counter(oracle.values())
        for engine, bench in benches.items():
            skipped = judged(bench)
            verdicts = told(bench.tracer.requests())
            wrong = Counter(
                (each.pod.name, place, oracle[key], tuple(verdicts.get(key, ())))
                for place, each in enumerate(asked)
                for key in ((each.pod.interface, mac) for mac in each.sent)
                if verdicts.get(key, [oracle[key]] if skipped else [""]) != [oracle[key]]
            )
            assert not wrong, f"{engine}: {wrong.total()} wrong: {wrong.most_common(20)}"
            assert verdicts.keys() <= oracle.keys()
            # A kernel that skips programs (docs/KNOWN_ISSUES.md) hides some, which is said.
            assert len(verdicts) >= REQUESTS - 2 * skipped
    # The end of the block has stopped them, and compared lines with totals.
    for bench in benches.values():
        (end,) = bench.tracer.of_type("stop")
        assert REQUESTS - 2 * end["skipped"] <= end["requests"] <= REQUESTS
        if not end["skipped"]:
            assert {verdict: end[verdict] for verdict in expected} == expected
