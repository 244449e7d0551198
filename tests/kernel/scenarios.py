# SPDX-License-Identifier: Apache-2.0
"""Which fault of the lab is an example of which reason: what the causes say of themselves
(``shown_by``), and the faults of the field, which bring their reason along."""

from __future__ import annotations

from lab.faults import FAULTS

from tracer.causes import CAUSES

CLAIMED = [(cause.name, fault) for cause in CAUSES for fault in cause.shown_by]
_CLAIMED = {fault for _, fault in CLAIMED}
_ORDER = [cause.name for cause in CAUSES]


def _place(reason: str) -> int:
    return _ORDER.index(reason) if reason in _ORDER else len(_ORDER)


FIELD = sorted(
    (
        (fault.reason, name)
        for name, fault in FAULTS.items()
        if fault.reason is not None and name not in _CLAIMED
    ),
    key=lambda pair: _place(pair[0]),
)
# The pod gets its reply, and it does not help it.
NOT_TAKEN = [(reason, fault) for reason, fault in CLAIMED + FIELD if FAULTS[fault].answers]
# Under which a request gets no reply.
REFUSED = [(reason, fault) for reason, fault in CLAIMED + FIELD if not FAULTS[fault].answers]
BYSTANDERS = [name for name, fault in FAULTS.items() if fault.answers and fault.reason is None]
# Asked from an address that is not the pod's: nothing that is answered later is the same.
OTHER_SENDERS = [name for name in FAULTS if name.startswith("asks_as_")]


def at_most(count: int) -> list[tuple[str, str]]:
    """Of each cause's own faults the first ones, and of the field's half as many."""
    chosen: list[tuple[str, str]] = []
    taken: dict[tuple[str, bool], int] = {}
    for reason, fault in REFUSED:
        key = (reason, fault in _CLAIMED)
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= (count if key[1] else max(1, count // 2)):
            chosen.append((reason, fault))
    return chosen
