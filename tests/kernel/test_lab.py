# SPDX-License-Identifier: Apache-2.0
"""The lab: wired as said, every fault breaks and mends, nothing of it stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from lab import (
    FAULTS,
    GATEWAY,
    HOST_MAC,
    INCIDENT,
    Fault,
    Lab,
    LabError,
    Netns,
    Pod,
    Unavailable,
    down,
    frames,
    interface_name,
    missing,
    processors,
    traffic,
)
from lab import state as states
from lab.__main__ import main
from lab.tracer import Tracer, TracerError

LACK = missing()
needs_lab = pytest.mark.skipif(LACK is not None, reason=f"the lab needs {LACK}")
NAME = f"t{os.getpid()}"
TESTS = Path(__file__).resolve().parents[1]


def namespaces(name: str) -> list[str]:
    root = Path("/run/netns")
    return sorted(p.name for p in root.glob(f"{name}-*")) if root.is_dir() else []


def is_answered(pod: Pod, expected: bool = True) -> bool:
    """Whether all of 7 requests, or none, got their reply as expected."""
    # All there: returns at once. None: the time one waits for what must not come.
    tally = pod.ask(7, settle=2.0 if expected else 0.15)
    assert (tally.sent, tally.dropped) == (7, 0)
    return tally.replies == (7 if expected else 0)


# What ip says now and then where other namespaces come and go on the machine meanwhile.
PEER_GONE = "Error: Peer netns reference is invalid.\n"


def configuration(*namespaces: Netns) -> list[list[str]]:
    """All that a fault could leave behind in these namespaces."""
    commands = (
        "ip -d addr show; ip -4 route show table all; ip -4 rule show; ip nexthop show;"
        "tc qdisc show; nft list ruleset 2>/dev/null; arptables -L 2>/dev/null; true"
    )
    found = []
    for netns in namespaces:
        shown = netns.run(["sh", "-c", commands])
        if shown.stderr == PEER_GONE:
            shown = netns.run(["sh", "-c", commands])
        assert (shown.returncode, shown.stderr) == (0, "")
        values = netns.sysctls("net/ipv4/conf/*/*") | netns.sysctls("net/ipv4/neigh/*/*")
        values["net/ipv4/ip_forward"] = netns.sysctl("net/ipv4/ip_forward")
        found.append(sorted(shown.stdout.splitlines()))
        found.append([f"{key}={value}" for key, value in values.items()])
    return found


class Ear:
    """Counts ARP requests that arrive on the node's end of a pod, by their sender."""

    def __init__(self, own: socket.socket) -> None:
        self.socket = own

    def heard(self) -> list[tuple[str, str]]:
        """(sender, target) of each request since the last call."""
        found = []
        try:
            while True:
                frame = self.socket.recv(64, socket.MSG_DONTWAIT)
                if frame[20:22] == b"\0\1":
                    found.append((socket.inet_ntoa(frame[28:32]), socket.inet_ntoa(frame[38:42])))
        except BlockingIOError:
            return found


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if LACK is not None:
        pytest.skip(f"the lab needs {LACK}")
    with Lab(NAME, pods=5) as made:
        yield made


@pytest.fixture
def listen(lab: Lab) -> Iterator[Callable[[Pod], Ear]]:
    """An ear on a pod, which hears from then to the test's end."""
    with ExitStack() as stack:

        def listen(pod: Pod) -> Ear:
            own = lab.node.call(lambda: traffic.packet_socket(pod.interface))
            return Ear(stack.enter_context(own))

        yield listen


def test_interface_name_is_calicos() -> None:
    assert interface_name("default", "nginx") == "calic440f455693"


def test_interleave_spreads_evenly_and_exactly() -> None:
    assert traffic.interleave([4, 2]) == [0, 1, 0, 0, 1, 0]
    order = traffic.interleave([401, 0, 13])
    assert (order.count(0), order.count(1), order.count(2)) == (401, 0, 13)


