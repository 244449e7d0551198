# SPDX-License-Identifier: Apache-2.0
"""fentry and fexit on the ARP path: BPF trampolines, nothing on the data path."""

from __future__ import annotations

from tracer.kernel.description import Description
from tracer.kernel.engines.engine import Engine, function_macros, missing_function, probed
from tracer.kernel.hooks import Kind
from tracer.kernel.symbols import Symbols


def _why_not(description: Description, symbols: Symbols) -> str | None:
    functions = probed(ENGINE.hooks)
    for function in functions:
        if function not in description.functions:
            return f"the kernel's BTF does not describe {function}"
    return missing_function(symbols, functions)


ENGINE = Engine(
    name="fentry",
    source="fentry.c",
    why_not=_why_not,
    macros=function_macros,
    helpers=("expire",),
    enter=Kind.FENTRY,
    leave=Kind.FEXIT,
)
