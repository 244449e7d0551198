# SPDX-License-Identifier: Apache-2.0
"""What a running exporter costs with many interfaces; docs/cost.md has what came of it.

``PYTHONPATH=tests .venv/bin/python -m lab.scrape_cost [INTERFACES [SECONDS]]``, as root: veth
pairs in a namespace of its own, an exporter there, and scrapes over loopback.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .exporter import Exporter
from .netns import Netns

_ROUNDS = 21
_EVERY_S = 5.0
_FORMATS = {
    "text": {},
    "OpenMetrics": {"Accept": "application/openmetrics-text;version=1.0.0"},
    "OpenMetrics, gzip": {
        "Accept": "application/openmetrics-text;version=1.0.0",
        "Accept-Encoding": "gzip",
    },
}


def main(interfaces: int = 1000, seconds: int = 60) -> None:
    node = Netns("scrape-cost")
    node.create()
    try:
        links = [f"link add cali{n:011x} type veth peer name p{n}" for n in range(interfaces)]
        links += ["link set lo up", *(f"link set cali{n:011x} up" for n in range(interfaces))]
        links += [f"link set p{n} up" for n in range(interfaces)]
        node.tool(["ip", "-batch", "-"], package="iproute2", stdin="\n".join(links))
        with Exporter(node) as exporter:
            print(f"{interfaces} interfaces; started: {_memory(exporter)}")
            _cpu(exporter, seconds, "idle", lambda: None)
            for name, headers in _FORMATS.items():
                times, size = [], 0
                for _ in range(_ROUNDS):
                    began = time.perf_counter()
                    size = len(exporter.get("/metrics", headers)[2])
                    times.append((time.perf_counter() - began) * 1e3)
                print(
                    f"a scrape, {name}: {statistics.median(times):.1f} ms"
                    f" ({min(times):.1f} to {max(times):.1f}), {size} bytes"
                )
            headers = _FORMATS["OpenMetrics, gzip"]
            _cpu(exporter, seconds, "scraped", lambda: exporter.get("/metrics", headers))
            print(f"then: {_memory(exporter)}")
    finally:
        node.remove()


def _cpu(exporter: Exporter, seconds: int, what: str, act: Callable[[], object]) -> None:
    began, used = time.monotonic(), _ticks(exporter)
    while time.monotonic() - began < seconds:
        act()
        time.sleep(_EVERY_S)
    share = (_ticks(exporter) - used) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)
    print(f"{what}, every {_EVERY_S:g} s: {100 * share:.2f} % of a CPU")


def _ticks(exporter: Exporter) -> int:
    fields = Path(f"/proc/{exporter.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _memory(exporter: Exporter) -> str:
    lines = Path(f"/proc/{exporter.process.pid}/status").read_text().splitlines()
    return ", ".join(" ".join(each.split()) for each in lines if each[:5] in ("VmRSS", "RssAn"))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