def test_wiring_is_calicos(lab: Lab) -> None:
    pod = lab.pods[1]
    name = interface_name("default", "pod2")
    assert (pod.name, pod.interface, pod.address) == ("pod2", name, "192.168.156.2")
    routes = lab.node.run(["ip", "route"]).stdout.splitlines()
    assert f"{pod.address} dev {name} scope link " in routes
    assert "default via 10.65.0.1 dev eth0 " in routes
    link = lab.node.run(["ip", "link", "show", name]).stdout
    assert f"link/ether {HOST_MAC} " in link
    assert "<BROADCAST,MULTICAST,UP,LOWER_UP>" in link
    assert pod.run(["ip", "route"]).stdout.splitlines() == [
        "default via 169.254.1.1 dev eth0 ",
        "169.254.1.1 dev eth0 scope link ",
    ]
    assert f"inet {pod.address}/32 " in pod.run(["ip", "addr", "show", "eth0"]).stdout
    conf = f"net/ipv4/conf/{name}"
    expected = {
        f"{conf}/route_localnet": "1",
        f"{conf}/proxy_arp": "1",
        f"{conf}/forwarding": "1",
        f"{conf}/rp_filter": "1",
        f"net/ipv4/neigh/{name}/proxy_delay": "0",
        "net/ipv4/ip_forward": "1",
    }
    assert {key: lab.node.sysctl(key) for key in expected} == expected
    assert [n.run(["ip", "-6", "addr"]).stdout for n in (lab.node, lab.fabric, pod)] == [""] * 3


def test_in_node_is_the_calling_thread_only_and_keeps_the_mounts(lab: Lab) -> None:
    before = Path("/proc/thread-self/ns/net").readlink()
    mounts = Path("/proc/thread-self/ns/mnt").readlink()
    with lab.in_node():
        assert Path("/proc/thread-self/ns/net").stat().st_ino == lab.node.inode
        assert Path("/proc/thread-self/ns/mnt").readlink() == mounts
        shown = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
    assert lab.pods[0].interface in shown.stdout
    assert Path("/proc/thread-self/ns/net").readlink() == before
    child = lab.node.popen(["readlink", "/proc/self/ns/net"], stdout=subprocess.PIPE, text=True)
    assert child.communicate()[0].strip() == f"net:[{lab.node.inode}]"


def test_ask_sends_and_counts_exactly(lab: Lab, listen: Callable[[Pod], Ear]) -> None:
    pod = lab.pods[0]
    ear = listen(pod)
    with pod.socket() as own:
        tally = pod.ask(997)
        replies = 0
        for _ in range(997):
            frame = own.recv(64, socket.MSG_DONTWAIT)
            replies += frame[20:22] == b"\0\2" and frame[:6] == frames.mac_bytes(pod.mac)
        with pytest.raises(BlockingIOError):
            own.recv(64, socket.MSG_DONTWAIT)
    assert (tally.sent, tally.replies, tally.dropped, replies) == (997, 997, 0, 997)
    assert ear.heard() == [(pod.address, GATEWAY)] * 997


def test_interval_spaces_the_requests(lab: Lab) -> None:
    started = time.monotonic()
    assert lab.pods[0].ask(5, interval=0.05).replies == 5
    assert 0.2 <= time.monotonic() - started < 0.45


def test_probe_announce_unicast_and_any_frame(lab: Lab, listen: Callable[[Pod], Ear]) -> None:
    pod = lab.pods[0]
    ear = listen(pod)
    assert pod.unicast(7).replies == 7
    assert pod.probe(3).replies == 0
    assert pod.announce(2).replies == 0
    pod.send(pod.request("192.168.156.3", sender="192.168.156.99"), 5)
    assert ear.heard() == [
        *[(pod.address, GATEWAY)] * 7,
        *[("0.0.0.0", GATEWAY)] * 3,
        *[(pod.address, pod.address)] * 2,
        *[("192.168.156.99", "192.168.156.3")] * 5,
    ]


def test_storm_is_exact_with_some_pods_broken(lab: Lab, listen: Callable[[Pod], Ear]) -> None:
    counts = dict(zip(lab.pods, (401, 401, 401, 401, 399), strict=True))
    ears = {pod: listen(pod) for pod in lab.pods}
    with lab.broken("proxy_arp_off", lab.pods[1]), lab.broken("forwarding_off", lab.pods[3]):
        tallies = lab.storm(counts)
    assert [t.sent for t in tallies.values()] == [401, 401, 401, 401, 399]
    assert [t.replies for t in tallies.values()] == [401, 0, 401, 0, 399]
    assert [t.dropped for t in tallies.values()] == [0] * 5
    assert [len(ears[pod].heard()) for pod in counts] == [401, 401, 401, 401, 399]


