# SPDX-License-Identifier: Apache-2.0
"""fentry and fexit on the ARP path: BPF trampolines, nothing on the data path."""

from __future__ import annotations

from tracer.kernel.btf import Btf
from tracer.kernel.engines.engine import (
    COMMON,
    FUNCTIONS,
    Engine,
    Hook,
    Kind,
    function_macros,
    missing_function,
)
from tracer.kernel.symbols import Symbols


def _entry(function: str) -> Hook:
    return Hook(Kind.FENTRY, function, function)


def _exit(function: str) -> Hook:
    return Hook(Kind.FEXIT, function, function)


def _why_not(btf: Btf, symbols: Symbols) -> str | None:
    for function in FUNCTIONS:
        if btf.function_parameters(function) is None:
            return f"the kernel's BTF does not describe {function}"
    return missing_function(symbols)


ENGINE = Engine(
    name="fentry",
    source="fentry.c",
    hooks=(
        *COMMON,
        _exit("arp_process"),
        _exit("arp_rcv"),
        _entry("arp_xmit"),
        _entry("pneigh_enqueue"),
        _entry("arp_process"),
        _entry("arp_rcv"),
    ),
    why_not=_why_not,
    macros=function_macros,
)
