# SPDX-License-Identifier: Apache-2.0
"""A cluster as its Prometheus knows it. Every time is in seconds since the epoch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Since:
    """``longer``: it was so already when the answers begin."""

    ts: float
    longer: bool


@dataclass(frozen=True, slots=True)
class Flagged:
    """An interface that gets no reply. ``unanswered``: requests in the last minutes.

    ``namespace`` and ``pod`` are "" if the exporter does not know them; ``unanswered`` is None
    if Prometheus has not seen the counter for long enough.
    """

    interface: str
    target: str
    reason: str
    namespace: str
    pod: str
    since: Since
    unanswered: int | None


class State(StrEnum):
    """``DOWN``: the exporter does not answer. ``NO_METRICS``: what answers is no exporter."""

    UP = "up"
    DOWN = "down"
    NO_METRICS = "no_metrics"


@dataclass(frozen=True, slots=True)
class Node:
    """``name`` is the label ``instance``; ``cluster`` is "" without such a label.

    ``interfaces`` is None and ``flagged`` empty unless the state is UP; ``since`` is that of
    DOWN.
    """

    cluster: str
    name: str
    state: State
    since: Since | None
    interfaces: int | None
    flagged: tuple[Flagged, ...]

    @property
    def known(self) -> bool:
        return self.state is State.UP

    @property
    def silent(self) -> int:
        """How many of its interfaces are flagged, for whichever target."""
        return len({each.interface for each in self.flagged})


@dataclass(frozen=True, slots=True)
class Cluster:
    """``nodes``: the worst first. ``warnings``: why not all may be here."""

    ts: float
    nodes: tuple[Node, ...]
    warnings: tuple[str, ...]

    @property
    def silent(self) -> int:
        """How many interfaces are flagged."""
        return sum(node.silent for node in self.nodes)

    @property
    def unknown(self) -> int:
        return sum(1 for node in self.nodes if not node.known)

    @property
    def well(self) -> bool:
        """Whether every interface of every node is known to get its replies."""
        return not (self.silent or self.unknown or self.warnings)


def worst_first(nodes: list[Node]) -> tuple[Node, ...]:
    """Those with the most flagged interfaces, then those of which nothing is known."""
    return tuple(
        sorted(nodes, key=lambda node: (-node.silent, node.known, node.cluster, node.name))
    )


def longest_first(flagged: list[Flagged]) -> tuple[Flagged, ...]:
    """By reason, that of the most interfaces first; of each the longest first."""
    many = Counter(each.reason for each in flagged)
    return tuple(
        sorted(
            flagged,
            key=lambda each: (
                -many[each.reason],
                each.reason,
                not each.since.longer,
                each.since.ts,
                -(each.unanswered or 0),
                each.interface,
            ),
        )
    )
