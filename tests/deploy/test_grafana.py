# SPDX-License-Identifier: Apache-2.0
"""deploy/grafana: the dashboard is as its code writes it, and Grafana can lay it out.

That every query parses and gives data is seen with a real Prometheus: tests/kernel/test_cluster.py.
"""

from __future__ import annotations

import itertools
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

GRAFANA = Path(__file__).resolve().parents[2] / "deploy/grafana"
TEXT = (GRAFANA / "arpwhy.json").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads(TEXT)
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]
VARIABLES = [variable["name"] for variable in DASHBOARD["templating"]["list"]]


def test_the_dashboard_is_as_generated() -> None:
    pytest.importorskip("grafana_foundation_sdk")
    written = runpy.run_path(str(GRAFANA / "dashboard.py"))["dashboard"]()
    assert written == TEXT, "stale: run .venv/bin/python deploy/grafana/dashboard.py"


def test_panels_have_an_id_each() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids) > len(SHOWN) > 0


def test_panels_lie_beside_each_other_within_the_grid() -> None:
    cells: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in itertools.product(
            range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        ):
            assert cells.setdefault(cell, panel["title"]) is panel["title"]
    # Without holes: Grafana would move what is below them up.
    bottom = max(y for _, y in cells) + 1
    assert len(cells) == 24 * bottom


@pytest.mark.parametrize("panel", SHOWN, ids=lambda panel: f"{panel['id']} {panel['title']}")
def test_a_panel_asks_the_chosen_source_for_the_chosen_nodes(panel: dict[str, Any]) -> None:
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["description"]
    assert panel["options"] is not None
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == list("ABC"[: len(letters)]) != []
    for target in panel["targets"]:
        assert 'instance=~"$instance"' in target["expr"]


def test_every_variable_that_is_used_is_there() -> None:
    used = set(re.findall(r"\$(\w+)", TEXT)) | set(re.findall(r"\$\{(\w+)[:}]", TEXT))
    builtin = {"__rate_interval", "__range", "__url_time_range"}
    assert used - builtin == set(VARIABLES) == {"datasource", "instance", "interface"}
