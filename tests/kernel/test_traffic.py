# SPDX-License-Identifier: Apache-2.0
"""Traffic of the field that is judged right: of alike requests in one round each its own, of
requests in a page, with VLAN tag 0, of the pod's own kernel, of two senders on one link."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import EMULATED, NUMBERS, PATIENCE_S, Bench
from lab import Lab, frames, ring, traffic
from lab.errors import Unavailable
from lab.faults import FAULTS
from lab.names import GATEWAY
from lab.pod import Pod
from lab.tracer import Tracer, command

ELSEWHERE = "02:00:5e:00:53:01"
WORLD = "8.8.8.8"


def rps(lab: Lab, interface: str, cpus: str) -> None:
    """/sys/class/net shows the namespace that sysfs was mounted in: mount it anew."""
    script = f"mount -t sysfs s /sys; echo {cpus} > /sys/class/net/{interface}/queues/rx-0/rps_cpus"
    done = lab.node.run(["unshare", "-m", "sh", "-ec", script])
    if done.returncode != 0:
        pytest.skip(f"RPS: {done.stderr.strip()}")


def test_of_two_alike_in_one_round_each_gets_its_own_verdict(bench: Bench, pod: Pod) -> None:
    """The first of each pair is another's, the second is answered; never the other way round."""
    rps(bench.lab, pod.interface, "2")
    astray = pod.request(destination=ELSEWHERE)
    request = pod.request()
    program = traffic.reply_filter(GATEWAY, pod.address)
    with pod.call(lambda: traffic.packet_socket("eth0", program)) as sock:
        for _ in range(307):
            sock.send(astray)
            sock.send(request)
        bench.requests(pod, 2 * 307)
        time.sleep(1.0)
        replies = 0
        try:
            while sock.recv(64, socket.MSG_DONTWAIT):
                replies += 1
        except BlockingIOError:
            pass
    assert replies == 307
    verdicts = [line["verdict"] for line in bench.tracer.requests(pod.interface)]
    assert Counter(zip(verdicts[::2], verdicts[1::2], strict=True)) == {
        ("unanswered", "answered"): 307
    }
    assert [state for state, _ in bench.flags(pod)][-1:] != ["raised"]


def test_requests_whose_header_is_in_a_page(bench: Bench, pod: Pod) -> None:
    program = traffic.reply_filter(GATEWAY, pod.address)
    with pod.call(lambda: traffic.packet_socket("eth0", program)) as sock:
        ring.send(pod, pod.request(), 101)
        time.sleep(0.3)
        heard = sum(1 for _ in iter(lambda: _next(sock), b""))
    assert heard == 101
    assert bench.verdicts(pod, 101) == {"answered": 101}
    with bench.lab.broken("proxy_arp_off", pod):
        ring.send(pod, pod.request(), 53)
        seen = bench.verdicts(pod, 101 + 53)
    assert seen == {"answered": 101, "unanswered": 53}
    assert bench.flag(pod, "raised")["reason"] == "proxy_arp_off"


