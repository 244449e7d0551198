# SPDX-License-Identifier: Apache-2.0
"""``arpwhy diagnose`` on the lab's node: what configuration can show is named, and mended."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import remedies
import scenarios
from lab import Lab
from lab.errors import Unavailable
from lab.faults import FAULTS
from lab.pod import Pod
from lab.tracer import command
from lab.wiring import ROUTER_ADDRESS

# What a program does with a packet is not in its configuration, nor how full a queue is: there
# only a warning is given, of this name.
WARNED = {
    "tc_ingress_drop": "ingress",
    "tc_ingress_stolen": "ingress",
    "tc_egress_drop": "egress",
    "tc_egress_stolen": "egress",
    "xdp_generic_drop": "xdp",
    "xdp_native_drop": "xdp",
    "proxy_queue_full": "proxy_delay",
    "proxy_queue_full_zero": "proxy_delay",
    "moved_mac": "mac",
    "nft_arp_input_by_sender": "arp_input",
    "egress_limit_full": "ingress",
    "ingress_limit_full": "egress",
    "ingress_limit_full_class": "egress",
}
# Nothing on the node is broken: what the pod sends is.
UNSEEN = {name for name, fault in FAULTS.items() if fault.frame is not None} - WARNED.keys()
SHOWN = [
    (fault, reason)
    for reason, fault in scenarios.REFUSED
    if fault not in WARNED and fault not in UNSEEN
]

MOST_MENDS = 4


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab("diagnose", pods=2) as lab:
        yield lab


def run(lab: Lab, *args: str) -> subprocess.CompletedProcess[str]:
    return lab.node.run([*command(), "diagnose", *args])


def diagnosed(lab: Lab, *args: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit status, and the interfaces by name."""
    done = run(lab, "--format", "json", *args)
    assert done.stderr == ""
    values = json.loads(done.stdout)
    assert (values["type"], values["complete"]) == ("diagnosis", True)
    assert values["netns"] == lab.node.inode
    return done.returncode, {each["interface"]: each for each in values["interfaces"]}


def break_(lab: Lab, fault: str, pod: Pod) -> None:
    try:
        lab.break_(fault, pod)
    except Unavailable as lack:
        pytest.skip(str(lack))


def warnings(interface: dict[str, Any]) -> list[str]:
    return [warning["name"] for warning in interface["warnings"]]


def test_healthy(lab: Lab) -> None:
    status, interfaces = diagnosed(lab)
    assert status == 0
    assert set(interfaces) == {pod.interface for pod in lab.pods}
    for pod in lab.pods:
        found = interfaces[pod.interface]
        assert found["reason"] is None and found["problems"] == []
        assert found["warnings"] == [] and found["unread"] == []
        assert set(found["conditions"].values()) == {"pass"}
        assert found["senders"] == [pod.address]
        assert pod.ask(3).replies == 3


def test_text(lab: Lab) -> None:
    done = run(lab)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1] == "2 interfaces, no problem"
    assert max(map(len, lines)) < 80
    break_(lab, "proxy_arp_off", lab.pods[0])
    done = run(lab)
    assert (done.returncode, done.stderr) == (3, "")
    interface = lab.pods[0].interface
    assert f"{interface} gets no reply for 169.254.1.1: proxy_arp_off" in done.stdout
    assert f"    sysctl -w net.ipv4.conf.{interface}.proxy_arp=1\n" in done.stdout


def mend(lab: Lab, remedy: str) -> bool:
    """Runs the remedy's commands; False if there are none."""
    ran = False
    for line in remedies.pasted(remedy):
        done = lab.node.run(["sh", "-ec", line])
        assert done.returncode == 0, (line, done.stderr)
        ran = True
    return ran


