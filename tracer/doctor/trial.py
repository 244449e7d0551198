# SPDX-License-Identifier: Apache-2.0
"""Every hook of every engine, really attached for an instant: what came of it.

A child does it (tracer.doctor.probe): bcc is heavy, and whatever the child has attached is
detached when it ends, however it ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tracer.kernel.engines.engine import Engine
from tracer.kernel.hooks import Hook
from tracer.kernel.loading import import_path
from tracer.kernel.prepared import ENGINES

# QEMU's software emulation compiles all engines in 20 to 40 s.
_PATIENCE_S = 240.0


@dataclass(frozen=True, slots=True)
class HookTrial:
    """``attached`` None: it was not tried. ``why`` it was not, or not attached."""

    kind: str
    place: str
    optional: bool
    attached: bool | None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class EngineTrial:
    """``why`` None: it can run, each hook that is not optional was attached."""

    name: str
    why: str | None
    hooks: tuple[HookTrial, ...]

    @property
    def tried(self) -> bool:
        return any(hook.attached is not None for hook in self.hooks)


@dataclass(frozen=True, slots=True)
class Bcc:
    """``module`` and ``library`` are versions. ``why`` None: it can be imported."""

    module: str | None
    library: str | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """``addresses_hidden``: kallsyms gives this process no addresses; None: not known."""

    bcc: Bcc
    addresses_hidden: bool | None
    engines: tuple[EngineTrial, ...]


def hooks_of(engine: Engine) -> tuple[Hook, ...]:
    """Its own, and those of the closer look, attached while a cause is looked for."""
    return (*engine.hooks.steady, *engine.hooks.closer)


def without(engine: Engine, why: str, *, tried: bool) -> EngineTrial:
    """The engine cannot run, for one reason that holds for all its hooks."""
    attached = False if tried else None
    hooks = (HookTrial(h.kind, h.place, h.optional, attached, why) for h in hooks_of(engine))
    return EngineTrial(engine.name, why, tuple(hooks))


def run(btf: str | None, blocked: str | None) -> Trial:
    """Try all engines, or, with ``blocked`` given as the reason why not, only import bcc."""
    order = json.dumps({"btf": btf, "engines": [] if blocked else list(ENGINES)})
    argv = [sys.executable, "-P", "-m", "tracer.doctor.probe", order]
    environment = {**os.environ, "PYTHONPATH": import_path()}
    with tempfile.TemporaryFile() as noise:  # a file: the child reads what bcc said
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=noise,
                env=environment,
                timeout=_PATIENCE_S,
                check=False,
            )
            said, status = done.stdout, done.returncode
        except subprocess.TimeoutExpired as error:
            said, status = error.stdout or b"", None
        noise.seek(0)
        stderr = noise.read().decode(errors="replace").strip()
    if os.environ.get("ARPWHY_DEBUG") and stderr:
        print(stderr, file=sys.stderr)
    return parse(said, blocked or f"{_ending(status, stderr)} (ARPWHY_DEBUG=1 shows all)")


def _ending(status: int | None, stderr: str) -> str:
    if status is None:
        return f"trying it took more than {_PATIENCE_S:.0f} s"
    if status < 0:
        return f"trying it ended by signal {-status}"
    return f"trying it failed: {stderr.splitlines()[-1] if stderr else f'exit status {status}'}"


def lines(parts: Iterable[Bcc | EngineTrial | bool]) -> Iterable[str]:
    """What the child says: a line a part, each as soon as it is known."""
    for part in parts:
        key = {Bcc: "bcc", EngineTrial: "engine", bool: "addresses_hidden"}[type(part)]
        yield json.dumps({key: part if isinstance(part, bool) else asdict(part)}) + "\n"


def parse(said: bytes, why: str) -> Trial:
    """``why``: the reason for whatever the child did not say."""
    found: dict[str, EngineTrial] = {}
    bcc, hidden = Bcc(None, None, why), None
    for line in said.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break  # cut off
        part: dict[str, Any] = json.loads(line)
        if "bcc" in part:
            bcc = Bcc(**part["bcc"])
        elif "engine" in part:
            engine = part["engine"]
            hooks = tuple(HookTrial(**hook) for hook in engine.pop("hooks"))
            found[engine["name"]] = EngineTrial(**engine, hooks=hooks)
        else:
            hidden = part["addresses_hidden"]
    why = bcc.why or why
    engines = (
        found.get(name) or without(engine, why, tried=False) for name, engine in ENGINES.items()
    )
    return Trial(bcc, hidden, tuple(engines))
