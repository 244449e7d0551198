# SPDX-License-Identifier: Apache-2.0
"""scripts/vm itself: what it promises to the tests that run inside the guest.

Each run boots a guest (5 s); the image is built first where it is not there yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
VM = TOP / "scripts" / "vm"
KERNEL = "bookworm"
SECOND = "bullseye"


def run(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VM, *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    built = run("--image-only", "-j", "2", KERNEL, SECOND, timeout=900)
    assert built.returncode == 0, built.stderr


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The TMPDIR of scripts/vm: empty again when it has ended."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)
        assert list(Path(name).iterdir()) == []


def qemu_of(scratch: Path) -> list[int]:
    """QEMU processes whose disks are below scratch."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes()
            if words.startswith(b"qemu") and os.fsencode(scratch) in words:
                found.append(int(process.name))
    return found


def test_arguments_status_and_both_streams_come_through(scratch: Path) -> None:
    done = run(KERNEL, "--", "sh", "-c", 'echo "out: $1"; echo err >&2; exit 37', "sh", "a  b'\"$c")
    assert done.stdout == "out: a  b'\"$c\nerr\n"
    assert done.stderr == ""
    assert done.returncode == 37


def test_guest_is_the_listed_kernel_with_what_the_tests_need(scratch: Path) -> None:
    script = """
        set -e
        uname -r
        id -u
        pwd
        test "$ARPWHY" = /usr/local/bin/arpwhy -a -x "$ARPWHY"
        test -f pyproject.toml -a ! -e .venv -a ! -e .git
        test -s /sys/kernel/btf/vmlinux
        test ! -e "/lib/modules/$(uname -r)/build"
        test "$(ls /sys/class/net)" = lo
        python3 -c 'import bcc, click, msgpack, pyroute2, pytest'
        for command in arping arptables bpftool ethtool ip nft ping pytest tc tcpdump; do
            command -v $command >/dev/null || { echo "no $command"; exit 1; }
        done
        for module in veth dummy bridge bonding cls_bpf sch_ingress sch_netem; do
            modprobe $module
        done
        nft add table arp t
        nft 'add chain arp t c { type filter hook input priority 0; }'
        nft add table netdev t
        ip netns add pod
        ip link add cali0 type veth peer name eth0 netns pod
        tc qdisc add dev cali0 clsact
        bpftool feature probe kernel | grep -c 'program_type tracing is available'
        grep -cw arp_process /proc/kallsyms
        echo to stderr >/dev/stderr
    """
    done = run(KERNEL, "--", "sh", "-c", script)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines[0].startswith("6.1.")
    assert lines[1:] == ["0", "/srv/arpwhy", "1", "1", "to stderr"]


def test_output_comes_while_the_command_runs(scratch: Path) -> None:
    with subprocess.Popen(
        [VM, KERNEL, "--", "sh", "-c", "echo first; sleep 5; echo second"],
        stdout=subprocess.PIPE,
        text=True,
    ) as vm:
        assert vm.stdout is not None
        assert vm.stdout.readline() == "first\n"
        first = time.monotonic()
        assert vm.stdout.readline() == "second\n"
        assert time.monotonic() - first > 4
        assert vm.wait(60) == 0


def test_output_is_whole_when_its_reader_is_slow(scratch: Path) -> None:
    lines = 100_003
    with subprocess.Popen([VM, KERNEL, "--", "seq", str(lines)], stdout=subprocess.PIPE) as vm:
        assert vm.stdout is not None
        digest = hashlib.sha256(vm.stdout.read(1))
        time.sleep(3)
        digest.update(vm.stdout.read())
        assert vm.wait(60) == 0
    expected = "".join(f"{line}\n" for line in range(1, lines + 1))
    assert digest.hexdigest() == hashlib.sha256(expected.encode()).hexdigest()


