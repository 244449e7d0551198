# SPDX-License-Identifier: Apache-2.0
"""What the docs take from the code: docs/causes.md, schema.json, metrics.md (scripts/docs)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tracer.causes import CAUSES
from tracer.causes.page import document
from tracer.export import reference
from tracer.sinks.schema import schema

ROOT = Path(__file__).parents[2]
NAMES = [cause.name for cause in CAUSES]
STALE = "stale: run scripts/docs"
LINES = re.findall(r"^\{.*\}$", (ROOT / "docs" / "json.md").read_text(encoding="utf-8"), re.M)


def test_the_page_of_the_causes_is_as_generated() -> None:
    assert (ROOT / "docs" / "causes.md").read_text(encoding="utf-8") == document(), STALE


def test_the_schema_is_as_generated() -> None:
    text = (ROOT / "docs" / "schema.json").read_text(encoding="utf-8")
    assert text == json.dumps(schema(), indent=2) + "\n", STALE


def test_the_page_of_the_metrics_is_as_generated() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert text == reference.document(), STALE


def test_every_reason_has_a_section_of_its_name_and_a_row_that_leads_there() -> None:
    page = document()
    assert re.findall(r"^## (.*)$", page, re.M) == NAMES
    assert re.findall(r"^\| \[`(\w+)`\]\(#(\w+)\) \| \S.*\. \|$", page, re.M) == [
        (name, name) for name in NAMES
    ]


def test_nothing_in_the_page_is_emphasised_by_mistake() -> None:
    plain = re.sub(r"```\n.*?\n```|`[^`]*`|\]\([^)]*\)", "", document(), flags=re.S)
    plain = re.sub(r"\*\*[A-Z][^*]*\.?\*\*", "", plain)
    # A sign within a word is none of Markdown's, as GitHub reads it.
    assert re.findall(r"\S*(?:[*<]|(?<!\w)_|_(?!\w))\S*", plain) == []


def test_links_of_the_page_lead_somewhere() -> None:
    paths = set(re.findall(r"\]\((\.\./[^)]*)\)", document()))
    assert paths == {"../tests/kernel"}
    assert [path for path in paths if not (ROOT / "docs" / path).exists()] == []


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("deploy/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_names_every_reason() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.search(r"<!-- reasons -->\n(.*?)\n\n", readme, re.S)
    assert named is not None
    assert re.findall(r"`(\w+)`", named[1]) == NAMES


def test_the_json_page_leads_to_the_reasons_and_the_schema() -> None:
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    assert "](causes.md)" in page
    assert "](schema.json)" in page


# -- the schema -----------------------------------------------------------------------------

_TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


def is_type(value: object, name: str) -> bool:
    if isinstance(value, bool) and name != "boolean":
        return False
    return isinstance(value, _TYPES[name])  # type: ignore[arg-type]


def faults(value: Any, rule: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the value: the words of JSON schema that ours uses."""
    types = rule.get("type", [])
    types = types if isinstance(types, list) else [types]
    if types and not any(is_type(value, name) for name in types):
        yield f"{value!r} is none of {types}"
        return
    if "enum" in rule and value not in rule["enum"]:
        yield f"{value!r} is none of {rule['enum']}"
    if "const" in rule and value != rule["const"]:
        yield f"{value!r} is not {rule['const']}"
    if "pattern" in rule and not re.search(rule["pattern"], value):
        yield f"{value!r} is not {rule['pattern']}"
    if "minimum" in rule and value < rule["minimum"]:
        yield f"{value!r} is too small"
    for word, least, most in (("anyOf", 1, 9), ("oneOf", 1, 1)):
        if word in rule:
            fitting = [each for each in rule[word] if not list(faults(value, each))]
            if not least <= len(fitting) <= most:
                yield f"{value!r} fits {len(fitting)} of {word}"
    if isinstance(value, list):
        for entry in value:
            yield from faults(entry, rule.get("items", {}))
    if isinstance(value, dict):
        yield from (f"no {key}" for key in rule.get("required", []) if key not in value)
        for key, entry in value.items():
            other = rule.get("additionalProperties", {})
            yield from faults(entry, rule.get("properties", {}).get(key, other))


@pytest.mark.parametrize("line", LINES)
def test_the_lines_of_the_docs_fit_the_schema(line: str) -> None:
    assert list(faults(json.loads(line), schema())) == []


def test_every_kind_of_line_has_all_of_its_fields_in_the_schema() -> None:
    shown = {value["type"]: list(value) for value in map(json.loads, LINES)}
    kinds = {each["properties"]["type"]["const"]: each for each in schema()["oneOf"]}
    assert set(shown) == set(kinds)
    for kind, keys in shown.items():
        assert set(kinds[kind]["properties"]) == set(keys)
        assert set(kinds[kind]["required"]) == set(keys)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("flag", "reason", "no_such_reason"),
        ("flag", "reason", None),
        ("flag", "state", "up"),
        ("flag", "ts", "2026-11-23T09:04:01Z"),
        ("flag", "evidence", {"list": [1]}),
        ("request", "verdict", "lost"),
        ("request", "reason", ""),
        ("request", "latency_ns", -1),
        ("request", "settled", 0),
        ("start", "interfaces", [7]),
        ("neighbour", "mac", "xx"),
        ("stop", "requests", True),
        ("lost", "type", "found"),
    ],
)
def test_what_does_not_fit_the_schema(kind: str, key: str, value: object) -> None:
    line = next(each for each in map(json.loads, LINES) if each["type"] == kind)
    assert list(faults({**line, key: value}, schema())) != []
    assert list(faults({k: v for k, v in line.items() if k != key}, schema())) != []


@pytest.mark.parametrize("name", NAMES)
def test_every_reason_fits_the_schema(name: str) -> None:
    line = next(each for each in map(json.loads, LINES) if each["type"] == "flag")
    assert list(faults({**line, "reason": name}, schema())) == []
