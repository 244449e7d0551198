# SPDX-License-Identifier: Apache-2.0
"""A diagnosis for programs: one object; docs/diagnose.md has its fields. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tracer.diagnose.diagnosis import Diagnosis, Found
from tracer.sinks.instant import rfc3339
from tracer.sinks.printable import without_surrogates


def line(diagnosis: Diagnosis, ts: int) -> str:
    """One JSON object and a newline. ``ts``: ns since the epoch."""
    return _line(diagnosis, ts, diagnosis.interfaces, ())


def change(diagnosis: Diagnosis, ts: int, changed: Iterable[Found], gone: Iterable[str]) -> str:
    """The same, of what changed alone."""
    return _line(diagnosis, ts, changed, gone, complete=False)


def _line(
    diagnosis: Diagnosis,
    ts: int,
    found: Iterable[Found],
    gone: Iterable[str],
    *,
    complete: bool = True,
) -> str:
    values = {
        "type": "diagnosis",
        "ts": rfc3339()(ts),
        "netns": diagnosis.netns,
        "target_ip": diagnosis.target_ip,
        "complete": complete,
        "interfaces": [_interface(each) for each in found],
        "not_judged": [
            {"interface": name, "because": why} for name, why in diagnosis.not_pods if complete
        ],
        "gone": list(gone),
    }
    return json.dumps(_clean(values), separators=(",", ":"), allow_nan=False) + "\n"


def _interface(found: Found) -> dict[str, Any]:
    return {
        "interface": found.interface,
        "ifindex": found.ifindex,
        "senders": found.senders,
        "reason": found.reason,
        "conditions": found.conditions,
        "problems": [
            {
                "reason": problem.reason,
                "because": problem.because,
                "remedy": problem.remedy.text,
                "remedy_kind": problem.remedy.kind,
                "lasting": problem.cause.lasting,
                "sender_ip": problem.look.sender_ip or None,
                "evidence": problem.look.evidence(),
            }
            for problem in found.problems
        ],
        "warnings": [
            {
                "name": warning.name,
                "text": warning.whole,
                "remedy": warning.remedy.text,
                "remedy_kind": warning.remedy.kind,
            }
            for warning in found.warnings
        ],
        "unread": found.unread,
    }


def _clean(value: Any) -> Any:
    """Names may hold bytes that are no UTF-8."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, dict):
        return {key: _clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return value
