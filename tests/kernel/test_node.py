# SPDX-License-Identifier: Apache-2.0
"""The look at the node and the causes it establishes, on the running kernel (root)."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import tracer

from tracer.causes import Finding, Seen, establish
from tracer.events import LinkGone, LinkSeen
from tracer.kernel import arp_socket
from tracer.node import netlink, netns
from tracer.node.links import LinkWatch
from tracer.node.look import Look
from tracer.node.looker import Looker
from tracer.node.moment import Moment
from tracer.node.peer import Peer, peer_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make namespaces")

TARGET = "169.254.1.1"
POD = "192.168.156.177"
CALI = "calic577831ffc7"


def sh(line: str) -> None:
    subprocess.run(line, shell=True, check=True, timeout=20)


class Node:
    """A namespace wired as Calico wires a node: an uplink, and one pod's interface."""

    def __init__(self) -> None:
        self.name = f"arpwhy-{uuid.uuid4().hex[:8]}"
        self.pod = f"{self.name}-pod"
        self.path = f"/run/netns/{self.name}"
        sh(f"ip netns add {self.name} && ip netns add {self.pod}")
        self.inode = Path(self.path).stat().st_ino
        self.run(
            "sh -ec '"
            f"ip link add {CALI} type veth peer name eth0 netns {self.pod};"
            "ip link add up0 type veth peer name up1;"
            f"for i in lo up0 up1 {CALI}; do ip link set $i up; done;"
            "ip address add 192.0.2.2/24 dev up0;"
            "ip route add default via 192.0.2.1;"
            f"ip route add {POD}/32 dev {CALI} scope link;"
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0"
            # The order matters: see the Linux bug of proxy_delay going to 0 under load.
            f" net.ipv4.neigh.{CALI}.proxy_delay=0 net.ipv4.conf.{CALI}.proxy_arp=1"
            f" net.ipv4.conf.{CALI}.rp_filter=1'"
        )
        sh(f"nsenter --net=/run/netns/{self.pod} ip link set eth0 up")
        with netns.entered(self.path, self.inode):
            self.ifindex = socket.if_nametoindex(CALI)

    def run(self, line: str) -> None:
        sh(f"nsenter --net={self.path} {line}")

    def conf(self, name: str, value: int) -> None:
        self.run(f"sysctl -qw net.ipv4.conf.{CALI}.{name}={value}")

    def remove(self) -> None:
        subprocess.run(
            f"ip netns del {self.name}; ip netns del {self.pod}", shell=True, check=False
        )


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    try:
        yield node
    finally:
        node.remove()


def inside(node: Node, looks: Callable[[Looker], Look]) -> Look:
    """A look by a thread that lives in the node's namespace, as the agent's does."""
    found: list[Look] = []

    def work() -> None:
        with netns.entered(node.path, node.inode):
            looker = Looker()
            try:
                found.append(looks(looker))
            finally:
                looker.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


def look(node: Node, sender: str = POD) -> Look:
    return inside(node, lambda looker: looker.look(node.inode, node.ifindex, CALI, sender, TARGET))


def found(node: Node) -> Finding:
    return establish(look(node), Seen())


def test_healthy(node: Node) -> None:
    seen = look(node)
    assert seen.failures == ()
    assert seen.netns_path is None
    assert seen.route is not None and seen.route.ok
    assert (seen.route.type, seen.route.out_interface) == ("unicast", "up0")
    assert (seen.route.gateway, seen.route.table) == ("192.0.2.1", 254)
    assert (seen.proxy_arp_interface, seen.proxy_arp_all) == (1, 0)
    assert (seen.forwarding, seen.ip_forward) == (1, 1)
    assert establish(seen, Seen()).reason == "unknown"


def test_proxy_arp_off(node: Node) -> None:
    node.conf("proxy_arp", 0)
    finding = found(node)
    assert (finding.reason, finding.confidence) == ("proxy_arp_off", "inferred")
    assert finding.remedy == f"sysctl -w net.ipv4.conf.{CALI}.proxy_arp=1"
    assert finding.evidence.read["proxy_arp"] == 0 and finding.evidence.read["proxy_arp_all"] == 0
    node.run(finding.remedy)
    assert found(node).reason == "unknown"


def test_proxy_arp_of_all_is_enough(node: Node) -> None:
    node.conf("proxy_arp", 0)
    node.run("sysctl -qw net.ipv4.conf.all.proxy_arp=1")
    assert found(node).reason == "unknown"


def test_forwarding_off(node: Node) -> None:
    node.conf("forwarding", 0)
    finding = found(node)
    assert (finding.reason, finding.confidence) == ("forwarding_off", "inferred")
    assert finding.evidence.read["route_error"] == "EHOSTUNREACH"
    assert finding.remedy == f"sysctl -w net.ipv4.conf.{CALI}.forwarding=1"
    node.run(finding.remedy)
    assert found(node).reason == "unknown"


