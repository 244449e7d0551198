# SPDX-License-Identifier: Apache-2.0
"""A cluster for programs: one object; docs/cluster.md has its fields. Pure."""

from __future__ import annotations

import json
from typing import Any

from tracer.cluster.questions import UNANSWERED_MINUTES
from tracer.cluster.view import Cluster, Flagged, Node, Since
from tracer.sinks.instant import rfc3339


def line(cluster: Cluster, prometheus: str) -> str:
    """One JSON object and a newline. ``prometheus``: the URL that was asked."""
    values = {
        "type": "cluster",
        "ts": _instant(cluster.ts),
        "prometheus": prometheus,
        "warnings": cluster.warnings,
        "flagged": [
            {"cluster": node.cluster or None, "node": node.name, **_flagged(each, cluster.ts)}
            for node in cluster.nodes
            for each in node.flagged
        ],
        "nodes": [_node(node, cluster.ts) for node in cluster.nodes],
    }
    return json.dumps(values, separators=(",", ":"), allow_nan=False) + "\n"


def _flagged(flagged: Flagged, now: float) -> dict[str, Any]:
    pod = {"namespace": flagged.namespace, "name": flagged.pod} if flagged.pod else None
    return {
        "interface": flagged.interface,
        "target_ip": flagged.target,
        "reason": flagged.reason,
        "pod": pod,
        **_since(flagged.since, now),
        f"unanswered_{UNANSWERED_MINUTES}m": flagged.unanswered,
    }


def _node(node: Node, now: float) -> dict[str, Any]:
    return {
        "cluster": node.cluster or None,
        "node": node.name,
        "state": node.state,
        "interfaces": node.interfaces,
        "flagged": len(node.flagged) if node.known else None,
        **_since(node.since, now),
    }


def _since(since: Since | None, now: float) -> dict[str, Any]:
    if since is None:
        return {"since": None, "for_s": None, "longer": None}
    return {
        "since": _instant(since.ts),
        "for_s": round(now - since.ts, 3),
        "longer": since.longer,
    }


def _instant(ts: float) -> str:
    return rfc3339()(round(ts * 1000) * 1_000_000)
