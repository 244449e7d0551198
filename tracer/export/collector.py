# SPDX-License-Identifier: Apache-2.0
"""The metrics of a snapshot: every name, type, label and help text that is exported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from tracer.causes import CAUSES
from tracer.events import Verdict
from tracer.export.response import Source
from tracer.export.snapshot import Snapshot
from tracer.nud import NUD_NAMES
from tracer.sinks.printable import without_surrogates
from tracer.sinks.sink import Pods, no_pod

ANY = "any"
"""The label ``target`` under ``--target any``: else it would be whatever a pod asks for, an
address of a packet, and there are four billion."""


class Collector:
    """A collector for prometheus-client's registry: each scrape is of a snapshot of its own."""

    def __init__(self, source: Source, pods: Pods = no_pod) -> None:
        self._source = source
        self._pods = pods

    def describe(self) -> Iterable[Metric]:
        """Asked at registration, when there may be no state yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        snapshot = self._source()
        for family in FAMILIES:
            yield family(snapshot, self._pods)


def _requests(snapshot: Snapshot, pods: Pods) -> Metric:
    family = CounterMetricFamily(
        "arpwhy_requests",
        "ARP requests judged on an interface. A deferred one (proxy_delay) is counted again, as"
        " answered or unanswered, once it settles.",
        labels=("interface", "verdict"),
    )
    counts: Counter[tuple[str, str]] = Counter()
    for name, counted in snapshot.counted.items():
        interface = without_surrogates(name)
        counts[interface, Verdict.ANSWERED] += counted.answered
        counts[interface, Verdict.UNANSWERED] += counted.unanswered
        counts[interface, Verdict.DEFERRED] += counted.deferred
        counts[interface, Verdict.IGNORED] += counted.ignored
    for labels, count in counts.items():
        family.add_metric(labels, count)
    return family


def _unanswered(snapshot: Snapshot, pods: Pods) -> Metric:
    family = CounterMetricFamily(
        "arpwhy_unanswered_requests",
        "ARP requests that the kernel did not answer, by the reason, under which they are counted"
        " once it is established, within a second.",
        labels=("reason",),
    )
    counts = {cause.name: 0 for cause in CAUSES} | dict(snapshot.totals.unanswered_by_reason)
    for reason, count in counts.items():
        family.add_metric((reason,), count)
    return family


def _latency(snapshot: Snapshot, pods: Pods) -> Metric:
    latency = snapshot.latency
    buckets, total = [], 0
    for bound_ns, count in zip(latency.bounds_ns, latency.counts, strict=False):
        total += count
        buckets.append((repr(bound_ns / 1e9), total))
    buckets.append(("+Inf", latency.count))
    return HistogramMetricFamily(
        "arpwhy_reply_latency_seconds",
        "Time from an ARP request's arrival to the kernel's reply.",
        buckets=buckets,
        sum_value=latency.sum_ns / 1e9,
    )


def _flagged(snapshot: Snapshot, pods: Pods) -> Metric:
    family = GaugeMetricFamily(
        "arpwhy_interface_flagged",
        "1 while the interface gets no reply for the target.",
        labels=("interface", "target", "reason", "namespace", "pod"),
    )
    any_target = ANY in snapshot.started.targets
    flagged: dict[tuple[str, ...], None] = {}  # a set that keeps its order
    for interface in snapshot.interfaces:
        if not interface.flags:
            continue
        pod = pods(interface.interface) or {}
        name = without_surrogates(interface.interface)
        for flag in interface.flags:
            target = ANY if any_target else flag.target_ip
            whose = (pod.get("namespace", ""), pod.get("name", ""))
            flagged[name, target, flag.reason, *whose] = None
    for labels in flagged:
        family.add_metric(labels, 1)
    return family


def _interfaces(snapshot: Snapshot, pods: Pods) -> Metric:
    return GaugeMetricFamily(
        "arpwhy_interfaces", "Interfaces that are traced.", len(snapshot.interfaces)
    )


def _flagged_interfaces(snapshot: Snapshot, pods: Pods) -> Metric:
    return GaugeMetricFamily(
        "arpwhy_flagged_interfaces",
        "Interfaces with a flag.",
        sum(1 for interface in snapshot.interfaces if interface.flags),
    )


def _transitions(snapshot: Snapshot, pods: Pods) -> Metric:
    family = CounterMetricFamily(
        "arpwhy_neighbour_transitions",
        "Changes of neighbour entries on traced interfaces, by the state entered (none: the entry"
        " is gone).",
        labels=("state",),
    )
    counts = dict.fromkeys(NUD_NAMES.values(), 0) | dict(snapshot.totals.neighbour_transitions)
    for state, count in counts.items():
        family.add_metric((state,), count)
    return family


def _failures(snapshot: Snapshot, pods: Pods) -> Metric:
    family = CounterMetricFamily(
        "arpwhy_neighbour_failures",
        "Neighbour entries of an interface that became failed: the pod did not answer the node.",
        labels=("interface",),
    )
    counts: Counter[str] = Counter()
    for name, counted in snapshot.counted.items():
        counts[without_surrogates(name)] += counted.neighbour_failures
    for interface, count in counts.items():
        family.add_metric((interface,), count)
    return family


def _lost(snapshot: Snapshot, pods: Pods) -> Metric:
    return CounterMetricFamily(
        "arpwhy_lost_events",
        "Events that the kernel side had to drop. Requests are counted exactly all the same.",
        snapshot.totals.lost,
    )


def _skipped(snapshot: Snapshot, pods: Pods) -> Metric:
    return CounterMetricFamily(
        "arpwhy_skipped_runs",
        "Runs of arpwhy's programs that the kernel skipped: requests may be missing.",
        snapshot.totals.skipped,
    )


def _build(snapshot: Snapshot, pods: Pods) -> Metric:
    family = GaugeMetricFamily(
        "arpwhy_build_info",
        "1; the version of arpwhy, its engine and the kernel.",
        labels=("version", "engine", "kernel"),
    )
    started = snapshot.started
    family.add_metric((started.version, started.engine, started.kernel), 1)
    return family


FAMILIES: tuple[Callable[[Snapshot, Pods], Metric], ...] = (
    _requests,
    _unanswered,
    _latency,
    _flagged,
    _interfaces,
    _flagged_interfaces,
    _transitions,
    _failures,
    _lost,
    _skipped,
    _build,
)
