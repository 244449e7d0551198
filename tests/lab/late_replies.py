# SPDX-License-Identifier: Apache-2.0
"""How many deferred replies the tracepoint engine sees; docs/KNOWN_ISSUES.md has what came of it.

``PYTHONPATH=tests .venv/bin/python -m lab.late_replies [SECONDS [alone]]``, as root: in a lab
with ``proxy_delay`` on a pod asks over and over, each time until all its replies have come.
"""

from __future__ import annotations

import sys
import time

from .bench import Lab
from .tracer import Tracer

_ASKED = 11


def main(seconds: float, *, alone: bool) -> None:
    with Lab("late-replies", pods=1) as lab, Tracer(lab.node, engine="tracepoint") as tracer:
        pod, came = lab.pods[0], 0
        with lab.broken("proxy_delay", pod):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                came += pod.ask(_ASKED, settle=2.0, alone=alone).replies
            tracer.wait_for_count(came, lambda line: bool(line.get("settled")), 30)
        seen = len(tracer.requests(settled=True, verdict="answered"))
        print(f"{came} deferred replies came, {came - seen} were not seen")


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else 60, alone="alone" in sys.argv[2:])
