# SPDX-License-Identifier: Apache-2.0
"""``arpwhy trace`` as a command: how it ends, what it prints, how it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from conftest import PATIENCE_S
from lab import Lab
from lab.pod import Pod
from lab.tracer import command

START_S = 60.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("command", pods=2) as made:
        made.break_("proxy_arp_off", made.pods[1])
        yield made


@pytest.fixture
def healthy(lab: Lab) -> Pod:
    return lab.pods[0]


@pytest.fixture
def broken(lab: Lab) -> Pod:
    return lab.pods[1]


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def trace(lab: Lab, any_engine: str) -> Run:
    """Run ``arpwhy trace`` in the node to its end; ``during`` is called once it traces."""

    def run(
        *args: str,
        during: Callable[[subprocess.Popen[str]], object] = lambda process: None,
        wrap: Sequence[str] = (),
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        process = lab.node.popen(
            [*wrap, *command(), "trace", "--engine", any_engine, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        said = ""
        for line in process.stderr:
            said += line
            if line.startswith("tracing "):
                during(process)
                break
        out, rest = process.communicate(timeout=START_S)
        assert "Traceback" not in said + rest
        return subprocess.CompletedProcess([], process.returncode, out, said + rest)

    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_summary(trace: Run, healthy: Pod, number: int) -> None:
    def during(process: subprocess.Popen[str]) -> None:
        healthy.ask(3)
        process.send_signal(number)

    done = trace(during=during)
    assert done.returncode == 0
    assert "--- 3 requests in " in done.stdout
    assert "--- 3 answered, 0 unanswered, 0 deferred, 0 ignored" in done.stdout


def test_text_is_a_line_a_request_and_never_over_79_columns(
    trace: Run, healthy: Pod, broken: Pod
) -> None:
    def during(process: subprocess.Popen[str]) -> None:
        healthy.ask(2)
        broken.ask(3)
        time.sleep(PATIENCE_S / 4)
        process.send_signal(signal.SIGINT)

    done = trace(during=during)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) < 80
    assert len([line for line in lines if " answered " in line]) == 2
    assert len([line for line in lines if line.endswith("UNANSWERED")]) == 3
    assert f">>> {broken.interface} gets no reply for 169.254.1.1: proxy_arp_off" in lines
    assert f"    sysctl -w net.ipv4.conf.{broken.interface}.proxy_arp=1" in lines


def test_count(trace: Run, healthy: Pod) -> None:
    done = trace("--count", "5", "--format", "json", during=lambda process: healthy.ask(11))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len([line for line in lines if line["type"] == "request"]) == 5
    assert (lines[-1]["type"], lines[-1]["requests"]) == ("stop", 5)


def test_duration(trace: Run) -> None:
    began = time.monotonic()
    done = trace("--duration", "1.5", "--format", "json")
    assert done.returncode == 0
    assert 1.5 <= json.loads(done.stdout.splitlines()[-1])["duration_s"] < 1.5 + PATIENCE_S
    assert time.monotonic() - began > 1.5


def test_fail_on_flag(trace: Run, healthy: Pod, broken: Pod) -> None:
    assert trace("--fail-on-flag", "--count", "3", during=lambda _: healthy.ask(3)).returncode == 0
    assert trace("--fail-on-flag", "--count", "3", during=lambda _: broken.ask(3)).returncode == 3


def test_only(trace: Run, healthy: Pod, broken: Pod) -> None:
    def during(process: subprocess.Popen[str]) -> None:
        healthy.ask(3)
        broken.ask(2)
        time.sleep(PATIENCE_S / 4)
        process.send_signal(signal.SIGINT)

    for only, requests in (("unanswered", 2), ("flags", 0)):
        done = trace("--only", only, "--format", "json", during=during)
        types = [json.loads(line)["type"] for line in done.stdout.splitlines()]
        assert types.count("request") == requests
        assert types.count("flag") >= 1
        assert (types[0], types[-1]) == ("start", "stop")


def test_options_from_the_environment(trace: Run, healthy: Pod) -> None:
    done = trace(
        during=lambda process: healthy.ask(3),
        ARPWHY_INTERFACE=healthy.interface,
        ARPWHY_COUNT="3",
        ARPWHY_FORMAT="json",
    )
    assert done.returncode == 0, done.stderr
    start, *_, stop = (json.loads(line) for line in done.stdout.splitlines())
    assert start["interfaces"] == [healthy.interface]
    assert stop["requests"] == 3


def test_a_reader_that_leaves_ends_it(lab: Lab, healthy: Pod, any_engine: str) -> None:
    line = f"{' '.join(command())} trace --engine {any_engine} | head -n 2"
    process = lab.node.popen(
        ["sh", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not process.stderr.readline().startswith("tracing "):
        assert process.poll() is None
    healthy.ask(5)
    out, err = process.communicate(timeout=START_S)
    assert len(out.splitlines()) == 2
    assert "Traceback" not in err


def test_a_reader_that_does_not_read_does_not_hold_it(
    lab: Lab, healthy: Pod, any_engine: str
) -> None:
    process = lab.node.popen(
        [*command(), "trace", "--format", "json", "--engine", any_engine],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not process.stderr.readline().startswith(b"tracing "):
        assert process.poll() is None
    healthy.ask(2003)  # some 500 kB: a pipe holds 64
    time.sleep(PATIENCE_S / 8)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    process.stdout.close()
    process.stderr.close()


def refusal(lab: Lab, *args: str, wrap: Sequence[str] = ()) -> str:
    """The one line that it says when it could not run."""
    done = lab.node.run([*wrap, *command(), "trace", *args], timeout=START_S)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_without_permission(lab: Lab) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    line = refusal(lab, wrap=nobody)
    assert line == "arpwhy: no permission to trace: run as root, or with CAP_BPF and CAP_PERFMON"


def test_with_the_rights_of_the_unit_and_as_nobody_everything_is_seen(lab: Lab) -> None:
    """bcc makes other programs for others than root: a socket filter may not call what they do."""
    rights = "-all,+bpf,+perfmon,+syslog,+net_raw"
    wrap = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    wrap += [f"--inh-caps={rights}", f"--ambient-caps={rights}"]
    args = ["trace", "--engine", "tracepoint", "--duration", "1"]
    done = lab.node.run([*wrap, *command(), *args], timeout=START_S)
    if done.returncode == 1 and "ermission" in done.stderr:
        pytest.skip("needs a checkout that everybody may read")
    assert done.returncode == 0, done.stderr
    assert "not seen" not in done.stderr


def test_btf_that_is_none(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "btf").write_bytes(b"not BTF")
    assert "not a BTF file" in refusal(lab, "--btf", str(tmp_path / "btf"))
    assert "give this kernel's BTF by --btf FILE" in refusal(lab, "--btf", str(tmp_path / "no"))


def test_a_recording_that_cannot_be_written(lab: Lab) -> None:
    assert "No space left on device" in refusal(lab, "--write", "/dev/full")


def test_wrong_usage(lab: Lab) -> None:
    for args in (["--target", "gateway"], ["-i", "an-interface-name*"], ["--count", "0"]):
        done = lab.node.run([*command(), "trace", *args], timeout=START_S)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_without_bcc(tmp_path: Path) -> None:
    """A bcc that cannot be imported is named with the packages that bring it."""
    (tmp_path / "bcc.py").write_text("raise ImportError('no bcc', name='bcc')\n")
    checkout = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tracer", "trace"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{checkout}"},
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "apt-get install python3-bpfcc" in line
    assert "dnf install python3-bcc" in line