def test_forwarding_off_for_the_whole_node(node: Node) -> None:
    node.run("sysctl -qw net.ipv4.ip_forward=0")
    finding = found(node)
    assert finding.reason == "forwarding_off"
    assert finding.remedy == "sysctl -w net.ipv4.ip_forward=1"
    node.run(finding.remedy)
    assert look(node).forwarding == 1


def test_a_missing_route_is_named_before_forwarding(node: Node) -> None:
    """With forwarding off every lookup that fails gives the same errno."""
    node.conf("forwarding", 0)
    node.conf("proxy_arp", 0)
    node.run("ip route del default")
    finding = found(node)
    assert finding.reason == "no_route"
    assert finding.evidence.read["route_error"] == "EHOSTUNREACH"
    assert finding.evidence.read["route_from_node_error"] == "ENETUNREACH"
    assert finding.remedy_kind == "advice"
    assert finding.remedy.startswith("No default route serves it")
    node.run("ip route add default via 192.0.2.1")
    assert found(node).reason == "forwarding_off"


# What breaks, the lookup's error, what refuses as it is named, and whether its deletion is a
# command; else what mends.
REFUSALS = {
    "unreachable": (
        "ip route replace unreachable default",
        "EHOSTUNREACH",
        "route unreachable default",
        "ip route replace default via 192.0.2.1",
    ),
    "throw": (
        "ip route replace throw default",
        "ENETUNREACH",
        "route throw default",
        "ip route replace default via 192.0.2.1",
    ),
    "blackhole of more": (
        "ip route add blackhole 169.254.0.0/16",
        "EINVAL",
        "route blackhole 169.254.0.0/16",
        "ip route del blackhole 169.254.0.0/16",
    ),
    "blackhole": (
        "ip route add blackhole 169.254.1.1/32 proto static",
        "EINVAL",
        "route blackhole 169.254.1.1/32 proto static",
        None,
    ),
    "blackhole of a daemon's": (
        "ip route add blackhole 169.254.1.1/32 proto bird",
        "EINVAL",
        "route blackhole 169.254.1.1/32 proto bird",
        "ip route del blackhole 169.254.1.1/32",
    ),
    "prohibit": (
        "ip route add prohibit 169.254.1.1/32 metric 7; ip route add 169.254.1.1 dev up0 metric 9",
        "EACCES",
        "route prohibit 169.254.1.1/32 metric 7",
        None,
    ),
    "next-hop object": (
        "ip nexthop add id 5 blackhole; ip route add 169.254.1.1/32 nhid 5",
        "EINVAL",
        "route 169.254.1.1/32 nhid 5",
        None,
    ),
    "default by a next-hop object": (
        "ip nexthop add id 5 blackhole; ip route replace default nhid 5",
        "EINVAL",
        "route default nhid 5",
        "ip route replace default via 192.0.2.1",
    ),
    "two alike": (
        "ip route add blackhole 169.254.1.1/32; ip route add unreachable 169.254.1.1/32 metric 9",
        "EINVAL",
        "route blackhole 169.254.1.1/32",
        "ip route del blackhole 169.254.1.1/32; ip route del unreachable 169.254.1.1/32",
    ),
    "prohibit rule": (
        f"ip rule add pref 5 iif {CALI} from 192.168.0.0/16 prohibit",
        "EACCES",
        f"rule from 192.168.0.0/16 iif {CALI} prohibit pref 5",
        None,
    ),
    "two rules of one preference": (
        f"ip rule add pref 5 iif {CALI} prohibit; ip rule add pref 5 iif {CALI} fwmark 1 prohibit",
        "EACCES",
        f"rule from all iif {CALI} prohibit pref 5",
        f"ip rule del pref 5 iif {CALI}; ip rule del pref 5 iif {CALI}",
    ),
    "a daemon's rule": (
        f"ip rule add pref 5 iif {CALI} prohibit protocol bird",
        "EACCES",
        f"rule from all iif {CALI} prohibit pref 5",
        "ip rule del pref 5",
    ),
    "unreachable rule": (
        "ip rule add pref 11 unreachable",
        "ENETUNREACH",
        "rule from all unreachable pref 11",
        "ip rule del pref 11",
    ),
    "blackhole rule": (
        "ip rule add pref 13 to 169.254.0.0/16 blackhole",
        "EINVAL",
        "rule from all to 169.254.0.0/16 blackhole pref 13",
        "ip rule del pref 13",
    ),
    "rule for the sender": (
        f"ip rule add pref 14 from {POD} blackhole",
        "EINVAL",
        f"rule from {POD}/32 blackhole pref 14",
        None,
    ),
    "rule for all but others": (
        "ip rule add pref 15 not from 10.0.0.0/8 prohibit",
        "EACCES",
        "rule not from 10.0.0.0/8 prohibit pref 15",
        "ip rule del pref 15",
    ),
    "rule for what has no mark": (
        f"ip rule add pref 16 fwmark 0/0x10 iif {CALI} blackhole",
        "EINVAL",
        f"rule from all fwmark 0x0/0x10 iif {CALI} blackhole pref 16",
        None,
    ),
    "past a goto": (
        "ip rule add pref 18 goto 20; ip rule add pref 19 prohibit; "
        f"ip rule add pref 20 iif {CALI} blackhole",
        "EINVAL",
        f"rule from all iif {CALI} blackhole pref 20",
        "ip rule del pref 20; ip rule del pref 18; ip rule del pref 19",
    ),
    "route in a table of its own": (
        "ip rule add pref 17 table 77; ip route add unreachable 169.254.0.0/16 table 77",
        "EHOSTUNREACH",
        "route unreachable 169.254.0.0/16 table 77",
        "ip rule del pref 17",
    ),
    "a table for the senders": (
        "ip rule add pref 17 from 192.168.0.0/16 table 77; "
        "ip route add blackhole default table 77; ip route add blackhole default table 78",
        "EINVAL",
        "route blackhole default table 77",
        "ip rule del pref 17",
    ),
    "a table for what has no mark": (
        "ip rule add pref 17 not fwmark 0xca6c table 77; ip route add prohibit default table 77; "
        "ip rule add pref 16 table main suppress_prefixlength 0",
        "EACCES",
        "route prohibit default table 77",
        "ip rule del pref 17",
    ),
}