def test_the_pods_own_kernel_asks_once_a_second(lab: Lab, listen: Callable[[Pod], Ear]) -> None:
    pod = lab.pods[2]
    ear = listen(pod)
    try:
        assert pod.ping_gateway(3)
        # As the incident: nothing known, nobody answers.
        pod.run(["ip", "neigh", "flush", "dev", "eth0"])
        ear.heard()
        with lab.broken("proxy_arp_off", pod):
            ping = pod.resolve(seconds=2)
            assert ping.wait(10) == 1
    except Unavailable as lack:
        pytest.skip(str(lack))
    asked = ear.heard()
    assert asked == [(pod.address, GATEWAY)] * len(asked)
    assert len(asked) in (2, 3)


def test_while_the_processors_are_held_no_other_process_runs() -> None:
    cpus, policy = os.sched_getaffinity(0), os.sched_getscheduler(0)
    busy = [
        subprocess.Popen(["taskset", "-c", str(cpu), "sh", "-c", "while :; do :; done"])
        for cpu in cpus
    ]

    def ran() -> float:
        """Seconds of processor time that they had."""
        stats = (Path(f"/proc/{each.pid}/schedstat").read_text() for each in busy)
        return sum(int(stat.split()[0]) for stat in stats) / 1e9

    try:
        time.sleep(0.1)
        before = ran()
        time.sleep(0.3)
        shared = ran() - before
        with processors.held():
            before = ran()
            time.sleep(0.3)
            alone = ran() - before
    finally:
        for each in busy:
            each.kill()
            each.wait()
    assert shared > 0.5 * 0.3 * len(cpus)
    assert alone < 0.1 * 0.3 * len(cpus)
    policies = {os.sched_getscheduler(int(each.name)) for each in Path("/proc/self/task").iterdir()}
    assert policies == {policy}


# The pod sends something else; nothing is changed anywhere.
FRAMES_ONLY = {name for name, fault in FAULTS.items() if fault.frame is not None} - {
    "moved_mac",
    "asks_as_local_service",
}
# What changes is a process, or the pod's neighbour entry.
# The reply is delivered, and dropped before the lab's own socket has it.
UNHEARD = {"pod_filters_all"}
UNCONFIGURED = {*FRAMES_ONLY, "answered_twice", "permanent_gateway_entry"}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_fault_breaks_and_mends_exactly(lab: Lab, fault: Fault) -> None:
    pod, other = lab.pods[0], lab.pods[1]
    before = configuration(lab.node, pod)
    assert is_answered(pod)
    try:
        fault.break_(lab, pod)
    except Unavailable as lack:
        assert lab.state.faults == []
        assert configuration(lab.node, pod) == before
        pytest.skip(str(lack))
    try:
        assert (configuration(lab.node, pod) != before) == (fault.name not in UNCONFIGURED)
        if fault.delays:
            tally = pod.ask(11, settle=1.0)
            assert tally.replies == 11
            assert tally.lasted_ns is not None
            assert tally.lasted_ns > 20_000_000
            assert pod.unicast(7).replies == 7
        else:
            tally = pod.ask(11, settle=0.15)
            assert tally.sent == (0 if fault.name == "link_down" else 11)
            if fault.name not in UNHEARD:
                assert tally.replies == fault.answers * tally.sent
        assert is_answered(other, not fault.whole_node)
        with pytest.raises(LabError, match=f"{fault.name} is broken already"):
            fault.break_(lab, pod)
    finally:
        fault.mend(lab, pod)
    assert is_answered(pod)
    assert is_answered(other)
    assert configuration(lab.node, pod) == before
    with pytest.raises(LabError, match=f"{fault.name} is not broken"):
        fault.mend(lab, pod)


def test_faults_of_several_pods_mend_in_any_order(lab: Lab) -> None:
    one, two = lab.pods[:2]
    before = configuration(lab.node)
    names = ("target_local_arp_ignore", "proxy_arp_off", "tc_ingress_drop", "tc_egress_drop")
    try:
        for name in names:
            lab.break_(name, one)
        lab.break_("target_local_arp_ignore", two)
        lab.break_("forwarding_off_all")
        with pytest.raises(LabError, match="forwarding_off_all is in its place"):
            lab.break_("forwarding_off", two)
        lab.break_("default_through_pod", one)
        with pytest.raises(LabError, match="default_through_pod is in its place"):
            lab.break_("no_default_route")
        with pytest.raises(LabError, match="default_through_pod is broken already"):
            lab.break_("default_through_pod", two)
        for name in names:
            lab.mend(name, one)
        assert is_answered(two, False)
    except Unavailable as lack:
        pytest.skip(str(lack))
    finally:
        lab.mend()
    assert lab.state.faults == []
    assert configuration(lab.node) == before


