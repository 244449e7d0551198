# SPDX-License-Identifier: Apache-2.0
"""What a cause is."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.causes.conditions import Condition
from tracer.evidence import Evidence
from tracer.node.look import Look
from tracer.node.peer import Peer
from tracer.seen import NOTHING_SEEN, Seen

if TYPE_CHECKING:
    from tracer.causes.remedy import Remedy  # it needs this file

OBSERVED = "observed"
INFERRED = "inferred"


EXAMPLE = Look(netns=0, ifindex=1, interface="caliX", sender_ip="POD_IP", target_ip="169.254.1.1")
"""The interface of the pages (tracer/causes/page.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A situation whose mend the cause's page shows. ``when`` tells it from the others."""

    when: str = ""
    look: Look = EXAMPLE
    seen: Seen = NOTHING_SEEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason why a request gets no answer, and all that is known of it.

    ``observed`` gives one sentence, what was seen of the request itself that establishes the
    cause (the look only adds names, and settles what that leaves open), or None.
    ``holds`` gives one, what in the node's configuration does, or None. Neither guesses.
    ``remedy`` is a command to paste, or advice; only asked when the cause was
    established. ``lasting`` tells what usually did it, and so where the mend must go to
    stay. ``recognised`` tells people how arpwhy knows. ``shown_by`` are the faults of the
    lab (tests/lab/faults) that bring it about: tests/kernel runs each.
    ``samples`` are for its page (tracer/causes/page.py).

    ``drops``: what the kernel drops under it, ``request`` or ``reply``; what it was seen to
    drop it did not refuse for another cause. ``unseen``: under it no request is seen at
    all, so that a request which was seen rules it out. ``condition``: that which fails under
    it; None where the node's configuration alone never shows it.
    """

    name: str
    means: str
    observed: Callable[[Seen, Look], str | None]
    holds: Callable[[Look], str | None]
    remedy: Callable[[Look, Seen], Remedy]
    recognised: str
    lasting: str
    field_reports: tuple[str, ...]
    shown_by: tuple[str, ...]
    samples: tuple[Sample, ...] = (Sample(),)
    drops: str | None = None
    unseen: bool = False
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """``reason`` is empty if there is none to be told. ``remedy_kind``: ``command`` or
    ``advice`` (tracer/causes/remedy.py). ``configured``: the node's configuration alone shows it.
    """

    reason: str
    confidence: str
    remedy: str
    evidence: Evidence
    remedy_kind: str = "advice"
    configured: bool = False


def device(look: Look) -> str:
    """The interface's name as a shell takes it; it may come from inside a container."""
    return shlex.quote(look.interface)


def in_pod(peer: Peer, line: str) -> str:
    """``line`` as it is to be pasted to be run at the other end of the link."""
    if peer.netns_path is None:
        return line
    return f"nsenter --net={shlex.quote(peer.netns_path)} {line}"


def command(look: Look, line: str) -> str:
    """``line`` as it is to be pasted: in another network namespace if that is where it is."""
    if look.netns_path is None:
        return line
    return f"nsenter --net={shlex.quote(look.netns_path)} {line}"
