# SPDX-License-Identifier: Apache-2.0
"""The child that tries: ``python -m tracer.doctor.probe ORDER``, a JSON line for each part.

It compiles each engine once, loads its programs and attaches its hooks in the engine's own
order, all of them held together as in a trace, and detaches them at once.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tracer.doctor.library import loaded_version
from tracer.doctor.trial import Bcc, EngineTrial, HookTrial, hooks_of, lines, without
from tracer.kernel import bpf, compiler
from tracer.kernel.btf import BtfError
from tracer.kernel.engines.engine import Engine
from tracer.kernel.handover import LoadError
from tracer.kernel.hooks import Hook, Kind
from tracer.kernel.prepared import ENGINES, Prepared
from tracer.kernel.programs import Programs, try_tracing
from tracer.kernel.symbols import Symbols, SymbolsError
from tracer.options import DEFAULT_GLOBS, DEFAULT_TARGETS, Options, parse_targets

_PR_SET_PDEATHSIG = 1


def main() -> None:
    # If the parent dies while we compile, nobody else would end us.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    order = json.loads(sys.argv[1])
    # Whatever bcc prints is no part of the answer.
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        for line in lines(_parts(order["btf"], order["engines"])):
            answer.write(line)
            answer.flush()
    os._exit(0)  # all that is held is let go; bcc has nothing to clean up


def _parts(btf_file: str | None, engines: list[str]) -> Iterator[Bcc | EngineTrial | bool]:
    symbols = Symbols.load()
    with suppress(SymbolsError):  # named below, when they are needed
        yield symbols.hidden
    try:
        compiler.import_bcc()
    except (LoadError, OSError, AttributeError) as error:
        yield Bcc(None, None, _no_bcc(error))
        return
    yield _bcc()
    if not engines:
        return
    targets = parse_targets(DEFAULT_TARGETS)
    # It is bcc that is tried: nothing from the cache.
    options = Options(DEFAULT_GLOBS, targets, None, False, btf_file, cache=False)
    chosen = [ENGINES[name] for name in engines]
    try:
        prepared = Prepared(options.order())
        excluded = [engine.why_not(prepared.description, symbols) for engine in chosen]
    except (BtfError, SymbolsError) as error:
        yield from (without(engine, str(error), tried=False) for engine in chosen)
        return
    for engine, why in zip(chosen, excluded, strict=True):
        yield _try(prepared, engine, why)


def _no_bcc(error: Exception) -> str:
    """LoadError: there is none. OSError: no libbcc. AttributeError: PyPI's bcc, another thing."""
    if not isinstance(error, LoadError):
        return (
            f"bcc's Python module does not work ({error}): it must be the distribution's, "
            "python3-bpfcc (Debian, Ubuntu) or python3-bcc (Fedora, RHEL)"
        )
    if any(Path("/usr/lib").glob("python3*/*-packages/bcc/__init__.py")):
        return (
            f"{sys.executable} does not see the distribution's bcc: make its environment "
            "by /usr/bin/python3 -m venv --system-site-packages"
        )
    return str(error)


def _bcc() -> Bcc:
    import bcc  # noqa: PLC0415

    return Bcc(getattr(bcc, "__version__", None), loaded_version("libbcc"), None)


def _try(prepared: Prepared, engine: Engine, excluded: str | None) -> EngineTrial:
    """``excluded``: why the engine says that it cannot run; its function probes are not tried."""
    why = excluded
    try:
        if why is None and engine.enter is Kind.FENTRY:
            try_tracing(prepared.functions)
    except LoadError as error:
        why = str(error)
    try:
        programs = Programs(prepared.compiled(engine, 0), prepared.functions)
    except LoadError as error:
        return without(engine, why or str(error), tried=True)
    try:
        for name in engine.helpers:
            programs.load(Hook(Kind.RAW_TRACEPOINT, name, name))
    except LoadError as error:
        why = why or str(error)
    hooks, held = [], []
    for hook in hooks_of(engine):
        obstacle = excluded if hook.kind is not Kind.RAW_TRACEPOINT else None
        try:
            if obstacle is None:
                held.append(_attach(programs, hook))
        except LoadError as error:
            obstacle = str(error)
        hooks.append(HookTrial(hook.kind, hook.place, hook.optional, obstacle is None, obstacle))
        if obstacle and not hook.optional:
            why = why or obstacle
    for descriptor in reversed(held):
        os.close(descriptor)
    return EngineTrial(engine.name, why, tuple(hooks))


def _attach(programs: Programs, hook: Hook) -> int:
    if not programs.has(hook):
        # The closer look: its C is left out then (bpf/closer.h).
        raise LoadError(f"this kernel's BTF lacks what the program at {hook.place} reads")
    return bpf.attach(hook.kind, hook.place, programs.load(hook))


if __name__ == "__main__":
    main()
