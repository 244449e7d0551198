# SPDX-License-Identifier: Apache-2.0
"""What bcc does for us: it compiles an engine's C, loads its programs, attaches them."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Any

from tracer.kernel import headers, source
from tracer.kernel.btf import Btf
from tracer.kernel.engines.engine import Engine
from tracer.kernel.handover import LoadError, Order
from tracer.kernel.hooks import Hook, Kind
from tracer.kernel.layout import Header
from tracer.kernel.symbols import Symbols
from tracer.kernel.trail import freeing_functions

RING_PAGES = 512  # 2 MiB: 16,000 requests that wait to be read
COUNT_ROWS = 16384  # interfaces

# No debug information, and clang's own passes left out: bcc runs the optimiser itself,
# after that (src/cc/bpf_module.cc). A fifth less time to compile.
_CFLAGS = ["-w", "-g0", "-Xclang", "-disable-llvm-passes"]


def import_bcc() -> Any:
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


def definitions(order: Order, btf: Btf, symbols: Symbols, arp_in_netns: int) -> str:
    """The C that goes before the engine's own: this kernel's structs, these filters.

    ``arp_in_netns``: the inode of the namespace with a packet socket for ARP; 0: none.
    """
    macros = {
        "RING_PAGES": str(RING_PAGES),
        "COUNT_ROWS": str(COUNT_ROWS),
        "NAME_TRACED(name)": f"({order.name_macro})",
        "NETNS_TRACED(inode)": f"({order.netns_macro})",
        "TARGET_TRACED(ip)": f"({order.target_macro})",
        "ARP_IN_NETNS": str(arp_in_netns),
        # Packet sockets by namespace come after arp_rcv (net/core/dev.c, 6.15).
        "ARP_IN_COMES_LATE": str(int(btf.has("net.ptype_specific"))),
        # A packet socket's receive path (net/packet/af_packet.c).
        "IN_PACKET_SOCKET(at)": _lies_in(symbols, "packet_rcv", "packet_rcv_spkt", "tpacket_rcv"),
        # What copies requests for other devices (drivers/net/macvlan.c).
        "IN_COPYING(at)": _lies_in(
            symbols, "macvlan_broadcast_enqueue", "macvlan_handle_frame", "macvlan_broadcast"
        ),
        "IN_MODULE(at)": _in_module(symbols),
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


def _lies_in(symbols: Symbols, *functions: str) -> str:
    """C: does the address ``at`` lie in one of the functions?"""
    extents = symbols.extents(functions)
    return " || ".join(("0", *(f"((at) - {a:#x}ull < {b - a:#x})" for a, b, _ in extents)))


def _in_module(symbols: Symbols) -> str:
    """C: does the address ``at`` lie outside the kernel's own text? 1 if that is hidden."""
    first, last = symbols.address("_stext"), symbols.address("_etext")
    return f"((at) - {first:#x}ull >= {last - first:#x})" if first and last else "1"


def compile_engine(module: Any, engine: Engine, definitions: str) -> Any:
    """The engine's programs, compiled: a bcc.BPF. Raises LoadError."""
    text = definitions + _macros(engine.macros()) + source.assemble(engine.source)
    said_before = len(_said())
    try:
        return module(text=text.encode(), cflags=_CFLAGS)
    except Exception as error:
        because = _first_error(_said()[said_before:]) or str(error)
        raise LoadError(f"bcc cannot compile {engine.source}: {because}") from error


def _said() -> str:
    """What was printed on stderr so far, if that is a file: bcc's exceptions say little."""
    try:
        return os.pread(2, 1 << 20, 0).decode(errors="replace")
    except OSError:
        return ""


def _first_error(said: str) -> str | None:
    return next((line.strip() for line in said.splitlines() if "error" in line), None)


def try_tracing(module: Any) -> None:
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


def program_name(module: Any, bpf: Any, hook: Hook) -> str:
    """The program's name: bcc's macros for fentry and fexit have changed theirs."""
    if hook.kind not in (Kind.FENTRY, Kind.FEXIT):
        return hook.program
    word = {Kind.FENTRY: ("kfunc__", "fentry__"), Kind.FEXIT: ("kretfunc__", "fexit__")}[hook.kind]
    for number in range(module.lib.bpf_num_functions(bpf.module)):
        name: str = module.lib.bpf_function_name(bpf.module, number).decode()
        if name.startswith(word) and name.endswith(f"__{hook.place}"):
            return name
    raise LoadError(f"this bcc does not make {hook.kind} programs as we know them")


def program(bpf: Any, name: str, kind: Kind) -> int:
    types = {
        Kind.RAW_TRACEPOINT: bpf.RAW_TRACEPOINT,
        Kind.FENTRY: bpf.TRACING,
        Kind.FEXIT: bpf.TRACING,
        Kind.KPROBE: bpf.KPROBE,
        Kind.KRETPROBE: bpf.KPROBE,
        Kind.SOCKET: bpf.SOCKET_FILTER,
    }
    try:
        return int(bpf.load_func(name.encode(), types[kind]).fd)
    except Exception as error:
        # bcc's own words for EPERM send root to become root.
        why = os.strerror(ctypes.get_errno())
        raise LoadError(f"the kernel refuses the {kind} program {name}: {why}") from error


def attach_hook(lib: Any, hook: Hook, program: int) -> int:
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
        case Kind.SOCKET:
            raise ValueError(f"{hook.program} is a packet socket's")
    if descriptor < 0:
        why = os.strerror(ctypes.get_errno())
        raise LoadError(f"the kernel does not let a {hook.kind} attach to {hook.place}: {why}")
    return int(descriptor)
