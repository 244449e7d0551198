# SPDX-License-Identifier: Apache-2.0
"""The loading process: compiles and attaches, hands over the descriptors, and ends.

It runs as a child (``python -m tracer.kernel.loader FD``) so that the compiler's 100 MB
never weigh on the process that traces. Programs, maps and links live as long as somebody
holds their descriptors: the parent alone, after this, and nobody if that is killed.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import struct
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tracer.kernel import headers, source
from tracer.kernel.btf import Btf, BtfError
from tracer.kernel.engines import fentry, kprobe, tracepoint
from tracer.kernel.engines.engine import CLOSER, Engine, Hook, Kind
from tracer.kernel.functions import DROPPING
from tracer.kernel.handover import Loaded, LoadError, Order
from tracer.kernel.layout import Header
from tracer.kernel.symbols import Symbols, SymbolsError
from tracer.kernel.trail import freeing_functions

ENGINES = {each.name: each for each in (fentry.ENGINE, kprobe.ENGINE, tracepoint.ENGINE)}
MAPS = ("events", "statistics", "counts", "rounds")

RING_PAGES = 512  # 2 MiB: 16,000 requests that wait to be read
COUNT_ROWS = 16384  # interfaces

# No debug information, and clang's own passes left out: bcc runs the optimiser itself,
# after that (src/cc/bpf_module.cc). A fifth less time to compile.
_CFLAGS = ["-w", "-g0", "-Xclang", "-disable-llvm-passes"]

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
    btf = Btf.load(order.btf) if order.btf else Btf.load()
    symbols = Symbols.load()
    with tempfile.TemporaryDirectory(prefix="arpwhy-") as directory:
        os.environ["BCC_KERNEL_SOURCE"] = str(headers.write_tree(Path(directory)))
        bcc = _import_bcc()
        definitions = _definitions(order, btf, symbols)
        passed_over: list[tuple[str, str]] = []
        for engine in (ENGINES[name] for name in order.engines):
            why = engine.why_not(btf, symbols)
            if why is None:
                try:
                    names, descriptors = _attach(bcc, engine, definitions)
                except LoadError as error:
                    why = str(error)
                else:
                    loaded = Loaded(
                        engine.name,
                        tuple(passed_over),
                        tuple(names),
                        {str(n): name for n, name in headers.enum_names(btf).items()},
                        symbols.extents(DROPPING),
                    )
                    return loaded, descriptors
            passed_over.append((engine.name, why))
    raise LoadError("; ".join(f"engine {name} cannot run: {why}" for name, why in passed_over))


def _import_bcc() -> Any:
    try:
        import bcc  # noqa: PLC0415
    except ImportError as error:
        if error.name not in (None, "bcc"):
            raise
        raise LoadError(
            "bcc's Python module is not installed: apt-get install python3-bpfcc "
            "(Debian, Ubuntu) or dnf install python3-bcc (Fedora, RHEL)"
        ) from None

    class Module(bcc.BPF):  # type: ignore[misc]
        def _trace_autoload(self) -> None:
            """Nothing: we attach in an order of our own."""

    Module.lib = bcc.lib
    return Module


def _definitions(order: Order, btf: Btf, symbols: Symbols) -> str:
    """The C that goes before the engine's own: this kernel's structs, these filters."""
    macros = {
        "RING_PAGES": str(RING_PAGES),
        "COUNT_ROWS": str(COUNT_ROWS),
        "NAME_TRACED(name)": f"({order.name_macro})",
        "NETNS_TRACED(inode)": f"({order.netns_macro})",
        "TARGET_TRACED(ip)": f"({order.target_macro})",
        "IN_PACKET_SOCKET(at)": _in_packet_socket(symbols),
        "FREED_IN(ip)": _freed_in(symbols),
        "SOCK_RFREE": f"{symbols.address('sock_rfree') or 0:#x}ull",
        **headers.feature_defines(btf),
    }
    return headers.closer_definitions(btf) + _macros(macros)


def _macros(macros: dict[str, str]) -> str:
    return "".join(f"#define {name} {value}\n" for name, value in macros.items())


def _freed_in(symbols: Symbols) -> str:
    """C: the value of enum freed_in for an address on a stack."""
    header = Header.parse((source.directory() / "event.h").read_text())
    numbers = {name: number for number, name in freeing_functions(header).items()}
    extents = symbols.extents(numbers)
    tests = (f"(ip) - {a:#x}ull < {b - a:#x} ? {numbers[name]} : " for a, b, name in extents)
    return f"({''.join(tests)}IN_UNKNOWN)"


def _in_packet_socket(symbols: Symbols) -> str:
    """C: does the address lie in a packet socket's receive path (net/packet/af_packet.c)?"""
    extents = symbols.extents(("packet_rcv", "packet_rcv_spkt", "tpacket_rcv"))
    return " || ".join(("0", *(f"((at) - {a:#x}ull < {b - a:#x})" for a, b, _ in extents)))