def test_missing_tool_is_unavailable(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="nft: not installed"):
        lab.break_("nft_arp_input")
    with pytest.raises(Unavailable, match="tc: not installed"):
        lab.break_("tc_ingress_drop")
    assert lab.state.faults == []


def test_pods_come_and_go_and_names_are_reused(lab: Lab) -> None:
    before = configuration(lab.node)
    indices = []
    for _ in range(2):
        pod = lab.add_pod(**INCIDENT)
        assert (pod.interface, pod.address) == ("calic577831ffc7", "192.168.156.177")
        assert is_answered(pod)
        index = f"/proc/sys/net/ipv4/conf/{pod.interface}"
        assert lab.node.call(Path(index).is_dir)
        shown = lab.node.run(["ip", "-o", "link", "show", pod.interface]).stdout
        indices.append(int(shown.split(":")[0]))
        lab.break_("prohibit_rule", pod)
        pod.delete()
        assert configuration(lab.node) == before
    assert indices[1] > indices[0]
    with pytest.raises(LabError, match="not a name for a new pod"):
        lab.add_pod("pod1")
    with pytest.raises(LabError, match="pod1 has the interface"):
        lab.add_pod("twin", interface=lab.pods[0].interface)


@needs_lab
def test_two_labs_at_once_do_not_meet() -> None:
    with Lab(f"{NAME}a", pods=1) as one:
        with Lab(f"{NAME}a-b", pods=1) as two:
            assert one.pods[0].record() == two.pods[0].record()
            with one.broken("no_default_route"):
                assert is_answered(one.pods[0], False)
                assert is_answered(two.pods[0])
            with pytest.raises(LabError, match="in use by process"):
                Lab(f"{NAME}a").up()
            with pytest.raises(LabError, match="which still runs"):
                down(f"{NAME}a")
        assert namespaces(f"{NAME}a") == [f"{NAME}a-{end}" for end in ("fabric", "node", "pod1")]
        assert is_answered(one.pods[0])
    assert namespaces(f"{NAME}a") == []


@needs_lab
def test_an_exception_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), Lab(f"{NAME}x", pods=1) as lab:
        child = lab.pods[0].popen(["sleep", "60"])
        raise ZeroDivisionError
    assert child.returncode == -signal.SIGTERM
    assert namespaces(f"{NAME}x") == []
    assert states.load(f"{NAME}x") is None


@needs_lab
def test_a_foreign_namespace_is_refused_and_stays() -> None:
    name = f"{NAME}f"
    foreign = Netns(f"{name}-pod2")
    foreign.create()
    try:
        with pytest.raises(LabError, match="is not this lab's"), Lab(name, pods=3):
            pass
        assert namespaces(name) == [f"{name}-pod2"]
        assert not down(name)
    finally:
        foreign.remove()


def start_lab(name: str) -> tuple[subprocess.Popen[str], int]:
    """A process that holds a lab with a sleeping child; and that child's pid."""
    program = f"""
        import time
        from lab import Lab
        with Lab({name!r}, pods=1) as lab:
            print(lab.node.popen(["sleep", "60"]).pid, flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@needs_lab
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(number: signal.Signals) -> None:
    name = f"{NAME}s"
    process, child = start_lab(name)
    with process:
        assert len(namespaces(name)) == 3
        process.send_signal(number)
        code = process.wait(20)
    assert code == (-signal.SIGINT if number == signal.SIGINT else 128 + number)
    assert namespaces(name) == []
    assert states.start_time(child) is None
    assert states.load(name) is None


@needs_lab
def test_the_next_lab_removes_what_a_killed_one_left() -> None:
    name = f"{NAME}k"
    process, child = start_lab(name)
    with process:
        process.kill()
    assert namespaces(name) == [f"{name}-{end}" for end in ("fabric", "node", "pod1")]
    assert states.start_time(child) is not None
    with Lab(name, pods=2) as lab:
        assert states.start_time(child) is None
        assert [is_answered(pod) for pod in lab.pods] == [True, True]
    assert namespaces(name) == []


FAKE = """
import json, signal, sys, time

def stop(*_):
    print(json.dumps({"type": "stop", "requests": 2}), flush=True)
    sys.exit(0)

