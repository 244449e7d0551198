# SPDX-License-Identifier: Apache-2.0
"""``arpwhy explain``, and the pages that it prints."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tracer.causes import CAUSES, Cause
from tracer.causes.page import is_sentence, mends, summary, text
from tracer.cli import main

NAMES = [cause.name for cause in CAUSES]

# Neither bcc nor pyroute2 may be wanted: what is None here cannot be imported.
WITHOUT = """
import sys
sys.modules["bcc"] = sys.modules["pyroute2"] = None
from tracer.cli import main
main(["explain", "no_route"])
"""


def explain(*arguments: str) -> int:
    """The exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["explain", *arguments])
    return int(ended.value.code or 0)


def test_without_a_reason_there_is_a_sentence_of_each(capfd: pytest.CaptureFixture[str]) -> None:
    assert explain() == 0
    out, err = capfd.readouterr()
    assert (out, err) == (summary(), "")
    assert re.findall(r"^(\w+)", out, re.M) == NAMES
    said = " ".join(out.split())
    for cause in CAUSES:
        assert f"{cause.name} {cause.means}" in said
        assert cause.means.count(". ") == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_a_reason(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    (cause,) = [cause for cause in CAUSES if cause.name == name]
    assert explain(name) == 0
    out, err = capfd.readouterr()
    assert (out, err) == (text(cause), "")
    said = " ".join(out.split())
    for part in (cause.means, cause.recognised, cause.lasting, *cause.shown_by):
        assert part in said
    assert out.splitlines()[0] == name
    assert re.findall(r"^[A-Z].*$", out, re.M) == [
        "How it is recognised",
        "The mend",
        "What usually did it, and the lasting mend",
        *(["Seen in the field"] if cause.field_reports else []),
        *(["Shown by"] if cause.shown_by else []),
    ]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_pages_are_narrow_but_for_what_is_pasted(cause: Cause) -> None:
    pasted = {line for _, lines in mends(cause) for line in lines if not is_sentence(line)}
    for line in [*text(cause).splitlines(), *summary().splitlines()]:
        assert len(line) <= 79 or line.strip() in pasted
        assert line == line.rstrip()


def test_field_reports_are_links(capfd: pytest.CaptureFixture[str]) -> None:
    explain("forwarding_off")
    links = re.findall(r"^  (https:\S+)$", capfd.readouterr().out, re.M)
    assert links == [
        "https://github.com/projectcalico/cni-plugin/issues/283",
        "https://github.com/projectcalico/felix/issues/187",
        "https://github.com/redhat-performance/tuned/issues/816",
    ]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_the_mends_of_a_page_differ_and_are_told_apart(cause: Cause) -> None:
    whens = [when for when, _ in mends(cause)]
    assert len(set(whens)) == len(whens)
    assert whens == [""] or "" not in whens
    remedies = ["\n".join(lines) for _, lines in mends(cause)]
    assert len(set(remedies)) == len(remedies)


@pytest.mark.parametrize("name", ["nope", "NO_ROUTE", "", "no-route"])
def test_an_unknown_reason_is_bad_usage_and_the_reasons_are_told(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert explain(name) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == (
        f"Error: Invalid value for '[REASON]': {name!r} is no reason; "
        f"the reasons are {', '.join(NAMES)}."
    )


def test_more_than_one_reason_is_bad_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert explain("no_route", "medium_id") == 2
    assert "Got unexpected extra argument (medium_id)" in capfd.readouterr().err


def test_it_needs_neither_bcc_nor_pyroute2() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "no_route"