def _attach(module: Any, engine: Engine, definitions: str) -> tuple[list[str], list[int]]:
    if any(hook.kind is Kind.FENTRY for hook in engine.hooks):
        _try_tracing(module)
    try:
        text = definitions + _macros(engine.macros()) + source.assemble(engine.source)
        bpf = module(text=text.encode(), cflags=_CFLAGS)
    except Exception as error:
        raise LoadError(f"bcc cannot compile {engine.source}: {error}") from error
    lib = module.lib
    names: list[str] = []
    descriptors: list[int] = []
    for name in MAPS:
        names.append(f"map {name}")
        descriptors.append(lib.bpf_table_fd(bpf.module, name.encode()))
    for name in engine.helpers:
        names.append(f"program {name}")
        descriptors.append(_program(bpf, name, Kind.RAW_TRACEPOINT))
    if "#define ARPWHY_CLOSER " in definitions:
        for hook in CLOSER:
            names.append(f"closer {hook.place}")
            descriptors.append(_program(bpf, hook.program, hook.kind))
    programs = [(hook, _program_of(module, bpf, hook)) for hook in engine.hooks]
    if engine.called:
        called = _program(bpf, engine.called, Kind.RAW_TRACEPOINT)
        bpf[b"programs"][ctypes.c_int(0)] = ctypes.c_int(called)
        # The kernel empties the map when its last descriptor is closed.
        names.append("map programs")
        descriptors.append(lib.bpf_table_fd(bpf.module, b"programs"))
    links = _attach_all(lib, programs)
    return names + list(links), descriptors + list(links.values())


def _attach_all(lib: Any, programs: list[tuple[Hook, int | None]]) -> dict[str, int]:
    """Links by name, in the order in which they were attached."""
    links: dict[str, int] = {}
    try:
        for hook, program in programs:
            if program is None:
                continue
            try:
                links[f"link {hook.kind} {hook.place}"] = _attach_hook(lib, hook, program)
            except LoadError:
                if not hook.optional:
                    raise
    except LoadError:
        for descriptor in reversed(links.values()):
            os.close(descriptor)
        raise
    return links


def _try_tracing(module: Any) -> None:
    """Raises LoadError if the kernel refuses an empty fentry program: compiling takes long."""
    empty = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    errors = set()
    for name in (b"kfunc__vmlinux__arp_rcv", b"kfunc__arp_rcv"):  # bcc looks up what it names
        descriptor = module.lib.bcc_prog_load(
            module.TRACING, name, empty, len(empty), b"GPL", 0, 0, None, 0
        )
        if descriptor >= 0:
            os.close(descriptor)
            return
        errors.add(ctypes.get_errno())
    # One of the names is unknown to this bcc: ENOENT.
    why = os.strerror(min(errors - {errno.ENOENT}, default=errno.ENOENT))
    raise LoadError(f"the kernel refuses it ({why})")


def _name(module: Any, bpf: Any, hook: Hook) -> str:
    """The program's name: bcc's macros for fentry and fexit have changed theirs."""
    if hook.kind not in (Kind.FENTRY, Kind.FEXIT):
        return hook.program
    word = {Kind.FENTRY: ("kfunc__", "fentry__"), Kind.FEXIT: ("kretfunc__", "fexit__")}[hook.kind]
    for number in range(module.lib.bpf_num_functions(bpf.module)):
        name: str = module.lib.bpf_function_name(bpf.module, number).decode()
        if name.startswith(word) and name.endswith(f"__{hook.place}"):
            return name
    raise LoadError(f"this bcc does not make {hook.kind} programs as we know them")


def _program_of(module: Any, bpf: Any, hook: Hook) -> int | None:
    """None for an optional one that the kernel refuses."""
    try:
        return _program(bpf, _name(module, bpf, hook), hook.kind)
    except LoadError:
        if hook.optional:
            return None
        raise


def _program(bpf: Any, name: str, kind: Kind) -> int:
    types = {
        Kind.RAW_TRACEPOINT: bpf.RAW_TRACEPOINT,
        Kind.FENTRY: bpf.TRACING,
        Kind.FEXIT: bpf.TRACING,
        Kind.KPROBE: bpf.KPROBE,
        Kind.KRETPROBE: bpf.KPROBE,
    }
    try:
        return int(bpf.load_func(name.encode(), types[kind]).fd)
    except Exception as error:
        # bcc's own words for EPERM send root to become root.
        why = os.strerror(ctypes.get_errno())
        raise LoadError(f"the kernel refuses the {kind} program {name}: {why}") from error


def _attach_hook(lib: Any, hook: Hook, program: int) -> int:
    place = hook.place.encode()
    match hook.kind:
        case Kind.RAW_TRACEPOINT:
            descriptor = lib.bpf_attach_raw_tracepoint(program, place)
        case Kind.FENTRY | Kind.FEXIT:
            descriptor = lib.bpf_attach_kfunc(program)
        case Kind.KPROBE | Kind.KRETPROBE:
            returns = hook.kind is Kind.KRETPROBE
            name = b"arpwhy_%d_%s_%s" % (os.getpid(), hook.kind.encode(), place)
            descriptor = lib.bpf_attach_kprobe(program, int(returns), name, place, 0, 0)
    if descriptor < 0:
        why = os.strerror(ctypes.get_errno())
        raise LoadError(f"the kernel does not let a {hook.kind} attach to {hook.place}: {why}")
    return int(descriptor)


if __name__ == "__main__":
    main()