def each(node: Node, commands: str) -> None:
    for command in commands.split("; "):
        node.run(command)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_refuses_is_named(node: Node, refusal: str) -> None:
    """And deleted only if it is for this pod, or this target, alone, and that helps."""
    breaks, error, named, mends = REFUSALS[refusal]
    each(node, breaks)
    seen = look(node)
    finding = establish(seen, Seen())
    assert (finding.reason, finding.confidence) == ("no_route", "inferred")
    assert (finding.evidence.read["route_error"], str(seen.refused_by)) == (error, named)
    if mends is None:
        assert finding.remedy_kind == "command", finding.remedy
        assert finding.remedy == f"ip {named.replace(' ', ' del ', 1)}"
    else:
        assert finding.remedy_kind == "advice", finding.remedy
        assert named in finding.remedy
    each(node, mends or finding.remedy)
    assert found(node).reason == "unknown"


@pytest.mark.parametrize("refusal", REFUSALS)
def test_with_forwarding_off_it_is_named_too(node: Node, refusal: str) -> None:
    breaks, error, named, _ = REFUSALS[refusal]
    each(node, breaks)
    node.conf("forwarding", 0)
    seen = look(node)
    assert (str(seen.refused_by), establish(seen, Seen()).reason) == (named, "no_route")
    assert seen.refused_by is not None and seen.refused_by.error == error


# What is done, and what is said of the default route that is there all the same.
UNSERVED = {
    "no rule": ("ip rule del pref 32766", "no rule leads to table main"),
    "suppressed": (
        "ip rule add pref 99 table main suppress_prefixlength 0; ip rule del pref 32766",
        "the rule from all lookup main suppress_prefixlength 0 pref 99 passes over it",
    ),
    "of another table": (
        "ip route del default; ip route add default via 192.0.2.1 table 77",
        "no rule leads to table 77",
    ),
    "for others": (
        "ip route del default; ip route add default via 192.0.2.1 table 77; "
        "ip rule add pref 9 from 10.0.0.0/8 table 77",
        "no rule leads to table 77",
    ),
    "no carrier": (
        "sysctl -qw net.ipv4.conf.up0.ignore_routes_with_linkdown=1; ip link set up1 down",
        "its link has no carrier, and ignore_routes_with_linkdown is on",
    ),
}


@pytest.mark.parametrize("kind", UNSERVED)
def test_a_default_route_that_does_not_serve_is_named(node: Node, kind: str) -> None:
    breaks, why = UNSERVED[kind]
    each(node, breaks)
    finding = found(node)
    assert (finding.reason, finding.remedy_kind) == ("no_route", "advice")
    table = " table 77" if "77" in breaks else ""
    there = f"the route default via 192.0.2.1 dev up0{table} is there, but {why}"
    assert there in str(finding.evidence.because)
    assert there[1:] in finding.remedy


def test_an_uplink_that_is_down_is_named(node: Node) -> None:
    node.run("ip link set up0 down")
    finding = found(node)
    assert (finding.reason, finding.remedy_kind) == ("no_route", "advice")
    assert "up0 (192.0.2.2/24) is down, and its routes went with it" in finding.remedy


def test_without_a_default_route(node: Node) -> None:
    node.run("ip route del default")
    finding = found(node)
    assert (finding.reason, finding.confidence) == ("no_route", "inferred")
    assert (finding.evidence.read["route_error"], finding.remedy_kind) == ("ENETUNREACH", "advice")
    assert "refused_by" not in finding.evidence.read
    node.run("ip route add default via 192.0.2.1")
    assert found(node).reason == "unknown"


