# SPDX-License-Identifier: Apache-2.0
"""``arpwhy doctor`` on this kernel: it agrees with the trace, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import DEMANDED, EMULATED, PATIENCE_S, WHY_NOT
from lab.tracer import command

from tracer.kernel.prepared import ENGINES

PATIENCE_DOCTOR_S = 300.0 if EMULATED else 60.0
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def doctor(
    *args: str, wrap: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*wrap, *command(), "doctor", *args],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_DOCTOR_S,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def record(*args: str, wrap: Sequence[str] = (), **environment: str) -> dict[str, Any]:
    done = doctor("--format", "json", *args, wrap=wrap, **environment)
    (line,) = done.stdout.splitlines()
    said: dict[str, Any] = json.loads(line)
    assert done.returncode == (0 if said["engine"] else 1)
    if said["engine"]:
        assert done.stderr == ""
    else:
        assert done.stderr == f"arpwhy: no engine can run: {'; '.join(said['ways'])}\n"
    return said


def check(said: dict[str, Any], name: str) -> tuple[str, str]:
    return next((c["state"], c["text"]) for c in said["checks"] if c["name"] == name)


@pytest.fixture(scope="module")
def here() -> dict[str, Any]:
    return record()


def test_it_agrees_with_the_trace(here: dict[str, Any]) -> None:
    said = {engine["name"]: engine["why"] for engine in here["engines"]}
    if not DEMANDED:
        first = next(name for name, why in WHY_NOT.items() if not why)
        assert here["engine"] == first
    for name, why in WHY_NOT.items():
        assert why == (f"arpwhy: engine {name} cannot run: {said[name]}" if said[name] else None)


def test_every_hook_of_every_engine_was_tried(here: dict[str, Any]) -> None:
    for said in here["engines"]:
        hooks = {(hook["kind"], hook["place"]): hook for hook in said["hooks"]}
        assert all(hook["attached"] in (True, False) for hook in hooks.values())
        needed = [hook for hook in ENGINES[said["name"]].hooks.steady if not hook.optional]
        attached = [hooks[hook.kind, hook.place]["attached"] for hook in needed]
        assert all(attached) == said["can_run"]
        assert all((hook["why"] is None) == hook["attached"] for hook in hooks.values())


def test_text_has_a_row_a_hook_and_ends_with_the_engine(here: dict[str, Any]) -> None:
    done = doctor()
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert max(map(len, lines)) < 80
    assert f"auto takes {here['engine']}" in done.stdout
    (row,) = [line.split() for line in lines if line.strip().startswith("kfree_skb ")]
    assert row == ["kfree_skb", "ok", "ok", "ok"]
    (row,) = [line.split() for line in lines if line.strip().startswith("netif_receive_skb ")]
    assert row == ["netif_receive_skb", "ok"]


def held(pid: int) -> set[tuple[str, int]]:
    """("prog" or "link", id) of what a process has a descriptor of."""
    found: set[tuple[str, int]] = set()
    with contextlib.suppress(OSError):  # the process or a descriptor is gone meanwhile
        for file in Path(f"/proc/{pid}/fdinfo").iterdir():
            with contextlib.suppress(OSError):
                pairs = re.findall(r"^(prog|link)_id:\s*(\d+)", file.read_text(), re.MULTILINE)
                found |= {(kind, int(number)) for kind, number in pairs}
    return found


def in_kernel() -> set[tuple[str, int]]:
    return {
        (kind, entry["id"])
        for kind in ("prog", "link")
        for entry in json.loads(
            subprocess.run(
                ["bpftool", "-j", kind, "show"], capture_output=True, text=True, check=True
            ).stdout
            or "[]"
        )
    }


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is missing")
@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
def test_nothing_stays_attached(killed: bool) -> None:
    process = subprocess.Popen([*command(), "doctor"], stdout=subprocess.DEVNULL)
    seen: set[tuple[str, int]] = set()
    deadline = time.monotonic() + PATIENCE_DOCTOR_S
    while process.poll() is None:
        assert time.monotonic() < deadline
        for child in children(process.pid):
            seen |= held(child)
        if killed and any(kind == "link" for kind, _ in seen):
            process.kill()
            break
        time.sleep(0.001)  # the child needs the CPU too
    assert process.wait(PATIENCE_S) == (-signal.SIGKILL if killed else 0)
    assert {kind for kind, _ in seen} >= ({"link"} if killed else {"prog", "link"})
    # Linux hands programs and links back after a grace period of RCU.
    deadline = time.monotonic() + 5 * PATIENCE_S
    while left := seen & in_kernel():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_as_nobody() -> None:
    said = record(wrap=NOBODY)
    assert said["engine"] is None
    assert said["ways"] == ["run as root, or with CAP_BPF and CAP_PERFMON"]
    assert check(said, "CAP_BPF")[0] == check(said, "CAP_PERFMON")[0] == "no"
    assert check(said, "bcc")[0] == "ok"
    for engine in said["engines"]:
        assert engine["why"] == "CAP_BPF and CAP_PERFMON missing"
        assert {hook["attached"] for hook in engine["hooks"]} == {None}
    text = doctor(wrap=NOBODY).stdout
    assert "??  tracepoint                not tried: CAP_BPF and CAP_PERFMON missing" in text


def test_as_root_of_a_container_that_lacks_capabilities() -> None:
    drop = ["setpriv", "--bounding-set=-bpf,-sys_admin", "--inh-caps=-bpf,-sys_admin"]
    said = record(wrap=[*drop, "--no-new-privs"])
    assert check(said, "CAP_BPF")[0] == "no"
    assert check(said, "CAP_PERFMON")[0] == "ok"
    (way,) = said["ways"]
    assert way.startswith("give this container CAP_BPF (docker: --cap-add BPF; Kubernetes: ")


def test_with_the_two_capabilities_alone(here: dict[str, Any]) -> None:
    two = ["--inh-caps=+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon"]
    said = record(wrap=[*NOBODY, *two])
    can = {engine["name"]: engine["can_run"] for engine in said["engines"]}
    for engine in here["engines"]:
        if engine["name"] != "kprobe":
            assert can[engine["name"]] == engine["can_run"]
    paranoid = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    assert check(said, "CAP_SYS_ADMIN")[0] == ("no" if paranoid > 2 else "note")
    if paranoid > 2:
        assert not can["kprobe"]


def test_in_a_user_namespace() -> None:
    if subprocess.run(["unshare", "-Ur", "true"], check=False).returncode != 0:
        pytest.skip("no user namespaces")
    said = record(wrap=["unshare", "-Ur"])
    assert check(said, "user namespace")[0] == "no"
    assert said["ways"] == ["run as root outside of this user namespace (no rootless container)"]


def test_a_seccomp_filter_that_forbids_bpf() -> None:
    """As docker's default one does."""
    if platform.machine() != "x86_64":
        pytest.skip("the filter here knows x86_64's number of bpf() alone")
    said = record(wrap=[sys.executable, "-c", FORBID_BPF])
    assert check(said, "seccomp")[0] == "note"
    assert said["engine"] is None
    filtered, refused = said["ways"]
    assert filtered.startswith("a seccomp filter may forbid it (docker: ")
    assert refused.startswith("tracepoint: ")
    assert "Operation not permitted" in refused


