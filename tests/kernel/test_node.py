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
from lab.tracer import command

from tracer.causes import Finding, establish
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
    return establish(look(node), {})


def test_healthy(node: Node) -> None:
    seen = look(node)
    assert seen.failures == ()
    assert seen.netns_path is None
    assert seen.route is not None and seen.route.ok
    assert (seen.route.type, seen.route.out_interface) == ("unicast", "up0")
    assert (seen.route.gateway, seen.route.table) == ("192.0.2.1", 254)
    assert (seen.proxy_arp_interface, seen.proxy_arp_all) == (1, 0)
    assert (seen.forwarding, seen.ip_forward) == (1, 1)
    assert establish(seen, {}).reason == "unknown"


def test_proxy_arp_off(node: Node) -> None:
    node.conf("proxy_arp", 0)
    finding = found(node)
    assert (finding.reason, finding.confidence) == ("proxy_arp_off", "inferred")
    assert finding.remedy == f"sysctl -w net.ipv4.conf.{CALI}.proxy_arp=1"
    assert finding.evidence["proxy_arp"] == 0 and finding.evidence["proxy_arp_all"] == 0
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
    assert finding.evidence["route_error"] == "EHOSTUNREACH"
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
    assert finding.evidence["route_error"] == "EHOSTUNREACH"
    assert finding.evidence["route_from_node_error"] == "ENETUNREACH"
    assert finding.remedy_kind == "advice"
    assert finding.remedy.startswith("No default route serves it")
    node.run("ip route add default via 192.0.2.1")
    assert found(node).reason == "forwarding_off"


