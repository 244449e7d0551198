# SPDX-License-Identifier: Apache-2.0
"""The table of kernels (tests/vm/matrix.py), and what the runner says of skips."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from vm import matrix, skipped
from vm.matrix import Kernel, Matrix, read_kernels, read_results

LIST = """
# name userland from kernel bcc python default expired
old    bookworm bullseye 5.10 0.26 3.11 off no
newer  trixie   trixie   6.12 0.31 3.13 on  no
"""


def line(kernel: str, engine: str, fault: str, named: str | None, **more: str | None) -> str:
    fields = {"kernel": kernel, "engine": engine, "reason": "no_route", "fault": fault}
    confidence = "observed" if named else None
    return json.dumps({**fields, "named": named, "confidence": confidence, "why_not": None, **more})


OLD, NEWER, BUILD = "5.10.0-32-cloud-amd64", "6.12.118+deb13-cloud-amd64", "6.18.44"
NO_KPROBE = "kprobe cannot run here: no kprobes in this kernel"
NO_FENTRY = "arpwhy: engine fentry cannot run: no trampolines"
RESULTS = [
    line(OLD, "fentry", "one", "no_route"),
    line(OLD, "kprobe", "one", "no_route", confidence="inferred"),
    line(OLD, "tracepoint", "one", "no_route"),
    *(line(OLD, engine, "two", None, why_not="two: no nft") for engine in matrix.ENGINES),
    *(line(NEWER, engine, "one", "no_route") for engine in matrix.ENGINES),
    line(NEWER, "fentry", "two", "link_down"),
    line(NEWER, "kprobe", "two", None),
    line(NEWER, "tracepoint", "two", None),
    line(BUILD, "fentry", "one", None, why_not=NO_FENTRY),
    line(BUILD, "kprobe", "one", None, why_not=NO_KPROBE),
    line(BUILD, "tracepoint", "one", "no_route", confidence="inferred"),
    *(line(BUILD, engine, "two", None, why_not="two: no nft") for engine in matrix.ENGINES),
]


@pytest.fixture
def table() -> Matrix:
    return Matrix(read_kernels(LIST), read_results(RESULTS))


def test_the_list_says_what_runs_where() -> None:
    old, newer = read_kernels(LIST)
    assert old == Kernel("5.10", "bookworm", "bullseye", "0.26", "3.11")
    assert old.runs_on == "Debian bookworm, kernel from bullseye; Python 3.11, bcc 0.26"
    assert newer.runs_on == "Debian trixie; Python 3.13, bcc 0.31"


def test_engines_run_or_are_said_why_not(table: Matrix) -> None:
    rows = table.engine_rows()
    assert [row[0] for row in rows] == ["Linux", "5.10", "6.12", "6.18"]
    assert [row[2:] for row in rows[1:]] == [
        ("runs", "runs", "runs"),
        ("runs", "runs", "runs"),
        ("no [1]", "no [2]", "runs"),
    ]
    assert rows[3][1] == "the build machine, no guest"
    assert table.notes == [NO_FENTRY.removeprefix("arpwhy: "), NO_KPROBE]


def test_cells_say_once_what_is_common_and_else_who_said_it(table: Matrix) -> None:
    head, one, two = table.fault_rows()
    assert head == ("reason", "fault", "5.10", "6.12", "6.18")
    assert one == (
        "no_route",
        "one",
        "observed (fentry tracepoint), inferred (kprobe)",
        "observed",
        "inferred",
    )
    assert two == (
        "no_route",
        "two",
        "cannot be had [1]",
        "WRONG: link_down (fentry), not seen (kprobe tracepoint)",
        "cannot be had [1]",
    )


def test_the_last_result_counts_in_the_first_one_s_place() -> None:
    results = read_results([*RESULTS, line(NEWER, "fentry", "two", "no_route")])
    assert len(results) == len(RESULTS)
    (again,) = [r for r in results if (r.kernel, r.engine, r.fault) == ("6.12", "fentry", "two")]
    assert again.named == "no_route"


def test_no_results_is_said_of_every_engine() -> None:
    empty = Matrix(read_kernels(LIST), [])
    assert {cell for row in empty.engine_rows()[1:] for cell in row[2:]} == {"not tried"}


def test_results_are_found_below_a_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, text in enumerate(RESULTS):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "causes.jsonl").write_text(f"{text}\n")
    assert matrix.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "WRONG: link_down (fentry)" in said
    assert "\n7.2 " not in said  # not tried


@pytest.mark.parametrize(
    ("content", "said"), [("{", "not a file of results"), ('{"kernel": "6.1"}', "not a file")]
)
def test_what_is_no_results_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    assert matrix.main([str(path)]) == 1
    assert said in capsys.readouterr().err
    assert matrix.main([str(tmp_path / "nosuch.jsonl")]) == 1
    assert "cannot read" in capsys.readouterr().err
    assert matrix.main(["--nosuch"]) == 2


def test_the_page_is_that_of_the_kept_results() -> None:
    kernels = read_kernels(matrix.KERNELS.read_text())
    kept = read_results(matrix.KEPT.read_text().splitlines())
    assert matrix.DOCS.read_text() == matrix.page(Matrix(kernels, kept)), (
        "docs/kernels.md is stale: tests/vm/matrix.py --write"
    )


def test_the_workflow_has_a_job_for_every_listed_kernel() -> None:
    workflow = Path(__file__).parents[2] / ".github" / "workflows" / "ci.yml"
    jobs = re.findall(r"^ +kernel: \[(.+)\]$", workflow.read_text(), re.M)
    names = re.findall(r"^\w+", matrix.KERNELS.read_text(), re.M)
    assert jobs == [", ".join(names)]


def test_every_listed_kernel_was_tried() -> None:
    kept = read_results(matrix.KEPT.read_text().splitlines())
    listed = {kernel.version for kernel in read_kernels(matrix.KERNELS.read_text())}
    assert listed <= {result.kernel for result in kept}


def test_skips_are_counted_by_file_and_reason(tmp_path: Path) -> None:
    skip = '<testcase><skipped type="pytest.skip" message="nft: not\n here">x</skipped></testcase>'
    report = f"<testsuites><testsuite>{skip}{skip}<testcase/></testsuite></testsuites>"
    (tmp_path / "vm-a").mkdir()
    (tmp_path / "vm-a" / "fentry.xml").write_text(report)
    (tmp_path / "unit.xml").write_text("<testsuites><testsuite/></testsuites>")
    assert skipped.report(tmp_path) == ["   2 vm-a/fentry: nft: not here"]
    (tmp_path / "vm-a" / "fentry.xml").unlink()
    assert skipped.report(tmp_path) == ["nothing"]
