# SPDX-License-Identifier: Apache-2.0
"""What must not be flagged: a healthy node's life in 10,007 frames, with every engine at once."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest
from conftest import EMULATED, NUMBERS, PATIENCE_S, every_engine
from lab import Lab, frames, links, traffic
from lab.errors import Unavailable
from lab.names import GATEWAY, HOST_MAC
from lab.pod import Pod
from lab.tracer import Line, Tracer

FRAMES = 10_007
ELSEWHERE = "192.0.2.7"  # TEST-NET-1: answered by proxy as the gateway is, but no target
PAUSE_S = 0.0003  # between frames: for pods to come and go meanwhile

# How many frames of each kind a pod sends.
Mix = dict[str, int]
MIXES: dict[str, Mix] = {
    "pod1": {"request": 1499, "probe": 211, "announcement": 307, "elsewhere": 251, "reply": 389},
    "pod2": {"request": 1493, "unicast": 499, "probe": 211, "announcement": 307, "elsewhere": 251},
    "pod3": {"request": 1499, "gratuitous": 101, "probe": 211, "elsewhere": 251},
    "pod4": {"request": 1481, "gratuitous": 103, "probe": 211, "announcement": 307},
    # Its replies come late, from the proxy queue, which holds 64 (proxy_qlen).
    "slow": {"request": 47, "probe": 13},
    # Migrates: the node's route to its address leads elsewhere by now.
    "moving": {"request": 263, "announcement": 102},
}
VERDICT = {
    "request": "answered",
    "unicast": "answered",
    "probe": "ignored",
    "gratuitous": "ignored",
}


def line(pod: Pod, kind: str) -> traffic.Line:
    """The sending and counting end of one kind."""
    if kind == "unicast":
        return pod.line(destination=HOST_MAC)
    if kind == "reply":
        mine = frames.arp(
            frames.REPLY, sender_mac=pod.mac, sender_ip=pod.address, target_ip=GATEWAY
        )
        return traffic.Line(pod, mine, GATEWAY, pod.address)
    target, sender = {
        "request": (GATEWAY, pod.address),
        "probe": (GATEWAY, "0.0.0.0"),
        "gratuitous": (GATEWAY, GATEWAY),
        "announcement": (pod.address, pod.address),
        "elsewhere": (ELSEWHERE, pod.address),
    }[kind]
    return pod.line(target, sender)


def send(
    lab: Lab, pods: Iterable[str], meanwhile: Callable[[], None] | None = None
) -> Counter[tuple[str, str]]:
    """What these pods send, evenly mixed; replies by (pod, kind).

    ``meanwhile``: over and over. Without it no other process runs.
    """
    kinds = [(name, kind) for name in pods for kind in MIXES[name]]
    counts = [MIXES[name][kind] for name, kind in kinds]
    tallies: list[traffic.Tally] = []

    def sender() -> None:
        tallies.extend(
            traffic.with_lines(
                [lambda name=name, kind=kind: line(lab.pod(name), kind) for name, kind in kinds],  # type: ignore[misc]
                lambda lines: traffic.exchange(
                    lines, counts, interval=PAUSE_S, settle=1.0, alone=meanwhile is None
                ),
            )
        )

    thread = threading.Thread(target=sender)
    thread.start()
    while meanwhile and thread.is_alive():
        meanwhile()
    thread.join()
    assert [tally.sent for tally in tallies] == counts
    assert sum(tally.dropped for tally in tallies) == 0
    return Counter(
        {kind: tally.replies for kind, tally in zip(kinds, tallies, strict=True) if tally.replies}
    )


def suppress_replies(lab: Lab) -> None:
    """Felix's table for live migration: felix/dataplane/linux/endpoint_mgr.go,
    updateWorkloadARPChains. It drops what claims a workload's own address towards it."""
    chains, dispatch = [], []
    for pod in lab.pods:
        chain = f"filter-cali-arp-{pod.interface}"
        chains.append(
            f"chain {chain} {{\narp operation reply arp saddr ip {pod.address} "
            f'oifname "{pod.interface}" counter drop\n}}'
        )
        dispatch.append(f'oifname "{pod.interface}" jump {chain}')
    body = "\n".join(
        (
            *chains,
            "chain filter-cali-arp-dispatch {",
            *dispatch,
            "}\nchain filter-OUTPUT {\ntype filter hook output priority 0; policy accept;",
            "jump filter-cali-arp-dispatch\n}",
        )
    )
    text = f"table arp calico-arp {{\n{body}\n}}\n"
    lab.node.tool(["nft", "-f", "-"], package="nftables", stdin=text)


def suppressed(lab: Lab) -> int:
    """Replies that the table has dropped."""
    listed = lab.node.tool(["nft", "list", "table", "arp", "calico-arp"], package="nftables")
    words = listed.split()
    return sum(int(words[n + 2]) for n, word in enumerate(words) if word == "counter")


def migrate(lab: Lab, pod: Pod) -> None:
    for args in (("del", pod.address), ("add", pod.address, "dev", lab.node.uplink)):
        assert lab.node.run(["ip", "route", *args]).returncode == 0


