# SPDX-License-Identifier: Apache-2.0
"""The lines that scripts/test shows of what coverage measured."""

from __future__ import annotations

from covered import report


def test_a_line_a_package_and_one_for_all() -> None:
    def file(statements: int, ran: int) -> dict[str, dict[str, int]]:
        return {"summary": {"num_statements": statements, "covered_lines": ran}}

    measured = {
        "tracer/state/a.py": file(7, 7),
        "tracer/state/b.py": file(13, 0),
        "tracer/stop.py": file(5, 2),
        "tracer/empty/__init__.py": file(0, 0),
    }
    assert report(measured) == [
        " 40% of     5 tracer",
        " 35% of    20 tracer/state",
        " 36% of    25 total",
    ]
