# SPDX-License-Identifier: Apache-2.0
"""fentry and fexit on the ARP path: BPF trampolines, nothing on the data path."""

from __future__ import annotations

from tracer.kernel.description import Description
from tracer.kernel.engines.engine import (
    ANSWERS,
    FUNCTIONS,
    Engine,
    Hook,
    Kind,
    function_hooks,
    function_macros,
    missing_function,
)
from tracer.kernel.symbols import Symbols


def _entry(function: str) -> Hook:
    return Hook(Kind.FENTRY, function, function)


def _exit(function: str) -> Hook:
    return Hook(Kind.FEXIT, function, function)


def _why_not(description: Description, symbols: Symbols) -> str | None:
    for function in FUNCTIONS:
        if function not in description.functions:
            return f"the kernel's BTF does not describe {function}"
    return missing_function(symbols)


ENGINE = Engine(
    name="fentry",
    source="fentry.c",
    hooks=function_hooks(_entry, _exit),
    why_not=_why_not,
    macros=function_macros,
    helpers=("expire",),
    answers=ANSWERS,
)
