# SPDX-License-Identifier: Apache-2.0
"""Which interface an event belongs to: indexes are reused, and events are read late."""

from __future__ import annotations

from tracer.state.interface import Interface
from tracer.state.names import Names
from tracer.state.tally import Tally

Key = tuple[int, int]  # netns inode, ifindex

MOST_DEPARTED = 4096
"""Interfaces that are gone and whose late events are still told apart; then the oldest
is forgotten."""

LINK_LAG_NS = 1_000_000_000
"""How long after a takeover of an index the old interface's LinkGone may still come."""


class Departed:
    """An interface that is gone. ``ts``: by then it was."""

    __slots__ = ("tally", "ts")

    def __init__(self, tally: Tally, ts: int) -> None:
        self.tally = tally
        self.ts = ts


class Interfaces:
    def __init__(self) -> None:
        self.live: dict[Key, Interface] = {}
        self.names = Names()
        # By device; device 0 stands for one that went before any event named its device.
        self._departed: dict[tuple[int, int, int], Departed] = {}

    def stray(self, key: Key, device: int, ts: int) -> Tally | None:
        """The counts of the interface that is gone and that this event still belongs to."""
        if device and (departed := self._departed.get((*key, device))) is not None:
            live = self.live.get(key)
            # The kernel may give a new device the identity of an old one. A link that
            # was announced since and has shown no identity yet may be just that one;
            # what happened before the old one's end is the old one's.
            if live is None or live.device or ts <= departed.ts:
                return departed.tally
            return None
        nameless = self._departed.get((*key, 0))
        if nameless is not None and ts <= nameless.ts and key not in self.live:
            return nameless.tally
        return None

    def enter(self, key: Key, device: int, name: str, ts: int) -> Interface:
        self._departed.pop((*key, device), None)
        interface = self.live[key] = Interface(*key, device, name, ts, self.names)
        return interface

    def identify(self, interface: Interface, device: int) -> None:
        self._departed.pop((interface.netns, interface.ifindex, device), None)
        interface.device = device

    def leave(self, interface: Interface, ts: int) -> None:
        key = (interface.netns, interface.ifindex)
        del self.live[key]
        self.names.drop(interface.name)
        self.depart(key, interface.device, interface.tally, ts)

    def depart(self, key: Key, device: int, tally: Tally, ts: int) -> None:
        self._departed[(*key, device)] = Departed(tally, ts)
        if len(self._departed) > MOST_DEPARTED:
            del self._departed[next(iter(self._departed))]