def test_the_senders_address_is_a_broadcast_address(node: Node) -> None:
    node.run(f"ip address add 198.51.100.1/24 broadcast {POD} dev up0")
    finding = found(node)
    assert (finding.reason, finding.remedy_kind) == ("source_rejected", "advice")
    assert f"{POD} is the broadcast address of a network that the node has on up0" in finding.remedy
    assert "198.51.100.1/24" in finding.remedy
    node.conf("rp_filter", 0)  # then it is not asked for, unless there are rules
    assert found(node).reason == "unknown"
    node.run("ip rule add pref 9 from 10.0.0.0/8 table 77")
    assert found(node).reason == "source_rejected"


def test_rule_for_another_interface_is_not_named(node: Node) -> None:
    node.run("ip rule add pref 5 iif up1 prohibit")
    node.run("ip route add prohibit 169.254.1.1")
    assert found(node).remedy == "ip route del prohibit 169.254.1.1/32"


@pytest.mark.parametrize("rp_filter", [1, 2])
def test_source_rejected(node: Node, rp_filter: int) -> None:
    """The kernel refuses the sender: not a failed lookup of the target, whatever errno."""
    node.conf("rp_filter", rp_filter)
    node.run(f"ip route del {POD}/32")
    seen = look(node)
    assert seen.route is not None and not seen.route.ok
    assert seen.route.error in ("EINVAL", "EXDEV")
    assert seen.route_from_node is not None and seen.route_from_node.ok
    assert seen.sender_route is not None and seen.sender_route.out_interface == "up0"
    finding = establish(seen, Seen())
    assert finding.reason == "source_rejected"
    assert finding.evidence.read["rp_filter"] == rp_filter
    node.run(finding.remedy)
    assert found(node).reason == "unknown"


def test_blackholed_sender_is_not_no_route(node: Node) -> None:
    node.run(f"ip route replace blackhole {POD}/32")
    node.run("ip route add blackhole default metric 5")  # not what matched
    finding = found(node)
    assert finding.reason == "source_rejected"
    assert "refused_by" not in finding.evidence.read
    assert finding.evidence.read["sender_refused_by"] == f"route blackhole {POD}/32"
    node.run(finding.remedy)
    assert found(node).reason == "unknown"


def test_the_node_itself_has_the_senders_address(node: Node) -> None:
    node.run(f"ip address add {POD}/32 dev lo")
    seen = look(node)
    assert seen.sender_route is not None and seen.sender_route.type == "local"
    assert (seen.sender_owner, seen.target_owner) == ("lo", None)
    finding = establish(seen, Seen())
    assert finding.reason == "source_rejected"
    # Somebody may live by it: it is not for a command to take away.
    assert finding.remedy_kind == "advice"


def test_route_through_the_asking_interface_is_not_proxy_arp_off(node: Node) -> None:
    node.conf("proxy_arp", 0)
    node.run(f"ip route add 169.254.0.0/16 dev {CALI} metric 7")
    node.run("ip route add 169.254.1.0/24 dev up0 table 77")  # of a table that nobody asks
    seen = look(node)
    assert seen.route is not None and seen.route.out_ifindex == seen.ifindex
    assert str(seen.refused_by) == f"route 169.254.0.0/16 dev {CALI} metric 7"
    finding = establish(seen, Seen())
    # Others may be behind it, within its /16.
    assert (finding.reason, finding.remedy_kind) == ("route_same_interface", "advice")
    node.run(f"ip route del 169.254.0.0/16 dev {CALI} metric 7")
    assert found(node).reason == "proxy_arp_off"


@pytest.mark.parametrize("kind", ["multicast", "anycast", "broadcast"])
def test_a_route_that_is_not_unicast_is_named(node: Node, kind: str) -> None:
    node.run(f"ip route add {kind} {TARGET} dev up0 table {'main' if kind != 'broadcast' else 255}")
    seen = look(node)
    assert seen.route is not None
    answer = seen.route if seen.route.ok else seen.route_from_node
    assert answer is not None and answer.type == kind
    finding = establish(seen, Seen())
    assert finding.reason == "not_unicast_route"
    node.run(finding.remedy)
    assert found(node).reason == "unknown"


def filters(node: Node) -> dict[str, tuple[str, ...]]:
    seen = look(node)
    assert seen.failures == ()
    places = ("ingress", "egress", "arp_input", "arp_output")
    return {name: names for name in places if (names := getattr(seen, name))}


def test_tc_filters_of_clsact_and_of_an_ingress_qdisc(node: Node) -> None:
    passes = "bpf bytecode '1,6 0 0 4294967295' direct-action"
    node.run(f"tc qdisc add dev {CALI} clsact")
    node.run(f"tc filter add dev {CALI} ingress protocol all pref 7 {passes}")
    node.run(f"tc filter add dev {CALI} ingress protocol ip pref 11 {passes}")  # ARP is none
    node.run(f"tc filter add dev {CALI} egress protocol arp pref 13 {passes}")
    assert filters(node) == {
        "ingress": ("tc filter bpf pref 7",),
        "egress": ("tc filter bpf pref 13",),
    }
    node.run(f"tc qdisc del dev {CALI} clsact")
    node.run(f"tc qdisc add dev {CALI} ingress")
    node.run(f"tc filter add dev {CALI} parent ffff: protocol arp pref 17 {passes}")
    assert filters(node) == {"ingress": ("tc filter bpf pref 17",)}