def _next(sock: socket.socket) -> bytes:
    try:
        return sock.recv(64, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def test_requests_with_vlan_tag_0_are_flagged_as_any(bench: Bench, pod: Pod) -> None:
    with bench.lab.broken("priority_tagged", pod):
        assert pod.ask(59).replies == 59
        assert bench.verdicts(pod, 59) == {"answered": 59}
        with bench.lab.broken("proxy_arp_off", pod):
            assert pod.ask(61).replies == 0
            assert bench.verdicts(pod, 59 + 61) == {"answered": 59, "unanswered": 61}
            assert bench.flag(pod, "raised")["reason"] == "proxy_arp_off"


def test_two_senders_on_one_link_do_not_make_the_flag_flap(bench: Bench, pod: Pod) -> None:
    program = traffic.reply_filter(GATEWAY, pod.address)
    foreign = FAULTS["asks_as_router"].frame
    assert foreign is not None
    with pod.call(lambda: traffic.packet_socket("eth0", program)) as sock:
        for _ in range(31):
            sock.send(foreign(pod.request()))
            sock.send(pod.request())
            time.sleep(0.02)
    assert bench.verdicts(pod, 62) == {"answered": 31, "unanswered": 31}
    # A word that is inferred may have been in the place of one observed.
    states = [state for state, _ in bench.flags(pod)]
    assert states.count("raised") in (1, 2), bench.flags(pod)
    assert "cleared" not in states, bench.flags(pod)


def test_a_healthy_pods_reply_is_not_taken_for_a_refused_request(bench: Bench) -> None:
    """A closer look follows a request by its memory, which is another packet's right after."""
    lab = bench.lab
    pods = [lab.add_pod(f"t{next(NUMBERS)}") for _ in range(13)]
    healthy, broken = pods[0], pods[1:]
    for pod in broken:
        lab.break_("forwarding_off", pod)
    rps(lab, healthy.interface, "1")
    flood = {healthy: 2003, **dict.fromkeys(broken, 17)}
    tallies = lab.storm(flood)
    assert tallies[healthy].replies == 2003
    assert bench.verdicts(healthy, 2003) == {"answered": 2003}
    for pod in broken:
        assert bench.verdicts(pod, 17) == {"unanswered": 17}
        bench.flag(pod, "raised", reason="forwarding_off")
        # Emulated, a look among a dozen may take longer than the second it has.
        slow = {"unknown"} if EMULATED else set()
        assert {reason for _, reason in bench.flags(pod)} - slow == {"forwarding_off"}
    for pod in pods:
        lab.delete_pod(pod)


def pinging(pod: Pod, seconds: int) -> None:
    """The pod's own kernel asks, once a second while there is no answer."""
    try:
        pod.run(["ip", "neigh", "flush", "dev", "eth0"])
        pod.resolve(seconds, WORLD).wait(seconds + 10)
    except Unavailable as lack:
        pytest.skip(str(lack))


def heard_in(pod: Pod) -> socket.socket:
    """What the pod's own kernel sends, before anything could drop it."""
    opened = pod.call(lambda: traffic.packet_socket("eth0", None, frames.ETH_P_ALL))
    return pod.lab.keep(opened)


def asked(sock: socket.socket) -> int:
    return sum(
        frame[12:14] == b"\x08\x06"
        and frame[20:22] == b"\0\1"
        and frame[28:32] != b"\0\0\0\0"
        and frame[38:42] == _GATEWAY
        for frame in iter(lambda: _next(sock), b"")
    )


_GATEWAY = socket.inet_aton(GATEWAY)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("proxy_arp_off", "proxy_arp_off"), ("source_route_missing", "source_rejected")],
)
def test_what_the_pods_own_kernel_asks(bench: Bench, pod: Pod, fault: str, reason: str) -> None:
    with bench.lab.broken(fault, pod), heard_in(pod) as ear:
        pinging(pod, 3)
        count = asked(ear)
        assert count >= 2
        assert bench.verdicts(pod, count) == {"unanswered": count}
        assert bench.flag(pod, "raised")["reason"] == reason
    pinging(pod, 1)
    assert bench.flag(pod, "cleared")


@pytest.fixture(params=["without CAP_SYSLOG", "kptr_restrict 2"])
def no_addresses(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """How arpwhy is run so that the kernel shows it no addresses of functions."""
    if request.param == "kptr_restrict 2":
        key = Path("/proc/sys/kernel/kptr_restrict")
        old = key.read_text()
        try:
            key.write_text("2")
        except OSError as error:
            pytest.skip(f"kernel.kptr_restrict: {error.strerror}")
        request.addfinalizer(lambda: key.write_text(old))
        return command()
    drop = ["--bounding-set=-syslog", "--inh-caps=-syslog", "--ambient-caps=-all"]
    done = subprocess.run(["setpriv", *drop, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"setpriv: {done.stderr.strip()}")
    return ["setpriv", *drop, *command()]


# fault -> reason, and what is dropped
DROPPING = {
    "nft_netdev_ingress": ("dropped_before_arp", "request"),
    "nft_arp_output": ("filtered_out", "reply"),
}


def test_without_kernel_addresses(engine: str, no_addresses: list[str]) -> None:
    """Drops are seen and named all the same, and the closer look ends."""
    with (
        Lab("blind", pods=2) as lab,
        Tracer(lab.node, engine, program=no_addresses) as tracer,
    ):
        bench = Bench(lab, tracer)
        for pod, (fault, (reason, dropped)) in zip(lab.pods, DROPPING.items(), strict=True):
            try:
                lab.break_(fault, pod)
            except Unavailable as lack:
                pytest.skip(str(lack))
            with heard_in(pod) as ear:
                pinging(pod, 3)
                count = asked(ear)
            assert count >= 2
            assert bench.verdicts(pod, count) == {"unanswered": count}
            assert bench.flag(pod, "raised", reason=reason)
            assert {said for _, said in bench.flags(pod)} == {reason}, tracer.flags()
            lines = tracer.requests(pod.interface)
            seen = [line["evidence"]["seen"] for line in lines]
            assert {each.get("dropped") for each in seen} == {dropped}, seen[-1]
        lab.mend()
        for pod in lab.pods:
            assert pod.ask(11).replies == 11
            assert bench.flag(pod, "cleared")
        tracer.wait_for(lambda line: line["type"] == "flag", PATIENCE_S)
        code, _ = tracer.stop()
        assert code == 0
