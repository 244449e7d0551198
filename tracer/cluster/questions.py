# SPDX-License-Identifier: Apache-2.0
"""What is asked of Prometheus, and a cluster made of its answers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection

from tracer.cluster.prometheus import Prometheus, Series
from tracer.cluster.view import Cluster, Flagged, Node, Since, State, longest_first, worst_first

UNANSWERED_MINUTES = 5

# A target is arpwhy's if its job says so, or if it had these metrics within the hour.
_JOB = 'job=~".*arpwhy.*"'
_RECENT = "1h"

# Since when? In fine steps first, then in coarse ones for what began before: seconds back, step.
_FINE = (600.0, 5.0)
_COARSE = (86_400.0, 300.0)

Key = tuple[str, ...]

_NODE = ("cluster", "instance")
_TARGET = ("cluster", "job", "instance")
_INTERFACE = ("cluster", "instance", "interface")
_FLAG = (*_INTERFACE, "target")
# Without honor_labels Prometheus gives another name to labels that its target has as well.
_POD = ("namespace", "pod", "exported_namespace", "exported_pod")


def ask(prometheus: Prometheus, match: str) -> Cluster | None:
    """The cluster now; None if this Prometheus knows nothing of arpwhy.

    ``match``: PromQL label matchers without braces, or "". Raises PrometheusError.
    """
    now = prometheus.now()
    asked = _Asked(prometheus, match, now)
    interfaces = asked.interfaces()
    targets = asked.targets()
    if not interfaces and not targets:
        return None
    flagged = asked.flagged()
    down = asked.down([key for key, up in targets.items() if not up])
    up: dict[Key, bool] = defaultdict(bool)
    for (cluster, _, instance), answers in targets.items():
        up[cluster, instance] |= answers
    nodes = []
    for key in {*interfaces, *up}:
        state = State.UP if key in interfaces else State.NO_METRICS
        if not up.get(key, True):
            state = State.DOWN
        cluster, name = key
        known = state is State.UP
        nodes.append(
            Node(
                cluster=cluster,
                name=name,
                state=state,
                since=down.get(key) if state is State.DOWN else None,
                interfaces=interfaces[key] if known else None,
                flagged=longest_first(flagged[key]) if known else (),
            )
        )
    return Cluster(now, worst_first(nodes), tuple(prometheus.warnings))


class _Asked:
    """The questions. Of two jobs or servers that scrape the same exporter one is enough."""

    def __init__(self, prometheus: Prometheus, match: str, now: float) -> None:
        self._prometheus = prometheus
        self._match = match
        self._now = now

    def interfaces(self) -> dict[Key, int | None]:
        """How many interfaces each node's exporter watches."""
        series = self._at(f"max by ({_list(_NODE)}) ({self._select('arpwhy_interfaces')})")
        return {_key(each, _NODE): _whole(each) for each in series}

    def targets(self) -> dict[Key, bool]:
        """Whether each target that is, or was, an exporter of arpwhy answers."""
        recent = f"present_over_time({self._select('arpwhy_interfaces')}[{_RECENT}])"
        series = self._at(
            f"{self._select('up')} and on ({_list(_TARGET)})"
            f" ({recent} or {self._select('up', _JOB)})"
        )
        return {_key(each, _TARGET): _whole(each) == 1 for each in series}

    def down(self, targets: Collection[Key]) -> dict[Key, Since]:
        """By node, since when these targets have not answered."""
        since = self._since(f"{self._select('up')} == 0", _TARGET, targets)
        found: dict[Key, Since] = {}
        for (cluster, _, instance), began in since.items():
            known = found.get((cluster, instance), began)
            found[cluster, instance] = max(known, began, key=lambda each: each.ts)
        return found

    def flagged(self) -> dict[Key, list[Flagged]]:
        """By node, the interfaces that are flagged."""
        flag = self._select("arpwhy_interface_flagged")
        series = self._at(f"max by ({_list((*_FLAG, 'reason', *_POD))}) ({flag} == 1)")
        since = self._since(flag, _FLAG, {_key(each, _FLAG) for each in series})
        unanswered = self._unanswered(flag) if series else {}
        found: dict[Key, list[Flagged]] = defaultdict(list)
        for each in series:
            label = each.labels.get
            found[_key(each, _NODE)].append(
                Flagged(
                    interface=label("interface", ""),
                    target=label("target", ""),
                    reason=label("reason", ""),
                    namespace=label("exported_namespace") or label("namespace", ""),
                    pod=label("exported_pod") or label("pod", ""),
                    since=since[_key(each, _FLAG)],
                    unanswered=unanswered.get(_key(each, _INTERFACE)),
                )
            )
        return found

    def _unanswered(self, flag: str) -> dict[Key, int | None]:
        requests = self._select("arpwhy_requests_total", 'verdict="unanswered"')
        recent = f"{requests}[{UNANSWERED_MINUTES}m]"
        # increase() would extrapolate: 8 where 7 were seen. One scrape alone shows no change.
        series = self._at(
            f"max by ({_list(_INTERFACE)}) ({requests} - min_over_time({recent})"
            f" and count_over_time({recent}) > 1 and on ({_list(_INTERFACE)}) {flag})"
        )
        return {_key(each, _INTERFACE): _whole(each) for each in series}

    def _since(self, query: str, labels: Key, wanted: Collection[Key]) -> dict[Key, Since]:
        """Since when there has been a series of ``query`` with these labels, without a gap."""
        found = dict.fromkeys(wanted, Since(self._now, longer=True))
        for back, step in (_FINE, _COARSE):
            left = {key for key, since in found.items() if since.longer}
            if not left:
                break
            start = self._now - back
            for each in self._prometheus.over(
                f"count by ({_list(labels)}) ({query})", start, self._now, step
            ):
                if (key := _key(each, labels)) in left:
                    began = _began(each, self._now, step)
                    found[key] = Since(began, longer=began < start + step)
        return found

    def _at(self, query: str) -> list[Series]:
        return [each for each in self._prometheus.at(query, self._now) if each.points]

    def _select(self, metric: str, *matchers: str) -> str:
        return f"{metric}{{{','.join(filter(None, (*matchers, self._match)))}}}"


def _list(labels: Key) -> str:
    return ", ".join(labels)


def _key(series: Series, labels: Key) -> Key:
    return tuple(series.labels.get(label, "") for label in labels)


def _whole(series: Series) -> int | None:
    value = series.points[-1][1]
    return round(value) if math.isfinite(value) else None


def _began(series: Series, end: float, step_s: float) -> float:
    """The first of the points that lead up to ``end``, a step apart."""
    began = end
    for ts, _ in reversed(series.points):
        if began - ts > 1.5 * step_s:
            break
        began = ts
    return began