def calicos_own_devices(lab: Lab) -> None:
    """bpfin.cali and bpfout.cali, by which Calico's eBPF dataplane hands packets on."""

    def make(ipr: object) -> None:
        ipr.link("add", kind="veth", ifname="bpfin.cali", peer={"ifname": "bpfout.cali"})  # type: ignore[attr-defined]
        for name in ("bpfin.cali", "bpfout.cali"):
            ipr.link("set", index=links.index(ipr, name), state="up")  # type: ignore[attr-defined]
        links.wait_up(ipr, "bpfin.cali")

    lab.node.netlink(make)


def ask_over_them(lab: Lab, count: int) -> None:
    """A request that crosses the pair comes in on bpfout.cali, and nobody answers it."""
    request = lab.pods[0].request()
    with lab.node.call(lambda: traffic.packet_socket("bpfin.cali")) as sock:
        for _ in range(count):
            sock.send(request)


def flags(tracer: Tracer) -> list[Line]:
    """Emulated, it may take the 2 s of a link state to wire a new pod."""
    return [flag for flag in tracer.flags() if not (EMULATED and flag["reason"] == "link_down")]


def verdicts_of_mixes(lab: Lab) -> Counter[tuple[str, str]]:
    """What is said of all that is judged, by (interface, verdict)."""
    expected: Counter[tuple[str, str]] = Counter()
    for name, mix in MIXES.items():
        for kind, count in mix.items():
            if kind in VERDICT:
                expected[lab.pod(name).interface, VERDICT[kind]] += count
    return expected


def replies_to_mixes() -> dict[tuple[str, str], int]:
    """By (pod, kind). A line counts what the gateway answers its pod, whichever of the pod's
    lines asked."""
    expected = {}
    for name, mix in MIXES.items():
        answers = mix.get("request", 0) + mix.get("unicast", 0)
        for kind in mix:
            if kind in ("request", "unicast", "reply"):
                expected[name, kind] = answers
            elif kind == "elsewhere":
                expected[name, kind] = mix[kind]
    return expected


@contextmanager
def tcpdump(lab: Lab, interface: str) -> Iterator[None]:
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    process = lab.node.popen(
        ["tcpdump", "-n", "-i", interface, "-w", "/dev/null", "arp"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for text in process.stderr:
            if "listening on" in text:
                break
        yield
    finally:
        with process:
            process.terminate()
            process.wait(PATIENCE_S)


def test_nothing_of_a_healthy_node_is_flagged() -> None:
    assert sum(count for mix in MIXES.values() for count in mix.values()) == FRAMES
    with Lab("quiet", pods=4) as lab, Lab("unquiet", pods=1) as elsewhere:
        slow = lab.add_pod("slow")
        moving = lab.add_pod("moving", rp_filter=0)
        try:
            suppress_replies(lab)
        except Unavailable as lack:
            pytest.skip(f"nft's arp tables: {lack}")
        calicos_own_devices(lab)
        migrate(lab, moving)
        lab.break_("proxy_delay", slow)
        elsewhere.break_("proxy_arp_off")
        assert elsewhere.pods[0].interface == lab.pods[0].interface
        passing: list[str] = []

        def come_and_go() -> None:
            pod = lab.add_pod(f"n{next(NUMBERS)}")
            assert pod.ask(1, settle=2.0).replies == 1
            passing.append(pod.interface)
            assert elsewhere.pods[0].ask(7, settle=0.01).replies == 0
            ask_over_them(lab, 3)
            lab.delete_pod(pod)

        with every_engine(lab) as benches:
            with tcpdump(lab, lab.pods[0].interface):
                replies = send(lab, [name for name in MIXES if name != "slow"], come_and_go)
                # An interface that goes takes along what waits in the proxy queue of its
                # namespace (net/core/neighbour.c, pneigh_queue_purge): none goes meanwhile.
                replies += send(lab, ["slow"])
            ask_over_them(lab, 97)
            # Longer than a link state lasts before it is flagged.
            time.sleep(5.0 if EMULATED else 3.0)
            expected = verdicts_of_mixes(lab) + Counter(
                {(interface, "answered"): 1 for interface in passing}
            )
            late = expected.pop((slow.interface, "answered"))
            judged = expected.total() + late
            for bench in benches.values():
                tracer = bench.tracer
                tracer.wait_for_count(judged + late, lambda line: line["type"] == "request", 60)
                assert flags(tracer) == []
                assert tracer.of_type("lost") == []
                settled = tracer.requests(settled=True)
                verdicts = Counter((each["interface"], each["verdict"]) for each in settled)
                assert verdicts == {(slow.interface, "answered"): late}
                first = tracer.requests(settled=False)
                verdicts = Counter((each["interface"], each["verdict"]) for each in first)
                assert verdicts == expected + Counter({(slow.interface, "deferred"): late})
        # The end of the block has stopped them, and compared lines with totals.
        for bench in benches.values():
            (end,) = bench.tracer.of_type("stop")
            assert (end["requests"], end["unanswered"]) == (judged, 0)
            if not EMULATED:
                assert end["flags_raised"] == 0

        assert len(passing) >= 3
        assert suppressed(lab) == MIXES["moving"]["announcement"]
        assert replies == replies_to_mixes()
