# SPDX-License-Identifier: Apache-2.0
"""BPF programs written in instructions and loaded by bpf(2): no compiler, no bpffs."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from ..errors import LabError, Unavailable

_BPF_PROG_LOAD = 5
_SYS_BPF = {"x86_64": 321, "aarch64": 280}


def instruction(code: int, destination: int, source: int, offset: int, immediate: int) -> bytes:
    """struct bpf_insn of linux/bpf.h."""
    return struct.pack("=BBhi", code, source << 4 | destination, offset, immediate)


def load(kind: int, program: bytes, license_name: str = "Apache-2.0") -> int:
    """The descriptor of the program, of type ``kind`` (BPF_PROG_TYPE_*)."""
    number = _SYS_BPF.get(platform.machine())
    if number is None:
        raise Unavailable(f"BPF: bpf(2)'s number on {platform.machine()}")
    code = ctypes.create_string_buffer(program, len(program))
    license_ = ctypes.create_string_buffer(license_name.encode())
    attributes = ctypes.create_string_buffer(
        struct.pack(
            "=IIQQ",
            kind,
            len(program) // 8,
            ctypes.addressof(code),
            ctypes.addressof(license_),
        ),
        48,
    )
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(number, _BPF_PROG_LOAD, attributes, len(attributes))
    if descriptor < 0:
        error = ctypes.get_errno()
        if error in (errno.ENOSYS, errno.EPERM):
            raise Unavailable(f"BPF: programs of type {kind} ({os.strerror(error)})")
        raise LabError(f"BPF: {os.strerror(error)}")
    return int(descriptor)
