# SPDX-License-Identifier: Apache-2.0
"""Raw tracepoints: for kernels without function probes. Costs a little on each packet."""

from __future__ import annotations

from pathlib import Path

from tracer.kernel.description import Description
from tracer.kernel.engines.engine import Engine
from tracer.kernel.symbols import Symbols


def _why_not(description: Description, symbols: Symbols) -> str | None:
    return None


def _macros() -> dict[str, str]:
    """SLOTS: a power of 2, and twice gro_normal_batch or more.

    The kernel announces a list of up to so many packets before it processes the first
    (net/core/dev.c, __netif_receive_skb_list_core).
    """
    try:
        batch = int(Path("/proc/sys/net/core/gro_normal_batch").read_text())
    except (OSError, ValueError):
        batch = 8
    return {"SLOTS": str(1 << min(6, max(4, (2 * batch - 1).bit_length())))}


ENGINE = Engine(
    name="tracepoint",
    source="tracepoint.c",
    helpers=("flush", "expire"),
    called=("settles_round", "settles_aside"),
    filter="arp_in",
    why_not=_why_not,
    macros=_macros,
)
