# SPDX-License-Identifier: Apache-2.0
"""What runs for every packet is attached only while a flag's cause is not yet observed.

Read from the kernel: the fdinfo of the links that the tracing process holds, and bpftool's
list of all links, where it is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from conftest import EMULATED, PATIENCE_S, Bench
from lab import Lab
from lab.faults import FAULTS
from lab.tracer import Tracer

CLOSER = {"fib_table_lookup", "consume_skb"}
# Tracepoints that fire for packets of every protocol; those of the engine tracepoint's own
# are its price, which the engines that probe functions do not have.
EVERY_PACKET = CLOSER | {"netif_receive_skb", "net_dev_queue", "napi_poll"}
CLOSER_LOOK_S = 5  # tracer/state/flags.py: how long it waits for the next request


def links(tracer: Tracer) -> dict[int, str]:
    """The raw tracepoints that the process has programs at, by the link's id."""
    found = {}
    for info in Path(f"/proc/{tracer.process.pid}/fdinfo").iterdir():
        try:
            text = info.read_text()
        except FileNotFoundError:  # closed meanwhile
            continue
        place = re.search(r"^tp_name:\s*(\S+)", text, re.MULTILINE)
        number = re.search(r"^link_id:\s*(\d+)", text, re.MULTILINE)
        if place and number:
            found[int(number[1])] = place[1]
    return found


def listed() -> dict[int, str | None]:
    """bpftool's list of all links. It fails when a link goes while it reads: once more then."""
    for _ in range(10):
        done = subprocess.run(["bpftool", "-j", "link"], capture_output=True, check=False)
        if done.returncode == 0:
            return {link["id"]: link.get("tp_name") for link in json.loads(done.stdout)}
    raise AssertionError(done.stderr or done.stdout)


def attached(tracer: Tracer) -> set[str]:
    """The tracepoints at which the process has programs."""
    before = links(tracer)
    if shutil.which("bpftool"):
        everything = listed()
        for number in before.keys() & links(tracer).keys():
            assert everything[number] == before[number]
    return set(before.values())


def wait_until(condition: Callable[[], bool], timeout: float = PATIENCE_S) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_nothing_runs_for_every_packet_but_while_a_cause_is_not_yet_observed(engine: str) -> None:
    own = {"netif_receive_skb", "net_dev_queue", "napi_poll"} if engine == "tracepoint" else set()
    # A program's answer is seen as it is queued: the function probes do so while they look.
    closer = CLOSER | {"net_dev_queue"}
    with Lab("closer", pods=1) as lab, Tracer(lab.node, engine) as tracer:
        bench = Bench(lab, tracer)
        (pod,) = lab.pods

        def per_packet() -> set[str]:
            return attached(tracer) & EVERY_PACKET

        # None up.
        assert pod.ask(7).replies == 7
        assert bench.verdicts(pod, 7) == {"answered": 7}
        assert "kfree_skb" in attached(tracer)
        assert per_packet() == own

        # Up, and inferred (no engine sees a route lookup but by the closer look): attached for
        # the next request, which does not come.
        lab.break_("prohibit_rule", pod)
        assert pod.ask(1).replies == 0
        assert bench.flag(pod, "raised", reason="no_route")["confidence"] == "inferred"
        assert wait_until(lambda: per_packet() == own | closer), attached(tracer)
        assert wait_until(lambda: per_packet() == own, CLOSER_LOOK_S + PATIENCE_S), attached(tracer)

        # Requests that come: the first has it attached again, a later one settles it.
        def observed() -> bool:
            pod.ask(1, settle=0.05)
            newest = tracer.requests(pod.interface)[-1]
            return (newest["reason"], newest["confidence"]) == ("no_route", "observed")

        assert wait_until(observed, 2 * PATIENCE_S), tracer.requests(pod.interface)[-1]
        assert wait_until(lambda: per_packet() == own), attached(tracer)
        pod.ask(13)
        time.sleep(1.0)
        assert per_packet() == own
        # Emulated, a look may take longer than the second it has: unknown, then the cause.
        said = [flag for flag in bench.flags(pod) if not (EMULATED and flag[1] == "unknown")]
        assert said == [("raised", "no_route")], tracer.flags()

        # Down again.
        FAULTS["prohibit_rule"].mend(lab, pod)
        assert pod.ask(3).replies == 3
        assert bench.flag(pod, "cleared")["confidence"] == "observed"
        assert per_packet() == own
        code, _ = tracer.stop()
        assert code == 0
