# SPDX-License-Identifier: Apache-2.0
"""What bcc does for us: it compiles an engine's C."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tracer.kernel import bpf, headers, source
from tracer.kernel.compiled import Compiled, Program
from tracer.kernel.description import Description
from tracer.kernel.engines.engine import Engine
from tracer.kernel.handover import LoadError, Order
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


def c_text(
    engine: Engine,
    order: Order,
    description: Description,
    symbols: Symbols,
    arp_in_netns: int,
) -> str:
    """The engine's C, behind this kernel's structs and these filters.

    ``arp_in_netns``: the inode of the namespace with a packet socket for ARP; 0: none.
    """
    macros = {
        "RING_PAGES": str(RING_PAGES),
        "COUNT_ROWS": str(COUNT_ROWS),
        "NAME_TRACED(name)": f"({order.name_macro})",
        "NETNS_TRACED(inode)": f"({order.netns_macro})",
        "TARGET_TRACED(ip)": f"({order.target_macro})",
        "ARP_IN_NETNS": str(arp_in_netns),
        # A packet socket's receive path (net/packet/af_packet.c).
        "IN_PACKET_SOCKET(at)": _lies_in(symbols, "packet_rcv", "packet_rcv_spkt", "tpacket_rcv"),
        # What copies requests for other devices (drivers/net/macvlan.c).
        "IN_COPYING(at)": _lies_in(
            symbols, "macvlan_broadcast_enqueue", "macvlan_handle_frame", "macvlan_broadcast"
        ),
        "IN_MODULE(at)": _in_module(symbols),
        "FREED_IN(ip)": _freed_in(symbols),
        "SOCK_RFREE": f"{symbols.address('sock_rfree') or 0:#x}ull",
        **description.macros,
        **engine.macros(),
    }
    defines = "".join(f"#define {name} {value}\n" for name, value in macros.items())
    return description.structs + defines + source.assemble(engine.source)


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


def bcc_version() -> str:
    """Of the bcc that would be imported, "" if there is none: importing it brings in LLVM."""
    for place in sys.path:
        try:
            return (Path(place) / "bcc" / "version.py").read_text()
        except OSError:
            continue
    return ""


def compile_engine(engine: Engine, text: str) -> Compiled:
    """Compile the engine's C, as of :func:`c_text`. Raises LoadError."""
    module = import_bcc()
    said_before = len(_said())
    with _header_tree() as directory:
        os.environ["BCC_KERNEL_SOURCE"] = directory
        try:
            compiled = module(text=text.encode(), cflags=_CFLAGS)
        except Exception as error:
            because = _first_error(_said()[said_before:]) or str(error)
            raise LoadError(f"bcc cannot compile {engine.source}: {because}") from error
    try:
        return _taken_from(module.lib, compiled.module)
    finally:
        compiled.cleanup()


@contextmanager
def _header_tree() -> Iterator[str]:
    with ExitStack() as stack:
        try:
            made = stack.enter_context(tempfile.TemporaryDirectory(prefix="arpwhy-"))
            headers.write_tree(Path(made))
        except OSError as error:
            why = error.strerror
            raise LoadError(
                f"no temporary file can be made ({why}): it needs a writable /tmp"
            ) from None
        yield made


def _taken_from(lib: Any, module: int) -> Compiled:
    """bcc has made the maps already: what they are the kernel says, whichever the bcc."""
    for function, result in (
        (lib.bpf_num_tables, ctypes.c_size_t),
        (lib.bpf_table_name, ctypes.c_char_p),
        (lib.bpf_table_fd_id, ctypes.c_int),
    ):
        function.restype = result
    handle = ctypes.c_void_p(module)
    maps = {
        lib.bpf_table_fd_id(handle, ctypes.c_size_t(nth)): lib.bpf_table_name(
            handle, ctypes.c_size_t(nth)
        ).decode()
        for nth in range(lib.bpf_num_tables(handle))
    }
    names = [lib.bpf_function_name(module, nth) for nth in range(lib.bpf_num_functions(module))]
    programs = {
        name.decode(): Program.of(
            ctypes.string_at(
                lib.bpf_function_start(module, name), lib.bpf_function_size(module, name)
            ),
            maps,
        )
        for name in names
    }
    return Compiled({name: bpf.map_info(fd) for fd, name in maps.items()}, programs)


def _said() -> str:
    """What was printed on stderr so far, if that is a file: bcc's exceptions say little."""
    try:
        return os.pread(2, 1 << 20, 0).decode(errors="replace")
    except OSError:
        return ""


def _first_error(said: str) -> str | None:
    return next((line.strip() for line in said.splitlines() if "error" in line), None)