@pytest.mark.parametrize(("fault", "reason"), SHOWN, ids=[fault for fault, _ in SHOWN])
def test_named_and_mended(lab: Lab, fault: str, reason: str) -> None:
    pod, other = lab.pods
    assert pod.ask(3).replies == 3  # by which the node knows it, even without a route
    break_(lab, fault, pod)
    status, interfaces = diagnosed(lab)
    assert status == 3
    assert interfaces[pod.interface]["reason"] == reason, interfaces[pod.interface]
    assert pod.ask(1, settle=0.1).replies == 0
    spared = not (FAULTS[fault].whole_node or FAULTS[fault].shared)
    if spared:
        assert interfaces[other.interface]["problems"] == []
        assert other.ask(3).replies == 3
    ran = False
    for _ in range(MOST_MENDS):
        for problem in interfaces[pod.interface]["problems"][:1]:
            remedies.check(problem)
            if mend(lab, problem["remedy"]):
                ran = True
            elif ran and reason == "no_route":  # what was deleted stood in its place
                lab.node.run(["ip", "route", "add", "default", "via", ROUTER_ADDRESS])
            else:
                lab.mend(fault, pod if spared else None)
        status, interfaces = diagnosed(lab, pod.interface)
        if status == 0:
            break
    assert status == 0, interfaces
    assert interfaces[pod.interface]["problems"] == []
    deadline = time.monotonic() + 5  # a link that came up takes its time
    while pod.ask(3).replies != 3:
        assert time.monotonic() < deadline, interfaces


@pytest.mark.parametrize("fault", WARNED)
def test_warned_of(lab: Lab, fault: str) -> None:
    pod, other = lab.pods
    break_(lab, fault, pod)
    status, interfaces = diagnosed(lab)
    assert status == 0
    assert WARNED[fault] in warnings(interfaces[pod.interface])
    for warning in interfaces[pod.interface]["warnings"]:
        remedies.check(warning)
    assert "warning" in interfaces[pod.interface]["conditions"].values() or fault == "moved_mac"
    assert interfaces[other.interface]["warnings"] == []
    lab.mend(fault, pod)
    status, interfaces = diagnosed(lab)
    assert (status, interfaces[pod.interface]["warnings"]) == (0, [])


def test_every_fault_is_shown_or_warned_of_or_not_the_nodes() -> None:
    """``proxy_delay`` is none of a cause's: it delays; nor is what is answered."""
    others = {"proxy_delay", *scenarios.BYSTANDERS, *(fault for _, fault in scenarios.NOT_TAKEN)}
    assert {fault for fault, _ in SHOWN} | WARNED.keys() | UNSEEN | others == set(FAULTS)


def test_two_faults_of_two_pods(lab: Lab) -> None:
    break_(lab, "source_route_foreign", lab.pods[0])
    break_(lab, "forwarding_off", lab.pods[1])
    _, interfaces = diagnosed(lab)
    assert interfaces[lab.pods[1].interface]["reason"] == "forwarding_off"
    assert interfaces[lab.pods[0].interface]["reason"] == "source_rejected"


