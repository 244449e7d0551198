# SPDX-License-Identifier: Apache-2.0
"""What a fault is, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import LabError

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

Saved = dict[str, Any]  # JSON: what mending needs, kept in the lab's state
Record = dict[str, Any]  # {"fault": name, "pod": name or None, "saved": Saved}


@dataclass(frozen=True)
class Fault:
    """One way to lose the gateway.

    ``whole_node``: it breaks every pod of the node, and is broken at most once.
    ``touches``: what it changes. Two faults that change the same thing of the same pod
    (or of the node) are refused, because only then can each be mended in any order.
    ``shared``: it breaks one pod by changing what is the node's, so one pod at a time.
    ``delays``: the answer comes late instead of not at all.
    ``frame``: makes of a pod's request the one that it sends instead while this is broken.
    ``answers``: how many replies each request gets all the same. Of a bystander one: it
    looks like a fault and is none. ``reason``: the cause that is to be named, of those that
    no cause in tracer/causes claims (its ``shown_by``). ``remedy``: ``command`` or
    ``advice``, where only one of them is right.
    """

    name: str
    about: str
    touches: str
    whole_node: bool
    shared: bool
    delays: bool
    frame: Callable[[bytes], bytes] | None
    answers: int
    reason: str | None
    remedy: str | None
    apply: Callable[[Lab, Pod], Saved]
    undo: Callable[[Lab, Pod, Saved], None]

    def break_(self, lab: Lab, pod: Pod) -> None:
        """Break it; Unavailable if this machine cannot, LabError if it is broken already."""
        owner = None if self.whole_node else pod.name
        for record in lab.state.faults:
            other = FAULTS[record["fault"]]
            apart = None not in (owner, record["pod"]) and owner != record["pod"]
            apart = apart and not (self.shared or other.shared)
            if other.touches == self.touches and not apart:
                if other is self:
                    raise LabError(f"{self.name} is broken already; mend it first")
                raise LabError(f"{self.name}: {other.name} is in its place; mend that first")
        saved = self.apply(lab, pod)
        lab.state.faults.append({"fault": self.name, "pod": owner, "saved": saved})
        lab.state.save()

    def mend(self, lab: Lab, pod: Pod) -> None:
        """Put back exactly what was there; LabError if it is not broken."""
        record = self._record(lab, pod)
        self.undo(lab, pod, record["saved"])
        self._drop(lab, record)

    def forget(self, lab: Lab, pod: Pod) -> None:
        """Somebody else has mended it, by arpwhy's remedy say; LabError if it is not broken."""
        self._drop(lab, self._record(lab, pod))

    def _drop(self, lab: Lab, record: Record) -> None:
        lab.state.faults.remove(record)
        lab.state.save()

    def _record(self, lab: Lab, pod: Pod) -> Record:
        owner = None if self.whole_node else pod.name
        for record in lab.state.faults:
            if record["fault"] == self.name and record["pod"] == owner:
                return record
        where = "" if owner is None else f" on {owner}"
        raise LabError(f"{self.name} is not broken{where}")


FAULTS: dict[str, Fault] = {}


def fault(
    about: str,
    *,
    undo: Callable[[Lab, Pod, Saved], None],
    touches: str | None = None,
    whole_node: bool = False,
    shared: bool = False,
    delays: bool = False,
    frame: Callable[[bytes], bytes] | None = None,
    answers: int = 0,
    reason: str | None = None,
    remedy: str | None = None,
) -> Callable[[Callable[[Lab, Pod], Saved]], Callable[[Lab, Pod], Saved]]:
    """Register the function that breaks, under its own name."""

    def register(apply: Callable[[Lab, Pod], Saved]) -> Callable[[Lab, Pod], Saved]:
        name = apply.__name__
        FAULTS[name] = Fault(
            name=name,
            about=about,
            touches=touches or name,
            whole_node=whole_node,
            shared=shared,
            delays=delays,
            frame=frame,
            answers=answers,
            reason=reason,
            remedy=remedy,
            apply=apply,
            undo=undo,
        )
        return apply

    return register
