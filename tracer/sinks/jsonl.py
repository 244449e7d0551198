# SPDX-License-Identifier: Apache-2.0
"""JSON lines: one object a line, documented in docs/json.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tracer.evidence import Evidence
from tracer.notices import (
    FlagNotice,
    Line,
    LostNotice,
    NeighbourNotice,
    RequestNotice,
    StartNotice,
    StopNotice,
)
from tracer.sinks.instant import rfc3339
from tracer.sinks.printable import without_surrogates
from tracer.sinks.sink import Pods, no_pod

# ASCII: U+2028 and the like cannot end a line for any reader. A notice has no cycles.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


class JsonSink:
    def __init__(self, *, pods: Pods = no_pod) -> None:
        self._pods = pods
        self._time = rfc3339()
        self._objects: dict[type, Callable[[Any], dict[str, Any]]] = {
            StartNotice: self._start,
            RequestNotice: self._request,
            FlagNotice: self._flag,
            NeighbourNotice: self._neighbour,
            LostNotice: self._lost,
            StopNotice: self._stop,
        }

    def line(self, notice: Line) -> str:
        """One JSON object and a newline."""
        values = self._objects[type(notice)](notice)
        text = _encode(values)
        if "\\ud" in text:
            # A surrogate; a pair of them is a character beyond U+FFFF and left alone.
            text = _encode(_clean(values))
        return text + "\n"

    def _pod(self, interface: str) -> dict[str, str] | None:
        pod = self._pods(interface)
        return None if pod is None else {"namespace": pod["namespace"], "name": pod["name"]}

    def _start(self, notice: StartNotice) -> dict[str, Any]:
        return {
            "type": "start",
            "ts": self._time(notice.ts),
            "version": notice.version,
            "engine": notice.engine,
            "kernel": notice.kernel,
            "interfaces": notice.interfaces,
            "targets": notice.targets,
        }

    def _request(self, notice: RequestNotice) -> dict[str, Any]:
        values: dict[str, Any] = {
            "type": "request",
            "ts": self._time(notice.ts),
            "interface": notice.interface,
            "ifindex": notice.ifindex,
            "netns": notice.netns,
            "sender_ip": notice.sender_ip,
            "sender_mac": notice.sender_mac,
            "target_ip": notice.target_ip,
            "verdict": notice.verdict,
            "reason": notice.reason,
            "confidence": notice.confidence,
            "latency_ns": notice.latency_ns,
            "evidence": {"seen": notice.seen.facts(), "read": {}},
            "pod": self._pod(notice.interface),
            "settled": notice.settled,
            "answered_by": notice.answered_by,
            "corrects": notice.corrects,
        }
        if notice.answers > 1:
            values["answers"] = notice.answers
        return values

    def _flag(self, notice: FlagNotice) -> dict[str, Any]:
        return {
            "type": "flag",
            "ts": self._time(notice.ts),
            "state": notice.state,
            "interface": notice.interface,
            "target_ip": notice.target_ip,
            "sender_ip": notice.sender_ip,
            "reason": notice.reason,
            "since": self._time(notice.since),
            "before_trace": notice.before_trace,
            "unanswered": notice.unanswered,
            "remedy": notice.remedy,
            "remedy_kind": notice.remedy_kind,
            "pod": self._pod(notice.interface),
            "ifindex": notice.ifindex,
            "netns": notice.netns,
            "confidence": notice.confidence,
            "evidence": _evidence(notice.evidence),
        }

    def _neighbour(self, notice: NeighbourNotice) -> dict[str, Any]:
        return {
            "type": "neighbour",
            "ts": self._time(notice.ts),
            "interface": notice.interface,
            "ip": notice.ip,
            "old_state": notice.old_state,
            "new_state": notice.new_state,
            "mac": notice.mac,
            "ifindex": notice.ifindex,
            "netns": notice.netns,
        }

    def _lost(self, notice: LostNotice) -> dict[str, Any]:
        return {
            "type": "lost",
            "ts": self._time(notice.ts),
            "count": notice.count,
            "skipped": notice.skipped,
        }

    def _stop(self, notice: StopNotice) -> dict[str, Any]:
        return {
            "type": "stop",
            "ts": self._time(notice.ts),
            "duration_s": round(notice.duration_s, 6),
            "requests": notice.requests,
            "answered": notice.answered,
            "unanswered": notice.unanswered,
            "deferred": notice.deferred,
            "ignored": notice.ignored,
            "flags_raised": notice.flags_raised,
            "lost": notice.lost,
            "skipped": notice.skipped,
        }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    said = {
        "because": evidence.because,
        "also": " ".join(evidence.also) or None,
        "instead_of": evidence.instead_of,
    }
    return {
        **{name: text for name, text in said.items() if text is not None},
        "seen": evidence.seen.facts(),
        "read": dict(evidence.read),
    }


def _clean(value: Any) -> Any:
    """A copy without lone surrogates, which strict JSON parsers refuse."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_clean(entry) for entry in value]
    return value
