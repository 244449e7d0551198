# SPDX-License-Identifier: Apache-2.0
"""vagrant/: what a user meets who lacks something, and a libvirt of one's own that leaves nothing.

No virtual machine is started here; vagrant/test does that. Run by scripts/test --vagrant.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

VAGRANT = Path(__file__).resolve().parents[2] / "vagrant"
WITH_LIBVIRT = VAGRANT / "with-libvirt"
# No service of this machine is in sight.
NO_RUN = "mount -t tmpfs tmpfs /run && "
# /dev without kvm.
NO_KVM = (
    "mount -t tmpfs -o dev,mode=755 tmpfs /mnt"
    " && cp -a /dev/null /dev/zero /dev/random /dev/urandom /mnt/"
    " && mount --move /mnt /dev && "
)
# What the scripts take for granted.
TOOLS = ["bash", "cat", "dirname", "find", "id", "mkdir", "readlink", "sha256sum", "sort"]
TOOLS += ["touch", "uname", "xargs"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Nothing of what is set on this machine, and nothing left in the checkout."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "VAGRANT_CWD": str(VAGRANT),
        "VAGRANT_DOTFILE_PATH": str(tmp_path / "dotfile"),
    }


@pytest.fixture
def virtualbox(environment: dict[str, str], tmp_path: Path) -> None:
    """Vagrant finds a VirtualBox: its settings are validated without one, only it is looked for."""
    directory = tmp_path / "virtualbox"
    directory.mkdir()
    manage = directory / "VBoxManage"
    manage.write_text("#!/bin/sh\necho 7.0.20r163906\n")
    manage.chmod(0o755)
    environment["PATH"] += f":{directory}"


def run(environment: Mapping[str, str], *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def in_namespace(environment: Mapping[str, str], script: str) -> subprocess.CompletedProcess[str]:
    return run(environment, "unshare", "--mount", "sh", "-c", script)


@pytest.mark.parametrize("nodes", ["1", "3"])
def test_libvirt_settings_are_valid(environment: dict[str, str], nodes: str) -> None:
    environment |= {"VAGRANT_DEFAULT_PROVIDER": "libvirt", "ARPWHY_NODES": nodes}
    done = run(environment, "vagrant", "validate")
    assert (done.returncode, done.stdout) == (0, "Vagrantfile validated successfully.\n")


@pytest.mark.usefixtures("virtualbox")
@pytest.mark.parametrize("nodes", ["1", "3"])
def test_virtualbox_settings_are_valid(environment: dict[str, str], nodes: str) -> None:
    environment |= {"VAGRANT_DEFAULT_PROVIDER": "virtualbox", "ARPWHY_NODES": nodes}
    done = run(environment, "vagrant", "validate")
    assert (done.returncode, done.stdout) == (0, "Vagrantfile validated successfully.\n")


@pytest.mark.parametrize(
    ("settings", "script", "line"),
    [
        ({}, NO_RUN + "vagrant up --provider libvirt", "libvirt does not run here: apt-get"),
        ({}, NO_RUN + "vagrant up", "libvirt does not run here: apt-get"),
        (
            {"VAGRANT_NO_PLUGINS": "1"},
            "vagrant up --provider=libvirt",
            "the plugin vagrant-libvirt is missing: apt-get",
        ),
        (
            {"VAGRANT_NO_PLUGINS": "1"},
            "vagrant up",
            "neither VirtualBox nor the plugin vagrant-libvirt is here: install one",
        ),
        ({}, "vagrant up --provider virtualbox", "VirtualBox is missing: install it, or"),
        (
            {"ARPWHY_DRIVER": "kvm", "LIBVIRT_DEFAULT_URI": "qemu:///system"},
            NO_KVM + "vagrant up --provider libvirt",
            "no KVM here (/dev/kvm): for emulation, ten times slower, set ARPWHY_DRIVER=qemu",
        ),
        (
            {"ARPWHY_NODES": "3", "ARPWHY_MEMORY": "400000"},
            "vagrant up --provider libvirt",
            "not enough memory: 1200768 MB wanted, ",
        ),
        (
            {"ARPWHY_BOX": "/nowhere/a.box"},
            "vagrant up --provider libvirt",
            "ARPWHY_BOX: there is no file /nowhere/a.box: sudo vagrant/build-box",
        ),
        ({"ARPWHY_NODES": "some"}, "vagrant status", "ARPWHY_NODES is a number above 0"),
        ({"ARPWHY_NODES": "10"}, "vagrant status", "ARPWHY_NODES: 9 machines at most, not 10"),
        ({"ARPWHY_DRIVER": "xen"}, "vagrant status", "ARPWHY_DRIVER is kvm or qemu, not 'xen'"),
    ],
)
def test_what_is_missing_is_one_line(
    environment: dict[str, str], settings: dict[str, str], script: str, line: str
) -> None:
    done = in_namespace(environment | settings, script)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"arpwhy: {line}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("with-libvirt", "libvirt: vagrant is missing: run scripts/setup --vagrant"),
        ("build-box", "box: mmdebstrap is missing: apt-get install mmdebstrap"),
    ],
)
def test_missing_tools_are_one_line(
    environment: dict[str, str], tmp_path: Path, script: str, line: str
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    environment |= {"PATH": str(tools), "ARPWHY_BOX_CACHE": str(tmp_path / "cache")}
    done = run(environment, VAGRANT / script, *(["true"] if script == "with-libvirt" else []))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "command", "line"),
    [
        ({"ARPWHY_BOX_CACHE": "/mnt"}, "build-box", "box: not enough room in /mnt: 3000 MB wanted"),
        (
            {"ARPWHY_BOX": "none", "ARPWHY_DRIVER": "qemu", "TMPDIR": "/mnt"},
            "with-libvirt true",
            "libvirt: not enough room in /mnt: 3000 MB wanted",
        ),
    ],
)
def test_a_full_disk_is_one_line(
    environment: dict[str, str], settings: dict[str, str], command: str, line: str
) -> None:
    script = f"mount -t tmpfs -o size=50m tmpfs /mnt && {VAGRANT}/{command}"
    done = in_namespace(environment | settings, script)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("with-libvirt", "libvirt: needs root, for namespaces"),
        ("build-box", "box: the box must be built first, which needs root"),
    ],
)
def test_without_root_is_one_line(environment: dict[str, str], script: str, line: str) -> None:
    environment["ARPWHY_BOX_CACHE"] = "/nonexistent"
    arguments = ["true"] if script == "with-libvirt" else []
    done = run(
        environment, "setpriv", "--reuid=65534", "--clear-groups", VAGRANT / script, *arguments
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_machines_that_are_there_take_no_more_memory(
    environment: dict[str, str], tmp_path: Path
) -> None:
    for number in "123":
        (tmp_path / f"dotfile/machines/node{number}/libvirt").mkdir(parents=True)
        (tmp_path / f"dotfile/machines/node{number}/libvirt/id").write_text("an-id")
    environment |= {"ARPWHY_NODES": "3", "ARPWHY_MEMORY": "400000"}
    done = in_namespace(environment, NO_RUN + "vagrant up --provider libvirt")
    assert done.stderr.startswith("arpwhy: libvirt does not run here")


# ---- a libvirt of one's own -------------------------------------------------------------


@pytest.fixture
def libvirt(environment: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of with-libvirt; when it has ended nothing of it is left."""
    before = mount_points()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    yield environment | {"ARPWHY_BOX": "none", "ARPWHY_DRIVER": "qemu", "TMPDIR": str(scratch)}
    limit = time.monotonic() + 10
    while (found := daemons_of(scratch)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert found == []
    assert mount_points() == before


def mount_points() -> list[str]:
    """This machine's, less the network namespaces, which come and go with other tests."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in points if not point.startswith("/run/netns/")]


def daemons_of(scratch: Path) -> list[str]:
    """Processes whose standard output is a file of libvirt's own below scratch."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if (process / "fd/1").readlink().is_relative_to(scratch):
                found.append((process / "comm").read_text().strip())
    return found


def test_a_libvirt_of_our_own_answers_and_goes(libvirt: dict[str, str]) -> None:
    script = """
        virsh --quiet net-list --all && virsh uri && ls /sys/class/net && pgrep -c libvirtd
        exit 37
    """
    done = run(libvirt, WITH_LIBVIRT, "sh", "-c", script)
    # No network of the system's, no interface of this machine, no other libvirtd.
    assert done.stdout.split() == ["qemu:///system", "lo", "1"], done.stderr
    assert done.returncode == 37
    assert list(Path(libvirt["TMPDIR"]).iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_takes_all_along(libvirt: dict[str, str], number: signal.Signals) -> None:
    with subprocess.Popen(
        [WITH_LIBVIRT, "sh", "-c", "echo up; sleep 600"],
        env=libvirt,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "up\n"
            assert "libvirtd" in daemons_of(Path(libvirt["TMPDIR"]))
            running.send_signal(number)
            killed = number == signal.SIGKILL
            assert running.wait(10) == (-number if killed else 128 + number)
        finally:
            running.kill()
    # After SIGKILL nobody was there to remove the directory.
    assert killed or list(Path(libvirt["TMPDIR"]).iterdir()) == []
