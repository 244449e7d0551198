# SPDX-License-Identifier: Apache-2.0
"""deploy/prometheus: rules that Prometheus takes, that fire when they should, and only then.

Their cases are in deploy/prometheus/tests, in promtool's own language.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tracer.causes import CAUSES
from tracer.cli import main

TOP = Path(__file__).resolve().parents[2]
RULES = sorted((TOP / "deploy/prometheus/rules").glob("*.yaml"))
CASES = sorted((TOP / "deploy/prometheus/tests").glob("*.yaml"))


def rules(path: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(path.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [rule for path in RULES for rule in rules(path) if "alert" in rule]
RECORDS = [rule for path in RULES for rule in rules(path) if "record" in rule]


def promtool(*args: object) -> str:
    if shutil.which("promtool") is None:
        pytest.skip("promtool: not installed (Debian: prometheus)")
    done = subprocess.run(
        ["promtool", *map(str, args)], capture_output=True, text=True, timeout=60, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_prometheus_takes_the_rules() -> None:
    said = promtool("check", "rules", "--lint-fatal", *RULES)
    found = sum(map(int, re.findall(r"SUCCESS: (\d+) rules found", said)))
    assert found == len(ALERTS) + len(RECORDS) > 0


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_alerts_fire_and_do_not_fire(cases: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", cases)


def test_every_alert_has_a_case_that_fires_and_one_that_must_not() -> None:
    outcomes = {
        (each["alertname"], bool(each["exp_alerts"]))
        for cases in CASES
        for test in yaml.safe_load(cases.read_text())["tests"]
        for each in test.get("alert_rule_test", ())
    }
    assert outcomes == {(rule["alert"], fires) for rule in ALERTS for fires in (True, False)}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page, anchor = rule["annotations"]["runbook_url"].split("#")
    headings = re.findall(r"^## (\S+)$", (TOP / page).read_text(), re.MULTILINE)
    if anchor == "{{ $labels.reason }}":
        assert page == "docs/causes.md"
        assert {cause.name for cause in CAUSES} <= set(headings)
    else:
        assert anchor == rule["alert"].lower()
        assert rule["alert"] in headings


def test_the_runbook_has_every_alert_and_no_other() -> None:
    headings = re.findall(r"^## (Arpwhy\w+)$", (TOP / "docs/alerts.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in ALERTS)


def test_the_commands_that_are_advised_are_there() -> None:
    page = (TOP / "docs/alerts.md").read_text()
    advised = re.findall(r"`(arpwhy [^`]*)`", page) + re.findall(r"(?m)^(arpwhy .*?)(?:  |$)", page)
    for rule in ALERTS:
        advised += re.findall(r'"(arpwhy [^"]*)"', rule["annotations"]["description"])
    assert len(advised) > len(ALERTS)
    for line in advised:
        filled = re.sub(r"{{.*?}}|[A-Z]{4,}", "no_route", line)
        group = click.Context(main)
        _, command, arguments = main.resolve_command(group, shlex.split(filled)[1:])
        assert command is not None
        command.make_context(command.name, arguments, group)  # or UsageError


@pytest.mark.parametrize("rule", RECORDS, ids=lambda rule: rule["record"])
def test_a_recorded_name_has_level_metric_and_operation(rule: dict[str, Any]) -> None:
    level, metric, operation = rule["record"].split(":")
    assert level and operation
    assert metric.startswith("arpwhy_")
