# SPDX-License-Identifier: Apache-2.0
"""Every request is judged and every count is exact, whatever the rate and the receive mode."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import NUMBERS, PATIENCE_S, Bench
from lab import Lab
from lab.errors import LabError
from lab.pod import Pod
from lab.tracer import Tracer


def pods_of(bench: Bench, healthy: int, broken: int) -> list[Pod]:
    """New pods; the last ``broken`` of them with proxy_arp off."""
    pods = [bench.lab.add_pod(f"x{next(NUMBERS)}") for _ in range(healthy + broken)]
    for pod in pods[healthy:]:
        bench.lab.break_("proxy_arp_off", pod)
    return pods


def test_2003_requests_mixed_over_five_pods(bench: Bench) -> None:
    pods = pods_of(bench, 3, 2)
    counts = dict(zip(pods, (401, 401, 401, 400, 400), strict=True))
    tallies = bench.lab.storm(counts)
    assert sum(tally.sent for tally in tallies.values()) == 2003
    for pod in pods[:3]:
        assert tallies[pod].replies == counts[pod]
        assert bench.verdicts(pod, counts[pod]) == {"answered": counts[pod]}
    for pod in pods[3:]:
        assert tallies[pod].replies == 0
        assert bench.verdicts(pod, counts[pod]) == {"unanswered": counts[pod]}
        assert bench.flags(pod) == [("raised", "proxy_arp_off")]


def test_997_requests_agree_with_tcpdump(bench: Bench, tmp_path: Path) -> None:
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    pods = pods_of(bench, 2, 2)
    dumps = {}
    for pod in pods:
        out = tmp_path / pod.name
        with out.open("w") as file:
            dump = bench.lab.node.popen(
                ["tcpdump", "-n", "-l", "-B", "8192", "-i", pod.interface, "arp"],
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
            )
        for line in dump.stderr:
            if line.startswith("listening on"):
                break
        dumps[pod] = (dump, out)
    counts = dict(zip(pods, (251, 249, 250, 247), strict=True))
    bench.lab.storm(counts)
    verdicts = {pod: bench.verdicts(pod, counts[pod]) for pod in pods}
    time.sleep(1.0)
    for pod, (dump, out) in dumps.items():
        with dump:
            dump.send_signal(signal.SIGINT)
            dump.wait(PATIENCE_S)
        text = out.read_text()
        asked = len(re.findall(r"Request who-has 169\.254\.1\.1 .*tell", text))
        replied = len(re.findall(r"Reply 169\.254\.1\.1 is-at", text))
        assert asked == counts[pod], text[-500:]
        expected = Counter({"answered": replied, "unanswered": asked - replied})
        assert verdicts[pod] == +expected


def receive_mode(bench: Bench, pods: list[Pod], mode: str) -> None:
    """Have the node's side of the pods' links receive in another way."""

    def write(name: str, value: str) -> None:
        # /sys/class/net shows the namespace that sysfs was mounted in: mount it anew.
        script = f"mount -t sysfs s /sys && echo {value} > /sys/class/net/{name}"
        done = bench.lab.node.run(["unshare", "-m", "sh", "-ec", script])
        if done.returncode != 0:
            pytest.skip(f"{name}: {done.stderr.strip()}")

    for pod in pods:
        if mode == "RPS":
            write(f"{pod.interface}/queues/rx-0/rps_cpus", "3")
            continue
        if shutil.which("ethtool") is None:
            pytest.skip("ethtool is not installed")
        done = bench.lab.node.run(["ethtool", "-K", pod.interface, "gro", "on"])
        if done.returncode != 0:
            pytest.skip(f"GRO on veth: {done.stderr.strip()}")
        if mode == "threaded":
            write(f"{pod.interface}/threaded", "1")


@pytest.mark.parametrize("mode", ["GRO", "threaded", "RPS"])
def test_other_ways_to_receive(bench: Bench, mode: str) -> None:
    """GRO hands requests up in lists: several are announced before one is processed."""
    pods = pods_of(bench, 2, 1)
    receive_mode(bench, pods, mode)
    tallies = bench.lab.storm(dict.fromkeys(pods, 601))
    for pod in pods:
        # What a full backlog dropped came in on the interface too, and was not answered.
        sent, replies = tallies[pod].sent, tallies[pod].replies
        assert sent == 601
        seen = bench.verdicts(pod, sent)
        assert seen == +Counter({"answered": replies, "unanswered": sent - replies})


def test_two_senders_on_two_cpus(bench: Bench) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one CPU")
    pods = pods_of(bench, 1, 1)

    def send(cpu: int, pod: Pod) -> None:
        os.sched_setaffinity(0, {cpu})
        pod.ask(997)

    threads = [threading.Thread(target=send, args=(n, pod)) for n, pod in enumerate(pods)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.verdicts(pods[0], 997) == {"answered": 997}
    assert bench.verdicts(pods[1], 997) == {"unanswered": 997}


def test_events_that_are_lost_are_shown_and_the_counts_stay_exact(engine: str) -> None:
    """The ring overflows while the trace is stopped: counts and flags come from the kernel."""
    with Lab("lossy", pods=2) as lab, Tracer(lab.node, engine) as tracer:
        healthy, breaks = lab.pods
        os.kill(tracer.process.pid, signal.SIGSTOP)
        before = lab.storm({healthy: 9001, breaks: 9001})
        lab.break_("proxy_arp_off", breaks)
        after = lab.storm({healthy: 4003, breaks: 4003})
        os.kill(tracer.process.pid, signal.SIGCONT)
        # A trace that was held up for a second may say unknown first.
        flag = tracer.wait_for(
            lambda line: line["type"] == "flag" and line["reason"] == "proxy_arp_off", PATIENCE_S
        )
        code, stop = tracer.stop()
    if any(tally.dropped for tallies in (before, after) for tally in tallies.values()):
        raise LabError("the pods' links dropped requests: nothing can be said")
    assert (code, stop is not None) == (0, True)
    assert stop is not None
    assert stop["lost"] > 0
    assert stop["lost"] == sum(line["count"] for line in tracer.of_type("lost"))
    assert stop["requests"] == 2 * (9001 + 4003)
    assert (stop["answered"], stop["unanswered"]) == (2 * 9001 + 4003, 4003)
    assert flag["interface"] == breaks.interface
    assert {line["interface"] for line in tracer.flags()} == {breaks.interface}
