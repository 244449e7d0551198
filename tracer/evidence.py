# SPDX-License-Identifier: Apache-2.0
"""What a cause was found by."""

from __future__ import annotations

from dataclasses import dataclass, field

from tracer.seen import NOTHING_SEEN, Facts, Seen


@dataclass(frozen=True, slots=True)
class Evidence:
    """``seen`` of a request's own path, ``read`` from the node afterwards: never mixed, and
    where both have one name they may differ.

    ``because``: what decided, a sentence. ``also``: the further reasons that the node's
    configuration shows. ``instead_of``: the reason, with its confidence, that was told before.
    """

    seen: Seen = NOTHING_SEEN
    read: Facts = field(default_factory=dict)
    because: str | None = None
    also: tuple[str, ...] = ()
    instead_of: str | None = None
