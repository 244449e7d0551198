# SPDX-License-Identifier: Apache-2.0
"""kprobes and kretprobes on the ARP path: nothing on the data path."""

from __future__ import annotations

from pathlib import Path

from tracer.kernel.btf import Btf
from tracer.kernel.engines.engine import Engine, function_macros, missing_function, probed
from tracer.kernel.symbols import Symbols

_PMU = Path("/sys/bus/event_source/devices/kprobe")


def _why_not(btf: Btf, symbols: Symbols) -> str | None:
    # As bcc attaches: through the PMU, or before 4.17 by a file of tracefs.
    if not _PMU.exists():
        return "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)"
    return missing_function(symbols, probed(ENGINE.hooks))


ENGINE = Engine(
    name="kprobe",
    source="kprobe.c",
    why_not=_why_not,
    macros=function_macros,
    helpers=("expire",),
)