def test_a_root_queue_that_drops(node: Node) -> None:
    node.run(f"tc qdisc add dev {CALI} root pfifo limit 7")
    assert (look(node).egress, look(node).egress_drops) == (("tc qdisc pfifo",), None)
    node.run(f"tc qdisc replace dev {CALI} root pfifo limit 0")
    assert look(node).egress_drops == "tc qdisc pfifo"
    node.run(f"tc qdisc replace dev {CALI} root blackhole")
    assert look(node).egress_drops == "tc qdisc blackhole"


def nft(node: Node, *lines: str) -> None:
    text = "\n".join(lines)
    sh(f"nsenter --net={node.path} nft -f - <<'END'\n{text}\nEND")


def table(family: str, name: str, hook: str, *rules: str, policy: str = "accept") -> list[str]:
    base = f"type filter hook {hook} priority 0; policy {policy};"
    return [f"table {family} {name} {{", "chain c {", base, *rules, "}", "}"]


@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft (nftables)")
def test_nft_chains(node: Node) -> None:
    """Listed: those that may drop; a policy that accepts without rules lets all pass."""
    nft(
        node,
        *table("arp", "open", "input"),
        *table("arp", "t", "input", "arp plen 4 drop"),
        *table("arp", "calico-arp", "output", policy="drop"),
        *table("netdev", "n", f'ingress device "{CALI}"', policy="drop"),
        *table("netdev", "other", 'ingress device "up0"', policy="drop"),
    )
    assert filters(node) == {
        "ingress": ("nft netdev n c",),
        "arp_input": ("nft arp t c",),
        "arp_output": ("nft arp calico-arp c",),
    }
    seen = look(node)
    assert seen.ingress_drops == "nft netdev n c"
    assert seen.arp_input_drops == "nft arp t c"
    assert (seen.arp_output_drops, seen.egress_drops) == ("nft arp calico-arp c", None)
    nft(node, "table arp t {", "flags dormant;", "}")
    assert look(node).arp_input == ()


def tcx_program(ifindex: int, attach_type: int) -> int:
    """The descriptor of a link that holds a program which passes everything on."""
    libc = ctypes.CDLL(None, use_errno=True)
    syscall = {"x86_64": 321, "aarch64": 280}[platform.machine()]

    def bpf(command: int, *fields: int, layout: str) -> int:
        attributes = struct.pack(layout, *fields).ljust(128, b"\0")
        descriptor = int(libc.syscall(syscall, command, attributes, len(attributes)))
        if descriptor < 0:
            pytest.skip(f"needs tcx: {os.strerror(ctypes.get_errno())}")
        return descriptor

    code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xB7, 0, 0, -1, 0x95, 0, 0, 0), 16)
    name = ctypes.create_string_buffer(b"GPL")
    pointers = (ctypes.addressof(code), ctypes.addressof(name))
    program = bpf(5, 3, 2, *pointers, layout="=IIQQ")  # BPF_PROG_LOAD, BPF_PROG_TYPE_SCHED_CLS
    try:
        return bpf(28, program, ifindex, attach_type, 0, layout="=IIII")  # BPF_LINK_CREATE
    finally:
        os.close(program)


