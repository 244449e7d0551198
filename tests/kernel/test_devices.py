# SPDX-License-Identifier: Apache-2.0
"""Pods' links of other kinds than a plain veth: netkit, or with a VLAN, a bond, a VRF, a bridge
between the link and the node. A healthy one is answered, one with proxy_arp off is named."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import pytest
from conftest import EMULATED, NUMBERS, PATIENCE_S, Bench, every_engine
from lab import Lab, frames, links, traffic, wiring
from lab.errors import LabError, Unavailable
from lab.names import GATEWAY, HOST_MAC
from lab.pod import Pod
from lab.tracer import command
from results import Result, note, note_unavailable

Benches = Mapping[str, Bench]
ASKED = 53
CONF = "net/ipv4/conf"
TAG = 7


class Device:
    """What the pod asks over: ``name`` on the node, ``inner`` in the pod."""

    def __init__(self, pod: Pod, name: str, inner: str = "eth0") -> None:
        self.pod, self.name, self.inner = pod, name, inner
        self.mac = pod.netlink(lambda ipr: _mac(ipr, inner))

    def ask(self, count: int) -> int:
        """How many replies came."""
        frame = frames.arp(
            frames.REQUEST, sender_mac=self.mac, sender_ip=self.pod.address, target_ip=GATEWAY
        )
        program = traffic.reply_filter(GATEWAY, self.pod.address)
        with self.pod.call(lambda: traffic.packet_socket(self.inner, program)) as sock:
            for _ in range(count):
                sock.send(frame)
            time.sleep(2.0 if EMULATED else 0.3)
            replies = 0
            try:
                while sock.recv(64, 0x40):  # MSG_DONTWAIT
                    replies += 1
            except BlockingIOError:
                return replies
        return replies


def _mac(ipr: object, name: str) -> str:
    link = next(iter(ipr.get_links(links.index(ipr, name))))  # type: ignore[attr-defined]
    return str(link.get_attr("IFLA_ADDRESS"))


def _ip(pod: Pod, *commands: str) -> None:
    for line in commands:
        pod.lab.node.tool(["ip", *line.split()], package="iproute2")


def _ip_inside(pod: Pod, *commands: str) -> None:
    for line in commands:
        pod.tool(["ip", *line.split()], package="iproute2")


def _named(pod: Pod) -> str:
    return f"cali{pod.name}x"


def _pod_link(pod: Pod, name: str) -> None:
    """What Felix writes and routes goes to another device than the veth."""
    pod.lab.node.set_sysctls({f"{CONF}/{pod.interface}/proxy_arp": 0})
    pod.lab.node.set_sysctls(wiring.pod_sysctls(name, pod.rp_filter))
    _ip(pod, f"link set {name} up", f"route replace {pod.address}/32 dev {name} scope link")


def vlan(pod: Pod) -> Device:
    name = _named(pod)
    _ip(pod, f"link add link {pod.interface} name {name} type vlan id {TAG}")
    _ip_inside(pod, f"link add link eth0 name eth0v type vlan id {TAG}", "link set eth0v up")
    _pod_link(pod, name)
    return Device(pod, name, "eth0v")


def bridge(pod: Pod) -> Device:
    name = _named(pod)
    _ip(pod, f"link add {name} type bridge", f"link set {pod.interface} master {name}")
    _pod_link(pod, name)
    return Device(pod, name)


def bond(pod: Pod) -> Device:
    name = _named(pod)
    _ip(
        pod,
        f"link add {name} type bond mode active-backup",
        f"link set {pod.interface} down",
        f"link set {pod.interface} master {name}",
    )
    _pod_link(pod, name)
    return Device(pod, name)


def macvlan(pod: Pod) -> Device:
    name = _named(pod)
    _ip(pod, f"link add link {pod.interface} name {name} type macvlan mode bridge")
    _pod_link(pod, name)
    return Device(pod, name)


def vrf(pod: Pod) -> Device:
    name, table = f"vrf{pod.name}", 1000 + int(pod.name[1:])
    _ip(
        pod,
        f"link add {name} type vrf table {table}",
        f"link set {name} up",
        f"link set {pod.interface} master {name}",
        f"route add {pod.address}/32 dev {pod.interface} scope link table {table}",
        f"route add default via {wiring.ROUTER_ADDRESS} dev {wiring.UPLINK} table {table}",
    )
    return Device(pod, pod.interface)


def netkit(pod: Pod, mode: str = "l2") -> Device:
    name = _named(pod)
    mac = f"address {HOST_MAC} " if mode == "l2" else ""
    _ip(
        pod,
        f"link add {name} {mac}type netkit mode {mode} peer name nk{pod.name}",
        f"link set nk{pod.name} netns {pod.netns}",
    )
    _ip_inside(pod, f"link set nk{pod.name} up")
    _pod_link(pod, name)
    return Device(pod, name, f"nk{pod.name}")


KINDS: tuple[Callable[[Pod], Device], ...] = (vlan, bridge, bond, macvlan, vrf, netkit)


@pytest.fixture(scope="module")
def benches() -> Iterator[Benches]:
    with Lab("devices", pods=0) as lab, every_engine(lab) as traces:
        yield traces


@pytest.mark.parametrize("make", KINDS, ids=lambda make: str(make.__name__))
def test_a_link_of_another_kind(benches: Benches, make: Callable[[Pod], Device]) -> None:
    lab = next(iter(benches.values())).lab
    pod = lab.add_pod(f"d{next(NUMBERS)}")
    row = f"link_{make.__name__}"
    try:
        device = make(pod)
    except (Unavailable, LabError) as lack:
        note_unavailable("answered", row, str(lack))
        lab.delete_pod(pod)
        pytest.skip(f"{make.__name__}: {lack}")
    deadline = time.monotonic() + PATIENCE_S  # a bridge's port has to come up
    while device.ask(1) != 1:
        assert time.monotonic() < deadline, f"{make.__name__} is not answered: the test is wrong"
    before = {engine: len(bench.tracer.requests(device.name)) for engine, bench in benches.items()}
    assert device.ask(ASKED) == ASKED
    key = f"{CONF}/{device.name}/proxy_arp"
    lab.node.set_sysctls({key: 0})
    assert device.ask(ASKED) == 0
    raised = {"type": "flag", "interface": device.name, "reason": "proxy_arp_off"}
    for bench in benches.values():
        bench.tracer.wait_for(lambda line: raised.items() <= line.items(), PATIENCE_S)
    lab.node.set_sysctls({key: 1})
    assert device.ask(1) == 1
    wrong = {}
    for engine, bench in benches.items():
        lines = bench.tracer.requests(device.name)[before[engine] :]
        verdicts = Counter(line["verdict"] for line in lines)
        flags = [flag["reason"] for flag in bench.tracer.flags(device.name, state="raised")]
        if EMULATED and flags[:1] == ["unknown"]:
            del flags[0]  # a look took longer than the second it has
        right = verdicts == {"answered": ASKED + 1, "unanswered": ASKED}
        right = right and flags == ["proxy_arp_off"]
        note(Result(engine, "answered", row, "answered" if right else str(flags), "observed"))
        if not right:
            wrong[engine] = (verdicts, flags)
    lab.delete_pod(pod)
    lab.node.run(["ip", "link", "del", device.name])
    assert wrong == {}


def test_a_link_without_arp_is_not_judged(benches: Benches) -> None:
    """netkit in the mode l3 (drivers/net/netkit.c: IFF_NOARP): packets go without ARP."""
    lab = next(iter(benches.values())).lab
    pod = lab.add_pod(f"d{next(NUMBERS)}")
    try:
        device = netkit(pod, "l3")
    except (Unavailable, LabError) as lack:
        note_unavailable("answered", "link_netkit_l3", str(lack))
        lab.delete_pod(pod)
        pytest.skip(f"netkit in mode l3: {lack}")
    _ip_inside(pod, f"route replace default dev {device.inner}")
    assert pod.ping_gateway(10)
    told = lab.node.run([*command(), "diagnose", device.name], timeout=PATIENCE_S)
    wrong = {}
    for engine, bench in benches.items():
        flags = bench.tracer.flags(device.name)
        note(
            Result(
                engine, "answered", "link_netkit_l3", "flagged" if flags else "answered", "observed"
            )
        )
        if flags:
            wrong[engine] = flags
    lab.delete_pod(pod)
    lab.node.run(["ip", "link", "del", device.name])
    assert wrong == {}
    assert "nobody asks by ARP there (netkit in mode l3)" in told.stdout
