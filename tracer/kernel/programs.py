# SPDX-License-Identifier: Apache-2.0
"""What was compiled, made in the kernel: the maps, and the programs as they are asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from resource import RLIM_INFINITY, RLIMIT_MEMLOCK, setrlimit

from tracer.kernel import bpf
from tracer.kernel.compiled import Compiled
from tracer.kernel.handover import LoadError
from tracer.kernel.hooks import Hook, Kind

TRAMPOLINES = (Kind.FENTRY, Kind.FEXIT)


class Programs:
    """``functions``: BTF ids by name. What is made stays till this process ends."""

    def __init__(self, compiled: Compiled, functions: Mapping[str, int]) -> None:
        """Raises LoadError."""
        self._compiled = compiled
        self._functions = functions
        self._loaded: dict[str, int] = {}
        with suppress(ValueError, OSError):  # before Linux 5.11 maps count as locked memory
            setrlimit(RLIMIT_MEMLOCK, (RLIM_INFINITY, RLIM_INFINITY))
        try:
            self.maps = {name: bpf.create_map(name, it) for name, it in compiled.maps.items()}
        except OSError as error:
            raise LoadError(f"the kernel refuses a map: {error.strerror}") from None

    def has(self, hook: Hook) -> bool:
        """Has the C a program for the hook? It leaves out what a kernel cannot have."""
        return hook.program in self._compiled.programs

    def load(self, hook: Hook) -> int:
        """The hook's program, once for all the hooks that it is for. Raises LoadError."""
        name = hook.program
        if not self.has(hook):
            raise LoadError(f"what bcc compiled has no {hook.kind} program for {hook.place}")
        if name not in self._loaded:
            instructions = self._compiled.programs[name].with_maps(self.maps)
            at = _function_id(self._functions, hook)
            self._loaded[name] = bpf.load_program(hook.kind, name, instructions, at)
        return self._loaded[name]

    def load_if_possible(self, hook: Hook) -> int | None:
        """None for an optional one that the kernel refuses."""
        try:
            return self.load(hook)
        except LoadError:
            if hook.optional:
                return None
            raise


def try_tracing(functions: Mapping[str, int]) -> None:
    """Raises LoadError if the kernel refuses an empty fentry program: compiling takes long."""
    hook = Hook(Kind.FENTRY, "arp_rcv", "nothing")
    try:
        at = _function_id(functions, hook)
        os.close(bpf.load_program(hook.kind, hook.program, bpf.RETURN_0, at))
    except bpf.ProgramError as error:
        raise LoadError(f"the kernel refuses it ({error.why})") from None


def _function_id(functions: Mapping[str, int], hook: Hook) -> int:
    if hook.kind not in TRAMPOLINES:
        return 0
    if hook.place not in functions:
        raise LoadError(f"the kernel's BTF does not describe {hook.place}")
    return functions[hook.place]
