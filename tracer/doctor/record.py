# SPDX-License-Identifier: Apache-2.0
"""What the doctor says to programs: one object; docs/doctor.md has its fields. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tracer import __version__
from tracer.doctor.checks import checks
from tracer.doctor.facts import Facts
from tracer.doctor.ways import ways
from tracer.sinks.instant import rfc3339


def record(facts: Facts, ts: int) -> dict[str, Any]:
    """``ts``: ns since the epoch."""
    return {
        "type": "doctor",
        "ts": rfc3339()(ts),
        "version": __version__,
        "kernel": facts.release,
        "machine": facts.machine,
        "engine": facts.auto,
        "ways": ways(facts),
        "checks": [asdict(check) for check in checks(facts)],
        "engines": [
            {"name": engine.name, "can_run": engine.why is None, **asdict(engine)}
            for engine in facts.trial.engines
        ],
    }
