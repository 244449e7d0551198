# SPDX-License-Identifier: Apache-2.0
"""The loading process: loads and attaches, hands over the descriptors, and ends.

It runs as a child (``python -m tracer.kernel.loader FD``) so that the compiler's 100 MB
never weigh on the process that traces. What was compiled before is taken from the cache.
Programs, maps and links live as long as somebody holds their descriptors: the parent alone,
after this, and nobody if that is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict

from tracer.kernel import arp_socket, bpf, realtime
from tracer.kernel.btf import BtfError
from tracer.kernel.engines.engine import Engine
from tracer.kernel.functions import DROPPING
from tracer.kernel.handover import Loaded, LoadError, Order
from tracer.kernel.hooks import Hook, Kind
from tracer.kernel.prepared import ENGINES, Prepared
from tracer.kernel.programs import Programs, try_tracing
from tracer.kernel.symbols import SymbolsError

MAPS = (
    "events",
    "statistics",
    "counts",
    "rounds",
    "waiting",
    "unjudged",
    "elsewhere",
)

_PR_SET_PDEATHSIG = 1


def main() -> None:
    # If the parent dies while we compile, nobody else would end us.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal: the parent decides
    with socket.socket(fileno=int(sys.argv[1])) as parent:
        order = Order(**json.loads(_read_line(parent)))
        descriptors: list[int] = []
        try:
            loaded, descriptors = load(order)
            reply = asdict(loaded)
        except (LoadError, BtfError, SymbolsError) as error:
            reply = {"error": str(error)}
        socket.send_fds(parent, [json.dumps(reply).encode() + b"\n"], descriptors)
    # Not sys.exit: nothing of bcc's is to be cleaned up, which takes time.
    os._exit(0)


def _read_line(parent: socket.socket) -> bytes:
    with parent.makefile("rb") as stream:
        return stream.readline()


def load(order: Order) -> tuple[Loaded, list[int]]:
    """Load the first engine that can run. Raises LoadError with the reason of each."""
    if why := realtime.why_not():
        raise LoadError(why)
    prepared = Prepared(order)
    passed_over: list[tuple[str, str]] = []
    for engine in (ENGINES[name] for name in order.engines):
        why = engine.why_not(prepared.description, prepared.symbols)
        if why is None:
            try:
                names, descriptors, no_socket = _attach(prepared, engine)
            except LoadError as error:
                why = str(error)
            else:
                loaded = Loaded(
                    engine.name,
                    tuple(passed_over),
                    tuple(names),
                    {str(n): name for n, name in prepared.description.drop_reasons.items()},
                    prepared.symbols.extents(DROPPING),
                    no_socket,
                    tuple(prepared.remarks),
                )
                prepared.keep_symbols()
                return loaded, descriptors
        passed_over.append((engine.name, why))
    raise LoadError("; ".join(f"engine {name} cannot run: {why}" for name, why in passed_over))


def _attach(prepared: Prepared, engine: Engine) -> tuple[list[str], list[int], str | None]:
    """Names, descriptors, and why the engine does without its packet socket if it does."""
    if engine.filter is None:
        return *_attach_with(prepared, engine, 0, None), None
    try:
        sock = arp_socket.open_socket()
        return *_attach_with(prepared, engine, arp_socket.netns(), sock), None
    except arp_socket.ArpSocketError as error:
        return *_attach_with(prepared, engine, 0, None), str(error)


def _attach_with(
    prepared: Prepared, engine: Engine, arp_in_netns: int, sock: socket.socket | None
) -> tuple[list[str], list[int]]:
    hooks = engine.hooks
    if engine.enter is Kind.FENTRY:
        try_tracing(prepared.functions)
    loaded = Programs(prepared.compiled(engine, arp_in_netns), prepared.functions)
    descriptors = {f"map {name}": loaded.maps[name] for name in MAPS}
    for name in engine.helpers:
        descriptors[f"program {name}"] = loaded.load(Hook(Kind.RAW_TRACEPOINT, name, name))
    with suppress(LoadError):  # all of it or none
        descriptors |= {f"closer {hook.place}": loaded.load(hook) for hook in hooks.closer}
    for hook in hooks.answers:
        descriptors[f"answers {hook.place}"] = loaded.load(hook)
    programs = [(hook, loaded.load_if_possible(hook)) for hook in hooks.steady]
    for number, name in enumerate(engine.called):
        called = loaded.load(Hook(Kind.RAW_TRACEPOINT, name, name))
        bpf.put_program(loaded.maps["programs"], number, called)
    if engine.called:
        # The kernel empties the map when its last descriptor is closed.
        descriptors["map programs"] = loaded.maps["programs"]
    for hook, program in programs:
        if program is not None:
            descriptors[f"run {hook.program} at {hook.place}"] = program
    if engine.filter and sock:
        # The first of the links, closed last: nothing begins that it does not see.
        try:
            arp_socket.attach(sock, loaded.load(Hook(Kind.SOCKET, "arp", engine.filter)))
        except LoadError as error:
            raise arp_socket.ArpSocketError(str(error)) from error
        descriptors["link socket arp"] = sock.detach()
    descriptors |= _attach_all(programs)
    return list(descriptors), list(descriptors.values())


def _attach_all(programs: list[tuple[Hook, int | None]]) -> dict[str, int]:
    """Links by name, in the order in which they were attached."""
    links: dict[str, int] = {}
    try:
        for hook, program in programs:
            if program is None:
                continue
            try:
                links[f"link {hook.kind} {hook.place}"] = bpf.attach(hook.kind, hook.place, program)
            except LoadError:
                if not hook.optional:
                    raise
    except LoadError:
        for descriptor in reversed(links.values()):
            os.close(descriptor)
        raise
    return links


if __name__ == "__main__":
    main()
