# SPDX-License-Identifier: Apache-2.0
"""The loading process: compiles and attaches, hands over the descriptors, and ends.

It runs as a child (``python -m tracer.kernel.loader FD``) so that the compiler's 100 MB
never weigh on the process that traces. Programs, maps and links live as long as somebody
holds their descriptors: the parent alone, after this, and nobody if that is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tracer.kernel import arp_socket, headers, realtime
from tracer.kernel.btf import Btf, BtfError
from tracer.kernel.compiler import (
    attach_hook,
    compile_engine,
    definitions,
    import_bcc,
    program,
    program_name,
    try_tracing,
)
from tracer.kernel.engines import fentry, kprobe, tracepoint
from tracer.kernel.engines.engine import Engine
from tracer.kernel.functions import DROPPING
from tracer.kernel.handover import Loaded, LoadError, Order
from tracer.kernel.hooks import Hook, Kind
from tracer.kernel.symbols import Symbols, SymbolsError

ENGINES = {each.name: each for each in (fentry.ENGINE, kprobe.ENGINE, tracepoint.ENGINE)}
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
    # Not sys.exit: bcc's clean-up would detach what we have just handed over.
    os._exit(0)


def _read_line(parent: socket.socket) -> bytes:
    with parent.makefile("rb") as stream:
        return stream.readline()


def load(order: Order) -> tuple[Loaded, list[int]]:
    """Load the first engine that can run. Raises LoadError with the reason of each."""
    if why := realtime.why_not():
        raise LoadError(why)
    btf = Btf.load(order.btf) if order.btf else Btf.load()
    symbols = Symbols.load()
    with tempfile.TemporaryDirectory(prefix="arpwhy-") as directory:
        os.environ["BCC_KERNEL_SOURCE"] = str(headers.write_tree(Path(directory)))
        bcc = import_bcc()
        passed_over: list[tuple[str, str]] = []
        for engine in (ENGINES[name] for name in order.engines):
            why = engine.why_not(btf, symbols)
            if why is None:
                try:
                    names, descriptors, no_socket = _attach(bcc, engine, order, btf, symbols)
                except LoadError as error:
                    why = str(error)
                else:
                    loaded = Loaded(
                        engine.name,
                        tuple(passed_over),
                        tuple(names),
                        {str(n): name for n, name in headers.enum_names(btf).items()},
                        symbols.extents(DROPPING),
                        no_socket,
                    )
                    return loaded, descriptors
            passed_over.append((engine.name, why))
    raise LoadError("; ".join(f"engine {name} cannot run: {why}" for name, why in passed_over))


def _attach(
    module: Any, engine: Engine, order: Order, btf: Btf, symbols: Symbols
) -> tuple[list[str], list[int], str | None]:
    """Names, descriptors, and why the engine does without its packet socket if it does."""
    if engine.filter is None:
        return *_attach_with(module, engine, definitions(order, btf, symbols, 0), None), None
    try:
        sock = arp_socket.open_socket()
        text = definitions(order, btf, symbols, arp_socket.netns())
        return *_attach_with(module, engine, text, sock), None
    except arp_socket.ArpSocketError as error:
        text = definitions(order, btf, symbols, 0)
        return *_attach_with(module, engine, text, None), str(error)


def _attach_with(
    module: Any, engine: Engine, text: str, sock: socket.socket | None
) -> tuple[list[str], list[int]]:
    hooks = engine.hooks
    if engine.enter is Kind.FENTRY:
        try_tracing(module)
    bpf = compile_engine(module, engine, text)
    lib = module.lib
    names: list[str] = []
    descriptors: list[int] = []
    for name in MAPS:
        names.append(f"map {name}")
        descriptors.append(lib.bpf_table_fd(bpf.module, name.encode()))
    for name in engine.helpers:
        names.append(f"program {name}")
        descriptors.append(program(bpf, name, Kind.RAW_TRACEPOINT))
    closer = {f"closer {hook.place}": _program_of(module, bpf, hook) for hook in hooks.closer}
    if None not in closer.values():  # or none of it
        names += closer
        descriptors += [descriptor for descriptor in closer.values() if descriptor is not None]
    for hook in hooks.answers:
        names.append(f"answers {hook.place}")
        descriptors.append(program(bpf, hook.program, hook.kind))
    programs = [(hook, _program_of(module, bpf, hook)) for hook in hooks.steady]
    for number, name in enumerate(engine.called):
        called = program(bpf, name, Kind.RAW_TRACEPOINT)
        bpf[b"programs"][ctypes.c_int(number)] = ctypes.c_int(called)
    if engine.called:
        # The kernel empties the map when its last descriptor is closed.
        names.append("map programs")
        descriptors.append(lib.bpf_table_fd(bpf.module, b"programs"))
    for hook, descriptor in programs:
        if descriptor is not None:
            names.append(f"run {hook.program} at {hook.place}")
            descriptors.append(descriptor)
    links: dict[str, int] = {}
    if engine.filter and sock:
        # The first of the links, closed last: nothing begins that it does not see.
        try:
            arp_socket.attach(sock, program(bpf, engine.filter, Kind.SOCKET))
        except LoadError as error:
            raise arp_socket.ArpSocketError(str(error)) from error
        links["link socket arp"] = sock.detach()
    links |= _attach_all(lib, programs)
    return names + list(links), descriptors + list(links.values())


def _attach_all(lib: Any, programs: list[tuple[Hook, int | None]]) -> dict[str, int]:
    """Links by name, in the order in which they were attached."""
    links: dict[str, int] = {}
    try:
        for hook, program in programs:
            if program is None:
                continue
            try:
                links[f"link {hook.kind} {hook.place}"] = attach_hook(lib, hook, program)
            except LoadError:
                if not hook.optional:
                    raise
    except LoadError:
        for descriptor in reversed(links.values()):
            os.close(descriptor)
        raise
    return links


def _program_of(module: Any, bpf: Any, hook: Hook) -> int | None:
    """None for an optional one that the kernel refuses."""
    try:
        return program(bpf, program_name(module, bpf, hook), hook.kind)
    except LoadError:
        if hook.optional:
            return None
        raise


if __name__ == "__main__":
    main()
