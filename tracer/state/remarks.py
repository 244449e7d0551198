# SPDX-License-Identifier: Apache-2.0
"""What is worth a word though no request was judged: each is said once."""

from __future__ import annotations

from tracer.events import Elsewhere, Unjudged
from tracer.notices import Notice, Remark

ENOUGH = 3
"""So many are no accident."""


class Remarks:
    def __init__(self) -> None:
        # The newest that was not said, by interface; what was said is None from then on.
        self._unjudged: dict[str, Unjudged | None] = {}
        self._elsewhere: dict[str, Elsewhere | None] = {}

    def unjudged(self, event: Unjudged, judged: bool, out: list[Notice]) -> None:
        """Requests for another address than the targets.

        ``judged``: was any other request of this interface?
        """
        if self._unjudged.get(event.interface, event) is None:
            return
        self._unjudged[event.interface] = event
        if event.count >= ENOUGH and not judged:
            self._say_unjudged(event, out)

    def elsewhere(self, event: Elsewhere, out: list[Notice]) -> None:
        """Packets for another MAC address than the interface's."""
        if self._elsewhere.get(event.interface, event) is None:
            return
        self._elsewhere[event.interface] = event
        if event.count >= ENOUGH:
            self._say_elsewhere(event, out)

    def stop(self, nothing_judged: bool, out: list[Notice]) -> None:
        """What did not come to be enough is said if there was nothing else."""
        if not nothing_judged:
            return
        for unjudged in self._unjudged.values():
            if unjudged is not None:
                self._say_unjudged(unjudged, out)
        for elsewhere in self._elsewhere.values():
            if elsewhere is not None:
                self._say_elsewhere(elsewhere, out)

    def _say_unjudged(self, event: Unjudged, out: list[Notice]) -> None:
        self._unjudged[event.interface] = None
        requests = "request" if event.count == 1 else "requests"
        were = "was" if event.count == 1 else "were"
        out.append(
            Remark(
                event.ts,
                event.interface,
                f"{event.count} {requests} for {event.target_ip} {were} not judged:"
                f" --target {event.target_ip}",
            )
        )

    def _say_elsewhere(self, event: Elsewhere, out: list[Notice]) -> None:
        self._elsewhere[event.interface] = None
        packets = "IP packet" if event.count == 1 else "IP packets"
        out.append(
            Remark(
                event.ts,
                event.interface,
                f"{event.count} {packets} came in for the MAC address {event.mac}, which is not"
                " the interface's: the pod's entry for its gateway is wrong, and it will not ask"
                " while that stands",
            )
        )
