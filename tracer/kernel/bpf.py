# SPDX-License-Identifier: Apache-2.0
"""bpf(2) and perf_event_open(2): maps and programs made, programs attached.

The system calls themselves: libbpf's functions for them differ from version to version.
What is attached is detached when its descriptor is closed, so also by SIGKILL. Functions
give descriptors, and raise OSError with the kernel's errno unless they say otherwise.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from pathlib import Path

from tracer.kernel.compiled import Map
from tracer.kernel.handover import LoadError
from tracer.kernel.hooks import Kind

# Numbers of bpf and perf_event_open; those of include/uapi/asm-generic/unistd.h otherwise.
_OWN_NUMBERS = {"x86_64": (321, 298), "ppc64le": (361, 319), "s390x": (351, 331)}
_BPF, _PERF_EVENT_OPEN = _OWN_NUMBERS.get(os.uname().machine, (280, 241))

# include/uapi/linux/bpf.h: enum bpf_cmd
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _GET_INFO, _RAW_TRACEPOINT_OPEN = 0, 2, 5, 15, 17
# Kind -> enum bpf_prog_type, enum bpf_attach_type
_TYPES = {
    Kind.SOCKET: (1, 0),
    Kind.KPROBE: (2, 0),
    Kind.KRETPROBE: (2, 0),
    Kind.RAW_TRACEPOINT: (17, 0),
    Kind.FENTRY: (26, 24),
    Kind.FEXIT: (26, 25),
}
_NAME_MAX = 15
_LOG_SIZE = 1 << 20

KPROBE_PMU = Path("/sys/bus/event_source/devices/kprobe")
_FLAG_FD_CLOEXEC = 8
_IOC_ENABLE, _IOC_SET_BPF = 0x2400, 0x40042408

# r0 = 0; exit
RETURN_0 = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class ProgramError(LoadError):
    """``why`` the kernel refuses a program."""

    def __init__(self, kind: Kind, name: str, why: str) -> None:
        super().__init__(f"the kernel refuses the {kind} program {name}: {why}")
        self.why = why


def _syscall(number: int, attributes: bytes, *before: int, after: tuple[int, ...]) -> int:
    """Number, then ``before``, the attributes (the kernel may write into them), ``after``."""
    own = ctypes.create_string_buffer(attributes, len(attributes))
    arguments = (*map(ctypes.c_long, before), own, *map(ctypes.c_long, after))
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _bpf(command: int, attributes: bytes) -> int:
    return _syscall(_BPF, attributes, command, after=(len(attributes),))


def _address(data: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(data)


def create_map(name: str, wanted: Map) -> int:
    """An empty map."""
    return _bpf(_MAP_CREATE, struct.pack("=5I8x16s", *wanted, name[:_NAME_MAX].encode()))


def map_info(descriptor: int) -> Map:
    """What a map was made of."""
    info = ctypes.create_string_buffer(24)  # struct bpf_map_info, as far as map_flags
    _bpf(_GET_INFO, struct.pack("=IIQ", descriptor, len(info), _address(info)))
    kind, _, *sizes = struct.unpack("=6I", info.raw)
    return Map(kind, *sizes)


def put_program(program_array: int, at: int, program: int) -> None:
    """Let tail calls to ``at`` of the map go to the program."""
    key = ctypes.create_string_buffer(struct.pack("=I", at), 4)
    value = ctypes.create_string_buffer(struct.pack("=i", program), 4)
    _bpf(_MAP_UPDATE, struct.pack("=I4xQQQ", program_array, _address(key), _address(value), 0))


def load_program(kind: Kind, name: str, instructions: bytes, function_id: int = 0) -> int:
    """A program, checked by the kernel. ``function_id``: where fentry and fexit will attach.

    Raises ProgramError with the verifier's last word, if it has one.
    """
    try:
        return _load_program(kind, name, instructions, function_id, None)
    except OSError as error:
        log = ctypes.create_string_buffer(_LOG_SIZE)
        try:
            return _load_program(kind, name, instructions, function_id, log)
        except OSError:
            said = [line for line in log.value.decode(errors="replace").splitlines() if line]
        # After the reason come statistics.
        reasons = [line for line in said if not line.startswith(("processed ", "verification "))]
        why = ": ".join((os.strerror(error.errno or 0), *reasons[-1:]))
        raise ProgramError(kind, name, why) from None


def _load_program(
    kind: Kind,
    name: str,
    instructions: bytes,
    function_id: int,
    log: ctypes.Array[ctypes.c_char] | None,
) -> int:
    program_type, attach_type = _TYPES[kind]
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"GPL")  # bpf/ is GPL-2.0-only
    attributes = struct.pack(
        "=IIQQIIQ8x16s4xI36xI4x",
        program_type,
        len(instructions) // 8,
        _address(code),
        _address(licence),
        int(log is not None),
        len(log) if log else 0,
        _address(log) if log else 0,
        name[:_NAME_MAX].encode(),
        attach_type,
        function_id,
    )
    return _bpf(_PROG_LOAD, attributes)


def attach(kind: Kind, place: str, program: int) -> int:
    """Attach the program; ``place`` of fentry and fexit is in the program itself.

    Raises LoadError with one line.
    """
    try:
        match kind:
            case Kind.RAW_TRACEPOINT:
                return _open_raw_tracepoint(program, place)
            case Kind.FENTRY | Kind.FEXIT:
                return _open_raw_tracepoint(program, None)
            case Kind.KPROBE | Kind.KRETPROBE:
                return _open_kprobe(program, place, kind is Kind.KRETPROBE)
            case Kind.SOCKET:
                raise ValueError("a socket filter is attached by its socket")
    except OSError as error:
        raise LoadError(
            f"the kernel does not let a {kind} attach to {place}: {error.strerror}"
        ) from None


def _open_raw_tracepoint(program: int, place: str | None) -> int:
    name = ctypes.create_string_buffer(place.encode()) if place else None
    at = _address(name) if name else 0
    return _bpf(_RAW_TRACEPOINT_OPEN, struct.pack("=QI4x", at, program))


def _open_kprobe(program: int, function: str, returns: bool) -> int:
    name = ctypes.create_string_buffer(function.encode())
    # struct perf_event_attr as far as config2, the offset in the function.
    attributes = struct.pack(
        "=IIQ40xQQ",
        int((KPROBE_PMU / "type").read_text()),
        72,
        int(returns) << _return_bit(),
        _address(name),
        0,
    )
    every_process, cpu, no_group = -1, 0, -1  # a kprobe's program runs on all CPUs
    after = (every_process, cpu, no_group, _FLAG_FD_CLOEXEC)
    event = _syscall(_PERF_EVENT_OPEN, attributes, after=after)
    try:
        fcntl.ioctl(event, _IOC_SET_BPF, program)
        fcntl.ioctl(event, _IOC_ENABLE, 0)
    except OSError:
        os.close(event)
        raise
    return event


def _return_bit() -> int:
    """The bit of perf_event_attr.config that makes it a return probe: "config:0"."""
    return int((KPROBE_PMU / "format" / "retprobe").read_text().strip().removeprefix("config:"))
