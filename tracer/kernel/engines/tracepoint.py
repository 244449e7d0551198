# SPDX-License-Identifier: Apache-2.0
"""Raw tracepoints: for kernels without function probes. Costs a little on each packet."""

from __future__ import annotations

from tracer.kernel.btf import Btf
from tracer.kernel.engines.engine import COMMON, Engine, raw_tracepoint
from tracer.kernel.symbols import Symbols


def _why_not(btf: Btf, symbols: Symbols) -> str | None:
    return None


ENGINE = Engine(
    name="tracepoint",
    source="tracepoint.c",
    hooks=(
        *COMMON,
        raw_tracepoint("napi_poll"),
        raw_tracepoint("net_dev_queue"),
        raw_tracepoint("netif_receive_skb"),
    ),
    helpers=("raw_tracepoint__napi_poll", "expire"),
    called="raw_tracepoint__napi_poll",
    why_not=_why_not,
)
