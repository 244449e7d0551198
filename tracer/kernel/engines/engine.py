# SPDX-License-Identifier: Apache-2.0
"""What an engine is: a C file, with its hooks, and what it needs of the kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tracer.kernel.description import Description
from tracer.kernel.hooks import Hooks, Kind, declared
from tracer.kernel.symbols import Symbols


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to see the ARP path.

    ``macros`` are the engine's own, for its C. ``helpers`` are programs that the runner
    runs; ``called`` are those that others call through the map ``programs``, in its order.
    ``filter`` is the program of a packet socket for ARP (:mod:`tracer.kernel.arp_socket`).
    ``enter``, ``leave``: how it probes functions, if it does. ``why_not`` gives None, or
    one line on why the engine cannot run here; whether the hooks can really be attached,
    only attaching them tells.
    """

    name: str
    source: str
    why_not: Callable[[Description, Symbols], str | None]
    macros: Callable[[], dict[str, str]]
    helpers: tuple[str, ...]
    called: tuple[str, ...] = ()
    filter: str | None = None
    enter: Kind = Kind.KPROBE
    leave: Kind = Kind.KRETPROBE

    @property
    def hooks(self) -> Hooks:
        return declared(self.source, self.enter, self.leave)


def probed(hooks: Hooks) -> list[str]:
    """The functions without which there is no engine that probes functions."""
    steady = (h for h in hooks.steady if h.kind is not Kind.RAW_TRACEPOINT and not h.optional)
    return sorted({hook.place for hook in steady})


def missing_function(symbols: Symbols, functions: list[str]) -> str | None:
    missing = [name for name in functions if not symbols.has(name)]
    return f"the kernel has no function {missing[0]} to probe" if missing else None


def function_macros() -> dict[str, str]:
    """One slot would do, but for a return probe that the kernel had to miss."""
    return {"SLOTS": "2"}
