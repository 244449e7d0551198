# SPDX-License-Identifier: Apache-2.0
"""What was seen and read of a flag's cause, as words for people."""

from __future__ import annotations

from tracer.evidence import Evidence


def words(evidence: Evidence) -> str:
    """All but the sentence that decided, and the numbers that are 0: most sysctls are, and the
    one at fault is named. What was read is told apart where another value was seen.
    """
    seen, read = evidence.seen.facts(), evidence.read
    told = []
    for name, value in {**read, **seen}.items():
        other = read.get(name, value)
        if other is not None and other != value:
            told.append(f"{name}={_value(value)} (read: {_value(other)})")
        elif value != 0 or isinstance(value, bool):
            told.append(f"{name}={_value(value)}")
    if evidence.also:
        told.append(f"also={_value(' '.join(evidence.also))}")
    if evidence.instead_of is not None:
        told.append(f"instead_of={_value(evidence.instead_of)}")
    return " ".join(told)


def _value(value: str | int | bool | None) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return f'"{text}"' if " " in text or not text else text