def test_tcx_programs(node: Node) -> None:
    with netns.entered(node.path, node.inode):
        descriptors = [tcx_program(node.ifindex, attach_type) for attach_type in (46, 47, 47)]
    try:
        found = filters(node)
        assert set(found) == {"ingress", "egress"}
        assert [len(found[where]) for where in ("ingress", "egress")] == [1, 2]
        assert all(
            re.fullmatch(r"tcx prog \d+", name) for names in found.values() for name in names
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    assert filters(node) == {}


def test_another_namespace_is_looked_into(node: Node) -> None:
    before = netns.own()
    node.conf("proxy_arp", 0)
    looker = Looker()
    try:
        seen = looker.look(node.inode, node.ifindex, CALI, POD, TARGET)
    finally:
        looker.close()
    assert netns.own() == before
    assert seen.netns_path == node.path
    assert seen.failures == ()
    finding = establish(seen, Seen())
    assert finding.reason == "proxy_arp_off"
    assert finding.remedy == (
        f"nsenter --net={node.path} sysctl -w net.ipv4.conf.{CALI}.proxy_arp=1"
    )
    sh(finding.remedy)
    assert found(node).reason == "unknown"


@pytest.fixture
def held() -> Iterator[subprocess.Popen[bytes]]:
    """The process that alone holds a namespace."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    try:
        link = Path(f"/proc/{holder.pid}/ns/net")
        deadline = time.monotonic() + 5
        while link.stat().st_ino == netns.own() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert link.stat().st_ino != netns.own()
        yield holder
    finally:
        holder.kill()
        holder.wait()


def test_namespace_that_only_a_process_holds(held: subprocess.Popen[bytes]) -> None:
    link = Path(f"/proc/{held.pid}/ns/net")
    assert netns.find(link.stat().st_ino) == str(link)


def test_namespace_that_is_gone(node: Node) -> None:
    looker = Looker()
    try:
        finding = establish(looker.look(1, 7, CALI, POD, TARGET), Seen())
    finally:
        looker.close()
    assert finding.reason == "unknown"
    unread = finding.evidence.read["unread"]
    assert unread == "network namespace 1: no file or process leads to it"


def test_nothing_is_to_be_pasted_where_the_namespace_is_gone(node: Node) -> None:
    """A command would change the namespace of whoever pastes it."""
    seen = inside(node, lambda looker: looker.look(1, node.ifindex, CALI, POD, TARGET))
    finding = establish(seen, Seen(noarp=True))
    assert (finding.reason, finding.remedy_kind) == ("arp_disabled", "advice")
    assert "network namespace 1" in finding.remedy


def test_a_namespace_without_a_name_is_entered_by_a_process(node: Node) -> None:
    """As a container's has none."""
    script = "ip link add v0 type veth peer name v1; ip link set v0 up; echo; exec sleep 60"
    with subprocess.Popen(["unshare", "-n", "sh", "-c", script], stdout=subprocess.PIPE) as there:
        try:
            assert there.stdout is not None and there.stdout.readline()
            inode = Path(f"/proc/{there.pid}/ns/net").stat().st_ino
            seen = inside(node, lambda looker: looker.look(inode, 3, "v0", POD, TARGET))
            assert seen.netns_path == f"/proc/{there.pid}/ns/net"
            remedy = establish(seen, Seen(noarp=True)).remedy
            assert remedy == f"nsenter --net=/proc/{there.pid}/ns/net ip link set dev v0 arp on"
            sh(remedy)
        finally:
            there.kill()


def test_the_pods_end_that_was_set_down_is_named(node: Node) -> None:
    sh(f"nsenter --net=/run/netns/{node.pod} ip link set eth0 down")
    finding = establish(look(node), Seen(link="no carrier"))
    assert (finding.reason, finding.remedy_kind) == ("link_down", "advice")
    told, routes = finding.remedy.split("\n")
    enter = f"nsenter --net=/run/netns/{node.pod} ip"
    assert told == (
        f"The other end of {CALI}, eth0, was set down in the pod: {enter} link set dev eth0 up."
    )
    assert routes.endswith(
        f": {enter} route add {TARGET} dev eth0 scope link, and after it "
        f"{enter} route add default via {TARGET} dev eth0."
    )


def test_the_last_address_of_a_network_is_its_broadcast_address(node: Node) -> None:
    sender = "192.168.156.255"
    node.run(f"ip route add {sender}/32 dev {CALI} scope link")
    assert establish(look(node, sender), Seen()).reason == "unknown"
    node.run("ip address add 192.168.156.1/24 dev up0")
    finding = establish(look(node, sender), Seen())
    assert (finding.reason, finding.remedy_kind) == ("source_rejected", "advice")
    assert "it is the broadcast address of 192.168.156.1/24 on up0" in finding.remedy


def test_interface_that_is_gone(node: Node) -> None:
    node.run(f"ip link del {CALI}")
    finding = found(node)
    assert finding.reason == "unknown"
    assert f"interface {CALI} (index {node.ifindex})" in str(finding.evidence.read["unread"])


def test_renamed_interface_is_read_by_its_new_name(node: Node) -> None:
    node.conf("proxy_arp", 0)
    node.run(f"ip link set {CALI} down")
    node.run(f"ip link set {CALI} name cali.7")
    node.run("ip link set cali.7 up")
    node.run(f"ip route add {POD}/32 dev cali.7 scope link")
    finding = found(node)
    assert finding.remedy == "sysctl -w net.ipv4.conf.cali/7.proxy_arp=1"
    node.run(finding.remedy)
    assert found(node).reason == "unknown"


class Watch:
    """A LinkWatch made in the node's namespace; its socket stays there."""

    def __init__(self, node: Node, *globs: str) -> None:
        self.node = node
        self.clock = iter(range(1, 100_003))
        with netns.entered(node.path, node.inode):
            self.watch = LinkWatch(globs, lambda: next(self.clock))
            self.existing = self.watch.existing()

    def told(self) -> list[tuple[str, str, str | None]]:
        """(kind, name, blind) of what the socket holds, which is readable at once by now."""
        with netns.entered(self.node.path, self.node.inode):  # a resync dumps
            events = self.watch.read()
        assert all(event.netns == self.node.inode for event in events)
        return [
            (type(event).__name__, event.interface, getattr(event, "blind", None))
            for event in events
        ]


@pytest.fixture
def watch(node: Node) -> Iterator[Watch]:
    watch = Watch(node, "cali*", "tap?")
    try:
        yield watch
    finally:
        watch.watch.close()


def test_links_that_exist(node: Node, watch: Watch) -> None:
    assert watch.existing == [LinkSeen(1, node.inode, node.ifindex, CALI)]
    assert watch.told() == []


def test_links_come_and_go(node: Node, watch: Watch) -> None:
    node.run("ip link add cali1 type veth peer name other1")
    node.run("ip link set cali1 up")
    node.run("ip link set cali1 mtu 1400")
    assert select.select([watch.watch.fileno()], [], [], 0)[0]
    assert watch.told() == [("LinkSeen", "cali1", "down"), ("LinkSeen", "cali1", "no carrier")]
    node.run("ip link set other1 up")
    assert watch.told() == [("LinkSeen", "cali1", None)]
    node.run("ip link del other1")
    assert watch.told()[-1] == ("LinkGone", "cali1", None)
    assert not select.select([watch.watch.fileno()], [], [], 0)[0]


def test_link_renamed_within_out_of_and_into_the_globs(node: Node, watch: Watch) -> None:
    node.run(f"ip link set {CALI} down")
    for name in ("tap7", "eth7", "cali7"):
        before = CALI if name == "tap7" else "tap7" if name == "eth7" else "eth7"
        node.run(f"ip link set {before} name {name}")
    assert watch.told() == [
        ("LinkSeen", CALI, "down"),
        ("LinkSeen", "tap7", "down"),
        ("LinkGone", "tap7", None),
        ("LinkSeen", "cali7", "down"),
    ]


def test_link_moved_to_another_namespace(node: Node, watch: Watch) -> None:
    node.run(f"ip link set {CALI} netns {node.pod}")
    assert watch.told() == [("LinkSeen", CALI, "down"), ("LinkGone", CALI, None)]


def test_link_that_leaves_a_bridge_is_not_gone(node: Node, watch: Watch) -> None:
    node.run("ip link add br0 type bridge")
    node.run(f"ip link set {CALI} master br0")
    assert watch.told() == [("LinkSeen", CALI, "bridge br0")]
    node.run(f"ip link set {CALI} nomaster")
    assert watch.told() == [("LinkSeen", CALI, None)]


def test_index_that_is_reused(node: Node, watch: Watch) -> None:
    node.run(f"ip link del {CALI}")
    node.run(f"ip link add cali2 index {node.ifindex} type veth peer name other2")
    with netns.entered(node.path, node.inode):
        events = watch.watch.read()
    assert events == [
        LinkSeen(2, node.inode, node.ifindex, CALI, "down"),
        LinkGone(3, node.inode, node.ifindex, CALI),
        LinkSeen(4, node.inode, node.ifindex, "cali2", "down"),
    ]


def test_lost_notifications_are_made_good(node: Node, watch: Watch) -> None:
    """The receive buffer overflows; the watch compares with what is there."""
    smallest = 1
    watch.watch._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, smallest)
    for number in range(11):
        node.run(f"ip link add cali{number} type veth peer name other{number}")
    node.run(f"ip link del {CALI}")
    resyncs: list[object] = []
    resync = watch.watch._resync
    watch.watch._resync = lambda told: (resyncs.append(told), resync(told))[1]
    told = watch.told()
    assert len(resyncs) == 1
    assert sorted(told) == sorted(
        [("LinkSeen", f"cali{number}", "down") for number in range(11)] + [("LinkGone", CALI, None)]
    )
    assert watch.told() == []