REFUSALS = {
    "no default": ("ip route del default", "ENETUNREACH", None),
    "unreachable": (
        "ip route replace unreachable default",
        "EHOSTUNREACH",
        "ip route del unreachable default",
    ),
    "blackhole": (
        "ip route add blackhole 169.254.0.0/16",
        "EINVAL",
        "ip route del blackhole 169.254.0.0/16",
    ),
    "prohibit": (
        "ip route add prohibit 169.254.1.1/32 metric 7",
        "EACCES",
        "ip route del prohibit 169.254.1.1/32 metric 7",
    ),
    "throw": ("ip route replace throw default", "ENETUNREACH", "ip route del throw default"),
    "prohibit rule": (
        f"ip rule add pref 5 iif {CALI} from 192.168.0.0/16 prohibit",
        "EACCES",
        "ip rule del prohibit pref 5",
    ),
    "unreachable rule": (
        "ip rule add pref 11 unreachable",
        "ENETUNREACH",
        "ip rule del unreachable pref 11",
    ),
    "blackhole rule": (
        "ip rule add pref 13 to 169.254.0.0/16 blackhole",
        "EINVAL",
        "ip rule del blackhole pref 13",
    ),
    "route in a table of its own": (
        "ip rule add pref 17 table 77; nsenter --net={path} ip route add unreachable"
        " 169.254.0.0/16 table 77",
        "EHOSTUNREACH",
        "ip route del unreachable 169.254.0.0/16 table 77",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_no_route(node: Node, refusal: str) -> None:
    breaks, error, remedy = REFUSALS[refusal]
    node.run(breaks.replace("{path}", node.path))
    finding = found(node)
    assert (finding.reason, finding.confidence) == ("no_route", "inferred")
    assert finding.evidence["route_error"] == error
    if remedy is None:
        assert finding.remedy_kind == "advice"
    else:
        assert finding.remedy == remedy
        node.run(remedy)
    if refusal in ("no default", "unreachable", "throw"):  # they took the default's place
        node.run("ip route add default via 192.0.2.1")
    assert found(node).reason == "unknown"


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
    finding = establish(seen, {})
    assert finding.reason == "source_rejected"
    assert finding.evidence["rp_filter"] == rp_filter
    node.run(finding.remedy)
    assert found(node).reason == "unknown"


def test_blackholed_sender_is_not_no_route(node: Node) -> None:
    node.run(f"ip route replace blackhole {POD}/32")
    node.run("ip route add blackhole default metric 5")  # not what matched
    finding = found(node)
    assert finding.reason == "source_rejected"
    assert "refused_by" not in finding.evidence
    assert finding.evidence["sender_refused_by"] == f"route blackhole {POD}/32"
    node.run(finding.remedy)
    assert found(node).reason == "unknown"


def test_the_node_itself_has_the_senders_address(node: Node) -> None:
    node.run(f"ip address add {POD}/32 dev lo")
    seen = look(node)
    assert seen.sender_route is not None and seen.sender_route.type == "local"
    assert (seen.sender_owner, seen.target_owner) == ("lo", None)
    finding = establish(seen, {})
    assert finding.reason == "source_rejected"
    # Somebody may live by it: it is not for a command to take away.
    assert finding.remedy_kind == "advice"


def test_route_through_the_asking_interface_is_not_proxy_arp_off(node: Node) -> None:
    node.conf("proxy_arp", 0)
    node.run(f"ip route add 169.254.0.0/16 dev {CALI} metric 7")
    node.run("ip route add 169.254.1.0/24 dev up0 table 77")  # of a table that nobody asks
    seen = look(node)
    assert seen.route is not None and seen.route.out_ifindex == seen.ifindex
    assert seen.refused_by == f"route 169.254.0.0/16 metric 7 dev {CALI}"
    finding = establish(seen, {})
    assert finding.reason == "route_same_interface"
    node.run(finding.remedy)
    assert found(node).reason == "proxy_arp_off"


@pytest.mark.parametrize("kind", ["multicast", "anycast", "broadcast"])
def test_a_route_that_is_not_unicast_is_named(node: Node, kind: str) -> None:
    node.run(f"ip route add {kind} {TARGET} dev up0 table {'main' if kind != 'broadcast' else 255}")
    seen = look(node)
    assert seen.route is not None
    answer = seen.route if seen.route.ok else seen.route_from_node
    assert answer is not None and answer.type == kind
    finding = establish(seen, {})
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
    finding = establish(seen, {})
    assert finding.reason == "proxy_arp_off"
    assert finding.remedy == (
        f"nsenter --net={node.path} sysctl -w net.ipv4.conf.{CALI}.proxy_arp=1"
    )
    sh(finding.remedy)
    assert found(node).reason == "unknown"


def test_namespace_that_only_a_process_holds(node: Node) -> None:
    holder = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    try:
        link = Path(f"/proc/{holder.pid}/ns/net")
        deadline = time.monotonic() + 5
        while link.stat().st_ino == netns.own() and time.monotonic() < deadline:
            time.sleep(0.01)
        inode = link.stat().st_ino
        assert inode != netns.own()
        assert netns.find(inode) == str(link)
    finally:
        holder.kill()
        holder.wait()


def test_namespace_that_is_gone(node: Node) -> None:
    looker = Looker()
    try:
        finding = establish(looker.look(1, 7, CALI, POD, TARGET), {})
    finally:
        looker.close()
    assert finding.reason == "unknown"
    assert finding.evidence["unread"] == ("network namespace 1: no file or process leads to it")


def test_interface_that_is_gone(node: Node) -> None:
    node.run(f"ip link del {CALI}")
    finding = found(node)
    assert finding.reason == "unknown"
    assert f"interface {CALI} (index {node.ifindex})" in str(finding.evidence["unread"])


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


def test_the_peer_in_a_namespace_that_only_a_process_holds(node: Node) -> None:
    holder = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    try:
        path = Path(f"/proc/{holder.pid}/ns/net")
        deadline = time.monotonic() + 5
        while path.stat().st_ino == netns.own() and time.monotonic() < deadline:
            time.sleep(0.01)
        node.run(f"ip link add cali7 type veth peer name eth7 netns {holder.pid}")
        found = peer(node, "cali7")
        assert isinstance(found, Peer)
        assert (found.name, found.netns_path) == ("eth7", str(path))
    finally:
        holder.kill()
        holder.wait()


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


def test_tcpdump_and_our_own_socket_are_no_listeners(node: Node) -> None:
    with netns.entered(node.path, node.inode):
        ours = arp_socket.open_socket()
        tcpdump = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        tcpdump.bind((CALI, 3))
        ours.bind((CALI, arp_socket.ETH_P_ARP))
    with ours, tcpdump:
        assert look(node).arp_listeners == ()


def test_the_socket_of_another_arpwhy_is_no_listener(node: Node) -> None:
    argv = ["nsenter", f"--net={node.path}", *command(), "trace", "--engine", "tracepoint"]
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