def test_files_come_back_even_from_a_failed_command(scratch: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    done = run(
        "--out", str(out), KERNEL, "--",
        "sh", "-c", 'mkdir "$ARPWHY_OUT/d"; echo 1009 >"$ARPWHY_OUT/d/f"; exit 3',
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert (out / "d" / "f").read_text() == "1009\n"


def test_too_many_files_are_said_not_lost(scratch: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    fill = 'truncate -s 300M "$ARPWHY_OUT/big"'
    done = run("--out", str(out), KERNEL, "--", "sh", "-c", fill)
    assert done.returncode == 1
    assert "could not be brought back (256 MB at most)" in done.stderr


def test_two_kernels_at_a_time_are_told_apart(scratch: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    # 5.10 fails and ends last: its status is not lost.
    script = """
        uname -r
        uname -r >"$ARPWHY_OUT/release"
        case $(uname -r) in
            5.10.*) sleep 3; printf 'not ended'; exit 5 ;;
        esac
    """
    done = run("-j", "2", "--out", str(out), SECOND, KERNEL, "--", "sh", "-c", script)
    releases = {name: (out / name / "release").read_text().strip() for name in (SECOND, KERNEL)}
    assert releases[SECOND].startswith("5.10.")
    assert releases[KERNEL].startswith("6.1.")
    assert sorted(done.stdout.splitlines()) == [
        f"{KERNEL}| {releases[KERNEL]}",
        f"{SECOND}| {releases[SECOND]}",
        f"{SECOND}| not ended",
    ]
    assert done.returncode == 5


def test_one_after_the_other_the_first_failure_counts(scratch: Path) -> None:
    script = "uname -r; exit $(uname -r | cut -d. -f1)"
    done = run(KERNEL, SECOND, "--", "sh", "-c", script)
    assert [line.split(".")[0] for line in done.stdout.splitlines()] == ["6", "5"]
    assert done.returncode == 6


def test_signal_ends_both_guests(scratch: Path) -> None:
    command = ["sh", "-c", "echo up; sleep 600"]
    with subprocess.Popen(
        [VM, "-j", "2", SECOND, KERNEL, "--", *command], stdout=subprocess.PIPE, text=True
    ) as vm:
        assert vm.stdout is not None
        lines = sorted(vm.stdout.readline() for _ in range(2))
        assert lines == [f"{KERNEL}| up\n", f"{SECOND}| up\n"]
        assert len(qemu_of(scratch)) == 2
        vm.send_signal(signal.SIGTERM)
        assert vm.wait(10) == 128 + signal.SIGTERM
    assert qemu_of(scratch) == []


def test_panic_is_125_with_the_console(scratch: Path) -> None:
    done = run(KERNEL, "--", "sh", "-c", "echo before; sleep 1; echo c >/proc/sysrq-trigger")
    assert done.returncode == 125
    assert done.stdout == "before\n"
    assert "the guest failed: kernel panic: sysrq triggered crash" in done.stderr
    assert f"vm: {KERNEL}: console: " in done.stderr


def test_hang_is_125_after_the_time(scratch: Path) -> None:
    started = time.monotonic()
    done = run("-t", "13", KERNEL, "--", "sleep", "600")
    assert done.returncode == 125
    assert "the guest failed: no end after 13 s" in done.stderr
    assert time.monotonic() - started < 30
    assert qemu_of(scratch) == []


def test_a_left_background_process_does_not_hold_the_end(scratch: Path) -> None:
    done = run("-t", "60", KERNEL, "--", "sh", "-c", "sleep 600 & echo done; exit 5")
    assert (done.stdout, done.returncode) == ("done\n", 5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signal_ends_qemu(scratch: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [VM, KERNEL, "--", "sh", "-c", "echo up; sleep 600"],
        stdout=subprocess.PIPE,
        text=True,
    ) as vm:
        assert vm.stdout is not None
        assert vm.stdout.readline() == "up\n"
        assert len(qemu_of(scratch)) == 1
        vm.send_signal(number)
        expected = -number if number == signal.SIGKILL else 128 + number
        assert vm.wait(10) == expected
    limit = time.monotonic() + 5
    while qemu_of(scratch) and time.monotonic() < limit:
        time.sleep(0.1)
    assert qemu_of(scratch) == []
    if number == signal.SIGKILL:  # nobody was left to remove it
        for left in scratch.iterdir():
            subprocess.run(["rm", "-rf", left], check=True)


def test_closed_stdout_ends_the_guest(scratch: Path) -> None:
    with subprocess.Popen(
        [VM, KERNEL, "--", "sh", "-c", "while echo line; do :; done"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as vm:
        assert vm.stdout is not None
        assert vm.stdout.readline() == "line\n"
        vm.stdout.close()
        assert vm.wait(60) == 125
    assert qemu_of(scratch) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["woody", "--", "true"], "no kernel 'woody' in tests/vm/kernels: bullseye bookworm"),
        ([KERNEL], "which command?"),
        (["--", "true"], "which kernel?"),
        (["-t", "soon", KERNEL, "--", "true"], "-t wants a whole number above 0, not 'soon'"),
        (["-j", "0", KERNEL, "--", "true"], "-j wants a whole number above 0, not '0'"),
        (["--fast", KERNEL, "--", "true"], "no such option: --fast"),
    ],
)
def test_misuse_is_2_and_one_line(scratch: Path, arguments: list[str], line: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--kernels", "bookworm,woody"],
            "no kernel 'woody' in tests/vm/kernels: bullseye bookworm",
        ),
        (["--kernels"], "usage: scripts/test"),
        (["--kernels", ""], "usage: scripts/test"),
    ],
)
def test_the_runner_takes_kernels_of_the_list_alone(arguments: list[str], line: str) -> None:
    done = subprocess.run(
        [TOP / "scripts" / "test", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert line in done.stderr.splitlines()[0]