def test_dump_filter_works_in_the_kernel(node: Node) -> None:
    """Since 4.20: of a large table only the routes that refuse are handed out."""
    node.run("ip route add blackhole 198.51.100.0/24")
    with netns.entered(node.path, node.inode):
        question = bytes([2, 0, 0, 0, 0, 0, 0, 6]) + bytes(4)
        assert len(netlink.dump(netlink.RTM_GETROUTE, question)) == 1


def peer(node: Node, name: str = CALI) -> Peer | str:
    with netns.entered(node.path, node.inode), netlink.Connection() as connection:
        return peer_of(connection, socket.if_nametoindex(name))


def otherhost(node: Node) -> int | None:
    with netns.entered(node.path, node.inode), Moment() as moment:
        return moment.link(node.ifindex).otherhost


def test_the_peer_inside_the_pod(node: Node) -> None:
    entry = f"{TARGET} lladdr 02:00:00:00:00:07 nud permanent dev eth0"
    sh(f"nsenter --net=/run/netns/{node.pod} ip neigh replace {entry}")
    there = netns.own()
    found = peer(node)
    assert isinstance(found, Peer)
    assert (found.name, found.up) == ("eth0", True)
    assert found.netns_path == f"/run/netns/{node.pod}"
    assert found.neighbours == {TARGET: ("permanent", "02:00:00:00:00:07")}
    assert netns.own() == there


def test_the_peer_in_the_nodes_own_namespace(node: Node) -> None:
    found = peer(node, "up0")
    assert isinstance(found, Peer)
    assert (found.netns_path, found.name, found.neighbours) == (None, "up1", {})


def test_the_peer_in_a_namespace_that_only_a_process_holds(
    node: Node, held: subprocess.Popen[bytes]
) -> None:
    node.run(f"ip link add cali7 type veth peer name eth7 netns {held.pid}")
    found = peer(node, "cali7")
    assert isinstance(found, Peer)
    assert (found.name, found.netns_path) == ("eth7", f"/proc/{held.pid}/ns/net")