# seccomp(2): bpf() is 321 on x86_64 and fails with EPERM; every other call is allowed.
FORBID_BPF = """
import ctypes, os, struct, sys
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 321), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
program = Program(len(steps), ctypes.addressof(code))
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert prctl(22, 2, ctypes.byref(program)) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def netns() -> Iterator[str]:
    name = "arpwhy-doctor"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


def test_under_ip_netns_exec(netns: str, here: dict[str, Any]) -> None:
    said = record(wrap=["ip", "netns", "exec", netns])
    for name in ("tracefs", "bpffs"):
        assert check(said, name) == (
            "note",
            f"hidden by `ip netns exec`: nsenter --net=/run/netns/{netns} keeps it; not needed",
        )
    assert said["engine"] == here["engine"]  # it does without
    entered = record(wrap=["nsenter", f"--net=/run/netns/{netns}", *NOBODY])
    assert check(entered, "tracefs") == check(here, "tracefs")


def test_mounted_file_systems_are_seen() -> None:
    """In a mount namespace of its own."""
    mount = """
    umount /sys/kernel/tracing /sys/fs/bpf 2>/dev/null
    mount -t tracefs t /sys/kernel/tracing && mount -t bpf b /sys/fs/bpf && exec "$@"
    """
    said = record(wrap=["unshare", "--mount", "sh", "-c", mount, "sh", *NOBODY])
    assert check(said, "tracefs") == ("ok", "/sys/kernel/tracing, not needed")
    assert check(said, "bpffs") == ("ok", "/sys/fs/bpf, not needed")


def test_btf_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "btf").write_bytes(b"not BTF, but long enough")
    said = record("--btf", str(tmp_path / "btf"))
    assert check(said, "BTF")[0] == "no"
    (way,) = said["ways"]
    assert "not a BTF file" in way
    assert way.endswith("; leave --btf out: this kernel has its own")
    assert record(ARPWHY_BTF=str(tmp_path / "none"))["engine"] is None


def test_a_copy_of_the_btf_is_as_good(tmp_path: Path, here: dict[str, Any]) -> None:
    copy = tmp_path / "btf"
    copy.write_bytes(Path("/sys/kernel/btf/vmlinux").read_bytes())
    said = record("--btf", str(copy))
    assert check(said, "BTF")[0] == "ok"
    assert said["engine"] == here["engine"]


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (
            "raise ImportError('no bcc', name='bcc')",
            "make its environment by /usr/bin/python3 -m venv --system-site-packages",
        ),
        ("", "bcc's Python module does not work (module 'bcc' has no attribute 'BPF')"),
        ("raise OSError('libbcc.so.0: cannot open')", "(libbcc.so.0: cannot open)"),
        ("import os; os.abort()", "trying it ended by signal 6"),
    ],
)
def test_a_bcc_that_does_not_work(tmp_path: Path, module: str, says: str) -> None:
    (tmp_path / "bcc.py").write_text(module + "\n")
    checkout = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tracer", "doctor", "--format", "json"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{checkout}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_DOCTOR_S,
        check=False,
    )
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert check(said, "bcc")[0] == "no"
    assert says in check(said, "bcc")[1]
    (line,) = done.stderr.splitlines()
    assert says in line


def test_nowhere_to_write() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*NOBODY, *command(), "doctor"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_DOCTOR_S,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "arpwhy: cannot write to standard output: No space left on device\n"


def test_wrong_usage() -> None:
    assert doctor("--format", "xml").returncode == 2
    assert doctor("eth0").returncode == 2
