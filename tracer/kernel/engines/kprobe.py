# SPDX-License-Identifier: Apache-2.0
"""kprobes and kretprobes on the ARP path: nothing on the data path."""

from __future__ import annotations

from tracer.kernel.bpf import KPROBE_PMU
from tracer.kernel.description import Description
from tracer.kernel.engines.engine import Engine, function_macros, missing_function, probed
from tracer.kernel.symbols import Symbols


def _why_not(description: Description, symbols: Symbols) -> str | None:
    if not KPROBE_PMU.exists():
        return "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)"
    return missing_function(symbols, probed(ENGINE.hooks))


ENGINE = Engine(
    name="kprobe",
    source="kprobe.c",
    why_not=_why_not,
    macros=function_macros,
    helpers=("expire",),
)
