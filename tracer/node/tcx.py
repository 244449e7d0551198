# SPDX-License-Identifier: Apache-2.0
"""tcx programs (Linux 6.6 and later) of an interface, which tc does not list."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from functools import cache

_ATTACH_TYPES = {"ingress": 46, "egress": 47}  # BPF_TCX_* of linux/bpf.h
_MOST = 64  # programs at one place: include/linux/bpf_mprog.h, BPF_MPROG_MAX


@cache
def _query() -> Callable[..., int] | None:
    """libbpf's, which knows the machine's number of bpf(2)."""
    for name in ("libbpf.so.1", "libbpf.so.0"):
        try:
            query: Callable[..., int] = ctypes.CDLL(name, use_errno=True).bpf_prog_query
            return query
        except (OSError, AttributeError):
            continue
    return None


def programs(ifindex: int, direction: str) -> tuple[str, ...]:
    """``tcx prog 17``: its number as bpftool takes it, in the order in which they run.

    Asks in the thread's network namespace (kernel/bpf/tcx.c, tcx_prog_query). None on a
    kernel that has no tcx. Raises OSError.
    """
    query = _query()
    if query is None:
        raise OSError(errno.ENOSYS, "libbpf is not installed")
    ids, count = (ctypes.c_uint32 * _MOST)(), ctypes.c_uint32(_MOST)
    flags = ctypes.c_uint32()
    kind = _ATTACH_TYPES[direction]
    if query(ifindex, kind, 0, ctypes.byref(flags), ids, ctypes.byref(count)) == 0:
        return tuple(f"tcx prog {number}" for number in ids[: count.value])
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOENT):
        return ()  # The kernel knows no such place, or there is nothing at it.
    raise OSError(number, os.strerror(number))
