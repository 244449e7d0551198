# SPDX-License-Identifier: Apache-2.0
"""What an engine is: a C file, and its hooks in the order in which to attach them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from tracer.kernel.description import Description
from tracer.kernel.symbols import Symbols


class Kind(StrEnum):
    """The kinds of hook, and of program, that bcc attaches for us."""

    RAW_TRACEPOINT = "raw_tracepoint"
    FENTRY = "fentry"
    FEXIT = "fexit"
    KPROBE = "kprobe"
    KRETPROBE = "kretprobe"
    SOCKET = "socket"


@dataclass(frozen=True, slots=True)
class Hook:
    """``program`` in the C file runs at ``place``: a tracepoint or a kernel function.

    ``optional``: what it tells is evidence only; a kernel that has no such place, or does
    not let it be probed, does without.
    """

    kind: Kind
    place: str
    program: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to see the ARP path.

    ``hooks`` ends with the one at which a request begins: attached last and detached
    first, no request is ever seen to begin that cannot be seen to end.
    ``macros`` are the engine's own, for its C. ``helpers`` are programs that the runner
    runs; ``called`` is the one that others call through the map ``programs``. ``answers``
    are hooks that see what programs answer, where ``hooks`` do not. ``filter`` is the
    program of a packet socket for ARP (:mod:`tracer.kernel.arp_socket`).
    ``why_not`` gives None, or one line on why the engine cannot run here; whether the
    hooks can really be attached, only attaching them tells.
    """

    name: str
    source: str
    hooks: tuple[Hook, ...]
    why_not: Callable[[Description, Symbols], str | None]
    macros: Callable[[], dict[str, str]]
    helpers: tuple[str, ...] = ()
    called: str | None = None
    answers: tuple[Hook, ...] = ()
    filter: str | None = None


def raw_tracepoint(place: str, program: str | None = None) -> Hook:
    return Hook(Kind.RAW_TRACEPOINT, place, program or f"raw_tracepoint__{place}")


# In every engine. neigh_update comes before a change, to know the old state; the other
# neigh tracepoints after it. They are there since 5.0 (include/trace/events/neigh.h).
COMMON = (
    raw_tracepoint("kfree_skb"),
    raw_tracepoint("neigh_update", "neighbour_changes"),
    raw_tracepoint("neigh_update_done", "neighbour_changes"),
    raw_tracepoint("neigh_timer_handler", "neighbour_changes"),
    raw_tracepoint("neigh_event_send_done", "neighbour_changes"),
    raw_tracepoint("neigh_event_send_dead", "neighbour_changes"),
    raw_tracepoint("neigh_cleanup_and_release", "neighbour_goes"),
)

# The closer look (bpf/closer.h), in every engine: loaded with it, attached by the tracing
# process for as long as it is needed. The last one says that a request's look is complete.
CLOSER = (raw_tracepoint("fib_table_lookup"), raw_tracepoint("consume_skb"))

# For function probes: it runs for packets of every protocol, and is attached with the
# closer look, or while programs are known to answer.
ANSWERS = (raw_tracepoint("net_dev_queue"),)

# The ARP path for function probes: net/ipv4/arp.c, pneigh_* in net/core/neighbour.c.
FUNCTIONS = ("arp_rcv", "arp_process", "arp_xmit", "pneigh_enqueue")
# What arp_process asks on its way.
ASKED = ("arp_ignore", "pneigh_lookup", "neigh_event_ns")


def function_hooks(enter: Callable[[str], Hook], leave: Callable[[str], Hook]) -> tuple[Hook, ...]:
    """The hooks of an engine that probes functions, of whichever kind."""
    return (
        *COMMON,
        leave("arp_process"),
        leave("arp_rcv"),
        *(replace(enter(name), optional=True) for name in ASKED),
        enter("arp_xmit"),
        enter("pneigh_enqueue"),
        enter("arp_process"),
        enter("arp_rcv"),
    )


def missing_function(symbols: Symbols) -> str | None:
    missing = [name for name in FUNCTIONS if not symbols.has(name)]
    return f"the kernel has no function {missing[0]} to probe" if missing else None


def function_macros() -> dict[str, str]:
    """One slot would do, but for a return probe that the kernel had to miss."""
    return {"SLOTS": "2"}