def test_a_peer_that_cannot_be_had(node: Node) -> None:
    node.run("ip tuntap add tap7 mode tap")
    assert peer(node, "tap7") == "is no end of a pair, but a tun"
    with Path(f"/run/netns/{node.pod}").open():  # which alone holds the namespace from now on
        sh(f"ip netns del {node.pod}")
        assert peer(node) == "has its other end in a namespace to which no file or process leads"


def test_packets_for_another_mac_are_counted(node: Node) -> None:
    sh(
        f"nsenter --net=/run/netns/{node.pod} sh -ec '"
        f"ip address add {POD}/32 dev eth0; ip route add {TARGET} dev eth0 scope link;"
        f"ip neigh replace {TARGET} lladdr 02:00:00:00:00:07 nud permanent dev eth0'"
    )
    before = otherhost(node)
    if before is None:
        pytest.skip("before Linux 5.19")
    ping = f"nsenter --net=/run/netns/{node.pod} ping -n -c 3 -i 0.2 -W 1 {TARGET}"
    assert subprocess.run(ping, check=False, shell=True, capture_output=True).returncode == 1
    assert (before, otherhost(node)) == (0, 3)


RESPONDER = Path(__file__).parents[1] / "lab/faults/responder.py"


@pytest.fixture
def responder(node: Node) -> Iterator[subprocess.Popen[str]]:
    argv = ["nsenter", f"--net={node.path}", sys.executable, str(RESPONDER), CALI, "-"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_program_that_listens_for_arp_is_named(
    node: Node, responder: subprocess.Popen[str]
) -> None:
    name = Path(f"/proc/{responder.pid}/comm").read_text().strip()
    seen = look(node)
    assert seen.arp_listeners == (f"{name} (pid {responder.pid})",)
    assert seen.evidence()["arp_listeners"] == seen.arp_listeners[0]
    node.run("ip link add cali7 type veth peer name other7")  # on which it does not listen
    with netns.entered(node.path, node.inode):
        other = socket.if_nametoindex("cali7")
    asked = inside(node, lambda looker: looker.look(node.inode, other, "cali7", POD, TARGET))
    assert asked.arp_listeners == ()


def test_nothing_is_mended_for_the_whole_node_while_a_program_may_answer(
    node: Node, responder: subprocess.Popen[str]
) -> None:
    node.run("sysctl -qw net.ipv4.ip_forward=0")
    finding = found(node)
    assert (finding.reason, finding.remedy_kind) == ("forwarding_off", "advice")
    assert f"(pid {responder.pid})" in finding.remedy
    node.run("sysctl -qw net.ipv4.ip_forward=1")
    node.conf("proxy_arp", 0)  # the pod's own, which Calico set
    assert found(node).remedy_kind == "command"
    node.conf("proxy_arp", 1)
    responder.kill()
    responder.wait()
    node.run("sysctl -qw net.ipv4.ip_forward=0")
    assert found(node).remedy == "sysctl -w net.ipv4.ip_forward=1"


def test_tcpdump_and_our_own_socket_are_no_listeners(node: Node) -> None:
    with netns.entered(node.path, node.inode):
        ours = arp_socket.open_socket()
        tcpdump = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        tcpdump.bind((CALI, 3))
        ours.bind((CALI, arp_socket.ETH_P_ARP))
    with ours, tcpdump:
        assert look(node).arp_listeners == ()


def test_the_socket_of_another_arpwhy_is_no_listener(node: Node) -> None:
    argv = ["nsenter", f"--net={node.path}", *tracer.command(), "trace", "--engine", "tracepoint"]
    trace = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert trace.stderr is not None
    try:
        said = iter(trace.stderr.readline, "")
        if not any(line.startswith("tracing ") for line in said):
            pytest.skip("the engine does not run here")
        with netns.entered(node.path, node.inode), Moment() as moment:
            assert [each.hears(node.ifindex) for each in moment.arp_sockets] == [True]
        assert look(node).arp_listeners == ()
    finally:
        trace.kill()
        trace.wait()
        trace.stderr.close()


def test_the_socket_of_an_arpwhy_that_starts_is_no_listener(node: Node) -> None:
    """The loading process opens it, before the tracing process has it."""
    with netns.entered(node.path, node.inode):
        opened = arp_socket.open_socket()
    ours, theirs = socket.socketpair()
    argv = [sys.executable, "-P", "-m", "tracer.kernel.loader", str(theirs.fileno())]
    with theirs, opened:
        opened.bind((CALI, arp_socket.ETH_P_ARP))
        passed = (theirs.fileno(), opened.fileno())
        child = subprocess.Popen(argv, pass_fds=passed, stderr=subprocess.DEVNULL)
    with ours:  # as long as it is open the child waits for its order
        with netns.entered(node.path, node.inode), Moment() as moment:
            assert [each.hears(node.ifindex) for each in moment.arp_sockets] == [True]
        assert look(node).arp_listeners == ()
    child.wait()
