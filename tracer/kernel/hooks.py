# SPDX-License-Identifier: Apache-2.0
"""An engine's hooks, as its C declares them (bpf/hook.h)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from tracer.kernel import source


class Kind(StrEnum):
    """The kinds of hook, and of program, that are loaded."""

    RAW_TRACEPOINT = "raw_tracepoint"
    FENTRY = "fentry"
    FEXIT = "fexit"
    KPROBE = "kprobe"
    KRETPROBE = "kretprobe"
    SOCKET = "socket"


@dataclass(frozen=True, slots=True)
class Hook:
    """``program`` in the C file runs at ``place``: a tracepoint or a kernel function.

    ``optional``: what it tells is evidence only; a kernel that has no such place, or does
    not let it be probed, does without.
    """

    kind: Kind
    place: str
    program: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Hooks:
    """In the order in which to attach them: ``steady`` ends with the one at which a request
    begins. ``closer``: with the closer look. ``answers``: with it, and while programs answer."""

    steady: tuple[Hook, ...]
    closer: tuple[Hook, ...]
    answers: tuple[Hook, ...]


_DECLARED = re.compile(
    r"^(HOOK|HOOK_AT|CLOSER_HOOK|ANSWERS_HOOK|ENTER|MAY_ENTER|LEAVE)\((\w+)(?:, (\w+))?\)$",
    re.MULTILINE,
)


@cache
def declared(name: str, enter: Kind, leave: Kind) -> Hooks:
    """The hooks of the C file ``name``. ``enter``, ``leave``: how it probes functions."""
    found: dict[str, list[Hook]] = {"HOOK": [], "CLOSER_HOOK": [], "ANSWERS_HOOK": []}
    for word, place, program in _DECLARED.findall(source.assemble(name)):
        match word:
            case "ENTER" | "MAY_ENTER":
                hook = Hook(enter, place, f"enter_{place}", word == "MAY_ENTER")
            case "LEAVE":
                hook = Hook(leave, place, f"leave_{place}")
            case _:
                own = program or f"raw_tracepoint__{place}"
                hook = Hook(Kind.RAW_TRACEPOINT, place, own, word == "CLOSER_HOOK")
        found[word if word in found else "HOOK"].append(hook)
    return Hooks(*(tuple(hooks) for hooks in found.values()))
