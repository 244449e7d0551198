# SPDX-License-Identifier: Apache-2.0
"""Writes what follows from the chart: the manifests of deploy/kubernetes, its table of values.

``.venv/bin/python deploy/helm/generate.py`` after a change; a test compares the two.
"""

from __future__ import annotations

import functools
import json
import operator
import re
import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

CHART = Path(__file__).with_name("arpwhy")
KUBERNETES = CHART.parents[1] / "kubernetes"
NAME = "arpwhy"  # of the release, its namespace and all objects

# Files of deploy/kubernetes by the template they are rendered from.
MANIFESTS = {
    "serviceaccount": "serviceaccount.yaml",
    "rbac": "rbac.yaml",
    "daemonset": "daemonset.yaml",
    "podmonitor": "components/podmonitor/podmonitor.yaml",
    "rules": "components/rules/rules.yaml",
    "dashboard": "components/dashboard/dashboard.yaml",
}
SWITCHES = ("podMonitor.enabled", "prometheusRules.enabled", "dashboard.enabled")
HEADER = """\
# SPDX-License-Identifier: Apache-2.0
#
# Generated from deploy/helm/arpwhy by deploy/helm/generate.py: do not edit.
"""

_SOURCE = re.compile(r"^---\n# Source: arpwhy/templates/(\w+)\.yaml\n", re.MULTILINE)
_ENDS = re.compile(r" +$", re.MULTILINE)  # of lines that were empty before they were indented
_TABLE = re.compile(r"(?<=<!-- values -->\n).*(?=<!-- /values -->)", re.DOTALL)
_KEY = re.compile(r"(?P<indent> *)(?P<key>\w+):")


def manifests(helm: Path) -> dict[Path, str]:
    """Text by path, of what the chart renders to with its own values."""
    sets = [f"--set={switch}=true" for switch in SWITCHES]
    done = subprocess.run(
        [helm, "template", NAME, CHART, "--namespace", NAME, *sets],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it tells of the links in files/
        text=True,
        check=True,
    )
    _, *parts = _SOURCE.split(done.stdout)
    texts: dict[Path, str] = {}
    for template, text in zip(parts[::2], parts[1::2], strict=True):
        path = KUBERNETES / MANIFESTS[template]
        texts[path] = texts.get(path, HEADER) + f"---\n{_ENDS.sub('', text.strip())}\n"
    return texts


def readme() -> str:
    """The chart's README with the table of its values."""
    rows = [
        "| value | default | |",
        "| --- | --- | --- |",
        *(f"| `{name}` | `{value}` | {text} |" for name, value, text in values()),
    ]
    table = "\n".join(rows) + "\n"
    return _TABLE.sub(lambda _: table, (CHART / "README.md").read_text(encoding="utf-8"))


def values() -> Iterator[tuple[str, str, str]]:
    """(name, default as JSON, comment) of each value that has a comment, in their order."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    above: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.strip().startswith("#"):
            comment.append(line.strip("# "))
            continue
        if match := _KEY.match(line):
            above[len(match["indent"]) // 2 :] = [match["key"]]
            if comment:
                default = functools.reduce(operator.getitem, above, defaults)
                yield ".".join(above), json.dumps(default), " ".join(comment)
        comment = []


def main() -> None:
    clients = runpy.run_path(str(CHART.parents[2] / "tests/deploy/clients.py"))
    for path, text in {**manifests(clients["helm"]()), CHART / "README.md": readme()}.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