signal.signal(signal.SIGINT, stop)
print("note", *sys.argv[1:], file=sys.stderr)
if "--fail" in sys.argv:
    sys.exit("cannot trace: no hooks")
print("tracing 2 interfaces", file=sys.stderr, flush=True)
for interface in ("calia", "calib"):
    time.sleep(0.05)
    line = {"type": "request", "interface": interface, "verdict": "answered"}
    print(json.dumps(line), flush=True)
if "--garbage" in sys.argv:
    print("not json", flush=True)
time.sleep(60)
"""


@pytest.fixture
def fake(tmp_path: Path) -> list[str]:
    """A program with the tracer's manners: what is tested is the harness, not the tracer."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    return [sys.executable, str(script)]


def test_tracer_reads_waits_and_stops(lab: Lab, fake: list[str]) -> None:
    with Tracer(lab.node, "tracepoint", ["--count", "2"], program=fake) as tracer:
        assert Path(f"/proc/{tracer.process.pid}/ns/net").stat().st_ino == lab.node.inode
        line = tracer.wait_for(lambda line: line.get("interface") == "calib")
        assert 0 <= time.time_ns() - line.arrival_ns < 5_000_000_000
        assert [r["interface"] for r in tracer.requests()] == ["calia", "calib"]
        assert tracer.requests("calib", verdict="answered") == [line]
        assert tracer.requests("calib", verdict="unanswered") == []
        with pytest.raises(TracerError, match=r"0\.1 s without 1 line(?s:.*)note trace"):
            tracer.wait_for(lambda line: line["type"] == "flag", timeout=0.1)
        code, stop = tracer.stop()
    assert (code, stop) == (0, {"type": "stop", "requests": 2})
    expected = "note trace --format json --engine tracepoint --count 2"
    assert tracer.stderr == [expected, "tracing 2 interfaces"]


def test_tracer_that_cannot_start_shows_its_stderr(lab: Lab, fake: list[str]) -> None:
    started = time.monotonic()
    with pytest.raises(TracerError, match=r"exit code 1(?s:.*)cannot trace: no hooks"):
        Tracer(lab.node, args=["--fail"], program=fake).start()
    assert time.monotonic() - started < 10


def test_tracer_is_killed_at_the_end_and_garbage_is_told(lab: Lab, fake: list[str]) -> None:
    with Tracer(lab.node, args=["--garbage"], program=fake) as tracer:
        tracer.wait_for_count(2, lambda line: line["type"] == "request")
        time.sleep(0.1)
        with pytest.raises(TracerError, match="not a JSON object: 'not json'"):
            tracer.stop()
    with Tracer(lab.node, program=fake) as tracer:
        pass
    assert tracer.process.returncode == -signal.SIGKILL


def script(name: str, *args: str, **options: Any) -> tuple[int, str, str]:
    command = [str(TESTS.parent / "scripts/lab"), "--name", name, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    return done.returncode, done.stdout, done.stderr


@needs_lab
def test_script_up_break_ask_mend_down(capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{NAME}c"

    def run(*args: str) -> tuple[int, str, str]:
        return main(["--name", name, *args]), *capsys.readouterr()

    hint = f"try: scripts/lab --name {name} up"
    assert run("status") == (1, "", f"lab: lab {name} is not up; {hint}\n")
    try:
        code, out, _ = script(name, "up", "--pods", "1", "--incident")
        assert code == 0
        assert f"nsenter --net=/run/netns/{name}-node arpwhy trace" in out
        assert script(name, "break", "proxy_arp_off", "incident")[0] == 0
        ask = run("ask", "calic577831ffc7", "-c", "3")
        assert ask == (0, "incident (calic577831ffc7): sent 3, replies 0\n", "")
        assert "calic577831ffc7 192.168.156.177  broken: proxy_arp_off" in run("status")[1]
        assert run("mend") == (0, "mended: proxy_arp_off (incident)\n", "")
        assert "sent 17, replies 17" in run("ask", "incident", "-c", "17")[1]
        code, _, err = run("break", "nonsense")
        assert (code, err.count("\n")) == (1, 1)
        assert "proxy_arp_off" in err
        with pytest.raises(LabError, match="is up"):
            Lab(name).up()
    finally:
        assert script(name, "down") == (0, f"lab {name} removed\n", "")
    assert namespaces(name) == []


@needs_lab
def test_script_without_root_is_one_line() -> None:
    done = script(NAME, "up", user=65534, cwd="/")
    assert done == (1, "", "lab: needs root: network namespaces\n")
