# SPDX-License-Identifier: Apache-2.0
"""The JSON schema of the JSON lines (docs/schema.json). Its reasons are the causes'.

``python -m tracer.sinks.schema`` prints it. A reader must expect further types and fields.
"""

from __future__ import annotations

import json
from typing import Any, get_args, get_type_hints

from tracer.causes import CAUSES, INFERRED, OBSERVED
from tracer.events import Verdict
from tracer.seen import Seen

Schema = dict[str, Any]

_STRING: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ADDRESS: Schema = {"type": "string", "format": "ipv4"}
_MAC: Schema = {"type": "string", "pattern": "^([0-9a-f]{2}:)*[0-9a-f]{2}$"}
_TIME: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": "^[0-9-]{10}T[0-9:]{8}\\.[0-9]{9}Z$",
}
_CONFIDENCE: Schema = {"enum": [OBSERVED, INFERRED]}
_REASON: Schema = {"enum": [cause.name for cause in CAUSES]}
_TYPES: dict[Any, str] = {str: "string", int: "integer", bool: "boolean"}
_SEEN: Schema = {
    "type": "object",
    "properties": {
        name: {"type": _TYPES[kind]}
        for name, hint in get_type_hints(Seen).items()
        for kind in get_args(hint)[:1]  # what is None is left out
    },
}
_READ: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer", "boolean", "null"]},
}
_SEEN_AND_READ: dict[str, Schema] = {"seen": _SEEN, "read": _READ}
_EVIDENCE: Schema = {
    "type": "object",
    "properties": _SEEN_AND_READ,
    "required": list(_SEEN_AND_READ),
}
_EVIDENCE_OF_FLAG: Schema = {
    **_EVIDENCE,
    "properties": {"because": _STRING, "also": _STRING, "instead_of": _STRING, **_SEEN_AND_READ},
}
_POD: Schema = {
    "type": ["object", "null"],
    "properties": {"namespace": _STRING, "name": _STRING},
    "required": ["namespace", "name"],
}
_INTERFACE: dict[str, Schema] = {"interface": _STRING, "ifindex": _COUNT, "netns": _COUNT}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_FIELDS: dict[str, dict[str, Schema]] = {
    "start": {
        "version": _STRING,
        "engine": _STRING,
        "kernel": _STRING,
        "interfaces": {"type": "array", "items": _STRING},
        "targets": {"type": "array", "items": _STRING},
    },
    "request": {
        **_INTERFACE,
        "sender_ip": _ADDRESS,
        "sender_mac": _MAC,
        "target_ip": _ADDRESS,
        "verdict": {"enum": [verdict.value for verdict in Verdict]},
        "reason": _or_null(_REASON),
        "confidence": _or_null(_CONFIDENCE),
        "latency_ns": _or_null(_COUNT),
        "evidence": _EVIDENCE,
        "pod": _POD,
        "settled": {"type": "boolean"},
        "answered_by": {"enum": ["kernel", "userspace", "bpf", None]},
        "corrects": {"type": "boolean"},
    },
    "flag": {
        "state": {"enum": ["raised", "cleared"]},
        **_INTERFACE,
        "target_ip": _ADDRESS,
        "sender_ip": _STRING,
        "reason": _REASON,
        "since": _TIME,
        "before_trace": {"type": "boolean"},
        "unanswered": _COUNT,
        "remedy": _STRING,
        "remedy_kind": {"enum": ["command", "advice"]},
        "pod": _POD,
        "confidence": _CONFIDENCE,
        "evidence": _EVIDENCE_OF_FLAG,
    },
    "neighbour": {
        **_INTERFACE,
        "ip": _ADDRESS,
        "old_state": _or_null(_STRING),
        "new_state": _STRING,
        "mac": _or_null(_MAC),
    },
    "lost": {"count": _COUNT, "skipped": _COUNT},
    "stop": {
        "duration_s": {"type": "number", "minimum": 0},
        "requests": _COUNT,
        "answered": _COUNT,
        "unanswered": _COUNT,
        "deferred": _COUNT,
        "ignored": _COUNT,
        "flags_raised": _COUNT,
        "lost": _COUNT,
        "skipped": _COUNT,
    },
}


def schema() -> Schema:
    """A line is an object of one of the types, with all of its fields."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of arpwhy --format json",
        "oneOf": [_object(kind, fields) for kind, fields in _FIELDS.items()],
    }


def _object(kind: str, fields: dict[str, Schema]) -> Schema:
    properties = {"type": {"const": kind}, "ts": _TIME, **fields}
    return {"type": "object", "properties": properties, "required": list(properties)}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
