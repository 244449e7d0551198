# SPDX-License-Identifier: Apache-2.0
"""What was seen and read of a flag's cause, as words for people."""

from __future__ import annotations

from tracer.events import Evidence


def because(evidence: Evidence) -> str:
    """The sentence that decided, or ""."""
    return str(evidence.get("because", ""))


def words(evidence: Evidence) -> str:
    """The rest, without the numbers that are 0: most sysctls are, and the one at fault is
    named."""
    return " ".join(
        f"{key}={_value(value)}"
        for key, value in evidence.items()
        if key != "because" and (value != 0 or isinstance(value, bool))
    )


def _value(value: str | int | bool | None) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return f'"{text}"' if " " in text or not text else text
