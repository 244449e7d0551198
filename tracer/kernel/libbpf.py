# SPDX-License-Identifier: Apache-2.0
"""The little of libbpf that a running trace needs, by ctypes: no compiler in memory.

libbcc brings libbpf along (Debian, Ubuntu: libbpf0 or libbpf1; Fedora, RHEL: libbpf).
"""

from __future__ import annotations

import ctypes as ct
import errno
import os
from collections.abc import Iterator

_NAMES = ("libbpf.so.1", "libbpf.so.0")
_SAMPLE = ct.CFUNCTYPE(ct.c_int, ct.c_void_p, ct.c_void_p, ct.c_size_t)


class LibbpfError(Exception):
    """libbpf is missing or refused; the message is one line."""


def _load() -> ct.CDLL:
    for name in _NAMES:
        try:
            return ct.CDLL(name, use_errno=True)
        except OSError:
            continue
    raise LibbpfError(
        "libbpf is not installed: apt-get install libbpf1 (Debian, Ubuntu) "
        "or dnf install libbpf (Fedora, RHEL)"
    )


class _TestRunOpts(ct.Structure):
    """struct bpf_test_run_opts of libbpf's bpf.h; sz tells libbpf what we know of it."""

    _fields_ = (
        ("sz", ct.c_size_t),
        ("data_in", ct.c_void_p),
        ("data_out", ct.c_void_p),
        ("data_size_in", ct.c_uint32),
        ("data_size_out", ct.c_uint32),
        ("ctx_in", ct.c_void_p),
        ("ctx_out", ct.c_void_p),
        ("ctx_size_in", ct.c_uint32),
        ("ctx_size_out", ct.c_uint32),
        ("retval", ct.c_uint32),
        ("repeat", ct.c_int),
        ("duration", ct.c_uint32),
        ("flags", ct.c_uint32),
        ("cpu", ct.c_uint32),
    )


class Libbpf:
    """Calls by file descriptor."""

    def __init__(self) -> None:
        self._lib = lib = _load()
        lib.ring_buffer__new.restype = ct.c_void_p
        lib.ring_buffer__new.argtypes = (ct.c_int, _SAMPLE, ct.c_void_p, ct.c_void_p)
        lib.ring_buffer__consume.argtypes = (ct.c_void_p,)
        lib.ring_buffer__epoll_fd.argtypes = (ct.c_void_p,)
        lib.ring_buffer__free.argtypes = (ct.c_void_p,)
        lib.ring_buffer__free.restype = None

    def ring(self, fd: int) -> Ring:
        return Ring(self._lib, fd)

    def keys(self, fd: int, size: int) -> Iterator[bytes]:
        """Every key of a hash map; a key that comes or goes meanwhile may be missed."""
        key, following = None, ct.create_string_buffer(size)
        while self._lib.bpf_map_get_next_key(fd, key, following) == 0:
            yield following.raw
            key = ct.create_string_buffer(following.raw, size)

    def lookup(self, fd: int, key: bytes, size: int) -> bytes | None:
        """The value of ``key``: ``size`` bytes, of a per-CPU map all CPUs' together."""
        value = ct.create_string_buffer(size)
        if self._lib.bpf_map_lookup_elem(fd, key, value):
            return None
        return value.raw

    def delete(self, fd: int, key: bytes) -> None:
        """Delete ``key`` from a hash map, if it is there."""
        self._lib.bpf_map_delete_elem(fd, key)

    def run(self, fd: int, arguments: bytes) -> None:
        """Run a raw tracepoint program once, here and now (BPF_PROG_TEST_RUN, 5.10)."""
        options = _TestRunOpts(sz=ct.sizeof(_TestRunOpts), ctx_size_in=len(arguments))
        context = ct.create_string_buffer(arguments, len(arguments))
        if arguments:  # or it must be NULL
            options.ctx_in = ct.addressof(context)
        if self._lib.bpf_prog_test_run_opts(fd, ct.byref(options)):
            raise LibbpfError(f"BPF_PROG_TEST_RUN: {os.strerror(ct.get_errno())}")


class Ring:
    """A BPF ring buffer."""

    # Not to keep the caller away for long while events pour in.
    BATCH = 2048

    def __init__(self, lib: ct.CDLL, fd: int) -> None:
        self._lib = lib
        self._samples: list[bytes] = []
        self._callback = _SAMPLE(self._take)
        self._ring = lib.ring_buffer__new(fd, self._callback, None, None)
        if not self._ring:
            raise LibbpfError(f"the ring buffer cannot be mapped: {os.strerror(ct.get_errno())}")

    def fileno(self) -> int:
        """Readable while events wait."""
        return int(self._lib.ring_buffer__epoll_fd(self._ring))

    def _take(self, context: int, data: int, size: int) -> int:
        self._samples.append(ct.string_at(data, size))
        return -errno.EAGAIN if len(self._samples) >= self.BATCH else 0

    def read(self) -> list[bytes]:
        """What waits, at most ``BATCH`` events; never blocks."""
        self._lib.ring_buffer__consume(self._ring)
        samples, self._samples = self._samples, []
        return samples

    def close(self) -> None:
        if self._ring:
            self._lib.ring_buffer__free(self._ring)
            self._ring = None
