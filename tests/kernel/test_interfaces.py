# SPDX-License-Identifier: Apache-2.0
"""Interfaces come and go; the node's neighbour entries on them change."""

from __future__ import annotations

import socket

from conftest import NUMBERS, PATIENCE_S, Bench
from lab import HOST_MAC, Lab, frames, traffic
from lab.pod import Pod
from lab.tracer import Tracer


def test_no_interface_yet_is_said_and_the_first_is_seen(engine: str) -> None:
    with Lab("late", pods=0) as lab, Tracer(lab.node, engine, ["-i", "cali*"]) as tracer:
        assert any("no interface matches cali*" in line for line in tracer.stderr)
        pod = lab.add_pod()
        pod.ask(3)
        tracer.wait_for_count(3, lambda line: line["type"] == "request", PATIENCE_S)
        assert tracer.of_type("start")[0]["interfaces"] == []


def test_a_reused_index_is_a_new_interface(bench: Bench) -> None:
    """The old one's flag goes with it; the new one's requests are its own."""
    first = bench.lab.add_pod(f"r{next(NUMBERS)}")
    index = bench.lab.node.call(lambda: socket.if_nametoindex(first.interface))
    with bench.lab.broken("proxy_arp_off", first):
        first.ask(3)
        bench.flag(first, "raised")
    bench.lab.delete_pod(first)
    bench.flag(first, "cleared")

    def again(argv: str) -> None:
        done = bench.lab.node.run(["sh", "-ec", argv])
        assert done.returncode == 0, done.stderr

    name = f"calire{next(NUMBERS)}"
    again(
        f"ip link add {name} index {index} address {HOST_MAC} type veth peer name {name}p;"
        f"ip link set {name} up; ip link set {name}p up;"
        f"echo 0 > /proc/sys/net/ipv4/neigh/{name}/proxy_delay;"
        f"echo 1 > /proc/sys/net/ipv4/conf/{name}/proxy_arp;"
        f"ip route add 192.168.99.7/32 dev {name}"
    )
    # Its other end stays in the node: a frame sent there comes in on the new interface.

    frame = frames.arp(
        frames.REQUEST,
        sender_mac="02:00:00:00:00:07",
        sender_ip="192.168.99.7",
        target_ip="169.254.1.1",
        destination=frames.BROADCAST,
    )
    with bench.lab.node.call(lambda: traffic.packet_socket(f"{name}p")) as sock:
        for _ in range(5):
            sock.send(frame)
    lines = bench.tracer.wait_for_count(
        5, lambda line: line["type"] == "request" and line["interface"] == name, PATIENCE_S
    )
    assert {(line["ifindex"], line["verdict"]) for line in lines} == {(index, "answered")}
    again(f"ip link del {name}")


def test_the_node_resolves_the_pod(bench: Bench, pod: Pod) -> None:
    bench.lab.node.run(["ping", "-n", "-c", "1", "-W", "1", pod.address])
    line = bench.tracer.wait_for(
        lambda line: (
            line["type"] == "neighbour"
            and line["interface"] == pod.interface
            and line["new_state"] == "reachable"
        ),
        PATIENCE_S,
    )
    assert (line["ip"], line["mac"]) == (pod.address, pod.mac)
    states = [(n["old_state"], n["new_state"]) for n in bench.tracer.neighbours(pod.interface)]
    assert ("incomplete", "reachable") in states


def test_a_pod_that_the_node_cannot_resolve(bench: Bench, pod: Pod) -> None:
    with bench.lab.broken("link_down", pod):
        # The host side has no carrier then: ask while the kernel still tries.
        pod.run(["ip", "link", "set", "eth0", "up", "arp", "off"])
        bench.lab.node.run(["ping", "-n", "-c", "1", "-W", "1", pod.address])
        line = bench.tracer.wait_for(
            lambda line: (
                line["type"] == "neighbour"
                and line["interface"] == pod.interface
                and line["new_state"] == "failed"
            ),
            PATIENCE_S,
        )
    assert (line["ip"], line["mac"]) == (pod.address, None)