DRIFTS = {
    "route_localnet": "sysctl -qw net.ipv4.conf.{interface}.route_localnet=0",
    "proxy_delay": "sysctl -qw net.ipv4.neigh.{interface}.proxy_delay=7",
    "rp_filter": "sysctl -qw net.ipv4.conf.{interface}.rp_filter=2",
    "medium_id": "sysctl -qw net.ipv4.conf.{interface}.medium_id=7",
    "mac": "ip link set dev {interface} address 02:00:00:00:00:07",
    "proxy_arp": ("sysctl -qw net.ipv4.conf.{interface}.proxy_arp=0 net.ipv4.conf.all.proxy_arp=1"),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_drift(lab: Lab, name: str) -> None:
    pod = lab.pods[0]
    assert lab.node.run(["sh", "-ec", DRIFTS[name].format(interface=pod.interface)]).returncode == 0
    assert pod.ask(3).replies == 3  # not fatal
    status, interfaces = diagnosed(lab)
    assert status == 0
    assert warnings(interfaces[pod.interface]) == [name]
    mend(lab, interfaces[pod.interface]["warnings"][0]["remedy"])
    status, interfaces = diagnosed(lab)
    assert (status, interfaces[pod.interface]["warnings"]) == (0, [])


def test_no_default_route_but_one_to_the_target(lab: Lab) -> None:
    pod = lab.pods[0]
    lab.node.run(["ip", "route", "del", "default"])
    lab.node.run(["ip", "route", "add", "169.254.1.1/32", "dev", lab.node.uplink])
    assert pod.ask(3).replies == 3
    status, interfaces = diagnosed(lab)
    assert status == 0
    assert warnings(interfaces[pod.interface]) == ["no_default_route"]


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize(
    "fault", ["source_route_missing", "source_route_foreign", "source_route_blackhole"]
)
def test_a_sender_to_whom_no_route_leads(lab: Lab, fault: str, asked_before: bool) -> None:
    """The node has it among its neighbours, or does not know it at all."""
    pod = lab.pods[0]
    if asked_before:
        assert pod.ask(3).replies == 3
    break_(lab, fault, pod)
    status, interfaces = diagnosed(lab)
    found = interfaces[pod.interface]
    assert (status, found["reason"]) == (3, "source_rejected")
    assert found["senders"] == ([pod.address] if asked_before else [])
    assert ("POD_ADDRESS" in found["problems"][0]["remedy"]) is not asked_before
    if not mend(lab, found["problems"][0]["remedy"]):
        lab.mend(fault, pod)  # The route leads elsewhere: not arpwhy's to change.
    assert diagnosed(lab)[0] == 0
    assert pod.ask(3).replies == 3


def test_arp_filter_and_a_sender_that_is_not_known(lab: Lab) -> None:
    pod = lab.pods[0]
    break_(lab, "target_local_arp_filter", pod)
    status, interfaces = diagnosed(lab)
    found = interfaces[pod.interface]
    assert (status, found["conditions"]["route"]) == (4, "unread")
    assert warnings(found) == ["no_host_route", "target_is_local", "rp_filter"]


def test_without_rp_filter_a_missing_route_is_a_warning() -> None:
    with Lab("diagnose", pods=1, rp_filter=0) as lab:
        pod = lab.pods[0]
        lab.node.run(["ip", "route", "del", f"{pod.address}/32"])
        assert pod.ask(3).replies == 3
        status, interfaces = diagnosed(lab)
        assert status == 0
        assert warnings(interfaces[pod.interface]) == ["no_host_route"]
        assert interfaces[pod.interface]["conditions"]["source"] == "warning"


def test_a_proxy_neighbour_entry_is_seen(lab: Lab) -> None:
    """For which proxy_arp need not be on: net/ipv4/arp.c, arp_process."""
    pod = lab.pods[0]
    break_(lab, "proxy_arp_off", pod)
    lab.node.run(["ip", "neigh", "add", "proxy", "169.254.1.1", "dev", pod.interface])
    assert pod.ask(3).replies == 3
    status, interfaces = diagnosed(lab)
    assert status == 0, interfaces[pod.interface]
    assert warnings(interfaces[pod.interface]) == ["proxy_arp"]


def test_another_target(lab: Lab) -> None:
    """For which the node has a route out of the pod's own interface."""
    pod, other = lab.pods
    status, interfaces = diagnosed(lab, "--target", pod.address)
    assert status == 3
    assert interfaces[pod.interface]["reason"] == "route_same_interface"
    assert interfaces[other.interface]["reason"] is None


def test_names_and_globs(lab: Lab) -> None:
    pod = lab.pods[0]
    assert set(diagnosed(lab, pod.interface)[1]) == {pod.interface}
    assert set(diagnosed(lab, pod.interface[:9] + "*")[1]) == {pod.interface}
    for args, none in ((["tap*"], "matches tap*"), ([pod.interface, "nosuch0"], "nosuch0")):
        done = run(lab, *args)
        assert (done.returncode, done.stdout) == (1, "")
        start = f"arpwhy: no interface {none} in this network namespace, which has "
        assert done.stderr.startswith(start) and done.stderr.count("\n") == 1
        assert pod.interface in done.stderr
    assert set(diagnosed(lab, "tap*", pod.interface)[1]) == {pod.interface}
    done = run(lab, "--target", "gateway")
    assert done.returncode == 2 and "'gateway' is not an IPv4 address" in done.stderr


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
def test_as_nobody(lab: Lab) -> None:
    """Sysctls, links and routes need no rights; what is not listed is said."""
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    argv = [*user, *command(), "diagnose", "--format", "json"]
    break_(lab, "proxy_arp_off", lab.pods[0])
    done = lab.node.run(argv)
    if done.returncode not in (0, 3) and "ermission" in done.stderr:
        pytest.skip("needs a checkout that everybody may read")
    assert (done.returncode, done.stderr) == (3, "")
    found = {each["interface"]: each for each in json.loads(done.stdout)["interfaces"]}
    assert found[lab.pods[0].interface]["reason"] == "proxy_arp_off"
    healthy = found[lab.pods[1].interface]
    assert healthy["reason"] is None
    assert "nftables: Operation not permitted (needs CAP_NET_ADMIN)" in healthy["unread"]
    assert healthy["conditions"]["in"] == healthy["conditions"]["out"] == "unread"
    lab.mend("proxy_arp_off", lab.pods[0])
    done = lab.node.run([*user, *command(), "diagnose"])
    assert (done.returncode, done.stderr) == (4, "")
    said = " ".join(done.stdout.split())
    assert "could not read nftables: Operation not permitted (needs CAP_NET_ADMIN)" in said
    assert "2 interfaces, no problem found, 2 not judged whole: needs CAP_NET_ADMIN" in said


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
def test_what_hides_from_nobody_is_no_all_clear(lab: Lab) -> None:
    break_(lab, "nft_arp_input", lab.pods[0])
    assert diagnosed(lab)[0] == 3
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = lab.node.run([*user, *command(), "diagnose"])
    if done.returncode == 1 and "ermission" in done.stderr:
        pytest.skip("needs a checkout that everybody may read")
    assert done.returncode == 4


class Watch:
    """``diagnose --watch --format json`` in the lab's node, and what it says."""

    def __init__(self, lab: Lab) -> None:
        argv = [*command(), "diagnose", "--watch", "--format", "json"]
        self.process = lab.node.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._buffer = b""

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()

    def line(self, patience: float = 5.0) -> dict[str, Any]:
        deadline = time.monotonic() + patience
        stdout = self.process.stdout
        assert stdout is not None
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([stdout], [], [], left)[0], "nothing was said"
            self._buffer += os.read(stdout.fileno(), 1 << 16)
        line, self._buffer = self._buffer.split(b"\n", 1)
        return dict(json.loads(line))

    def until_healthy(self, interface: str) -> None:
        """Skips what is said while a pod is half made."""
        while True:
            for found in self.line()["interfaces"]:
                if found["interface"] == interface and set(found["conditions"].values()) == {
                    "pass"
                }:
                    return


def test_watch(lab: Lab) -> None:
    pod, other = lab.pods
    with Watch(lab) as watch:
        first = watch.line()
        assert (first["complete"], len(first["interfaces"])) == (True, 2)
        lab.break_("proxy_arp_off", pod)
        line = watch.line()
        assert line["complete"] is False and line["gone"] == []
        assert [(f["interface"], f["reason"]) for f in line["interfaces"]] == [
            (pod.interface, "proxy_arp_off")
        ]
        lab.mend("proxy_arp_off", pod)
        line = watch.line()
        assert [(f["interface"], f["reason"]) for f in line["interfaces"]] == [
            (pod.interface, None)
        ]
        new = lab.add_pod("new")
        watch.until_healthy(new.interface)
        lab.break_("no_default_route")
        line = watch.line()
        assert {f["interface"]: f["reason"] for f in line["interfaces"]} == dict.fromkeys(
            (pod.interface, other.interface, new.interface), "no_route"
        )
        lab.mend("no_default_route")
        watch.until_healthy(new.interface)
        gone = new.interface
        lab.delete_pod(new)
        while not (line := watch.line())["gone"]:
            pass
        assert line["gone"] == [gone]
        watch.process.send_signal(signal.SIGINT)
        assert watch.process.wait(5) == 0
        assert watch.process.stderr is not None and watch.process.stderr.read() == b""


def test_watch_ends_when_nobody_reads(lab: Lab) -> None:
    with Watch(lab) as watch:
        watch.line()
        assert watch.process.stdout is not None
        watch.process.stdout.close()
        lab.break_("proxy_arp_off")
        assert watch.process.wait(5) == 0


def test_watch_in_text(lab: Lab) -> None:
    argv = [*command(), "diagnose", "--watch"]
    with lab.node.popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "2 interfaces, no problem\n":
                break
        lab.break_("forwarding_off", lab.pods[0])
        line = process.stdout.readline()
        pattern = rf"\d\d:\d\d:\d\d\.\d\d\d {lab.pods[0].interface} forwarding_off\n"
        assert re.fullmatch(pattern, line)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
