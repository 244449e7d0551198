# SPDX-License-Identifier: Apache-2.0
"""The sdist and the wheel: what is in them, and that what they install runs.

Needs no network: built with this environment's hatchling, installed without dependencies.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import click
import pytest

from tracer import __version__

ROOT = Path(__file__).resolve().parents[2]
NAME = f"arpwhy-{__version__}"
PYTHON = Path("/usr/bin/python3")
C_FILES = sorted((ROOT / "bpf").glob("*.[ch]"))
# Template, style and script of the status page.
PAGE_FILES = [ROOT / "tracer/export/page" / f"status.{kind}" for kind in ("html", "css", "js")]
LICENCES = ("LICENSE", "LICENSES/Apache-2.0.txt", "LICENSES/GPL-2.0-only.txt")

# Says where the installed package and its C files are, and reads one of them.
WHERE = """
import tracer
from tracer.kernel import source

assert source.assemble("kprobe.c")
print(tracer.__file__, source.directory())
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not root: cannot trace")
needs_bcc = pytest.mark.skipif(
    subprocess.run([PYTHON, "-c", "import bcc"], capture_output=True, check=False).returncode != 0,
    reason=f"{PYTHON} cannot import bcc (Debian: python3-bpfcc)",
)


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it away from the checkout's own paths; fail with its output if it fails."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "ARPWHY", "PIP_", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def build(source: Path, out: Path, *options: str) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", *options, "-o", out, source, cwd=out)


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    build(ROOT, out, "--sdist")
    return out / f"{NAME}.tar.gz"


@pytest.fixture(scope="module")
def tree(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, unpacked."""
    out = tmp_path_factory.mktemp("tree")
    with tarfile.open(sdist) as archive:
        archive.extractall(out)
    return out / NAME


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the sdist builds."""
    out = tmp_path_factory.mktemp("wheel")
    build(tree, out, "--wheel")
    return out / f"{NAME}-py3-none-any.whl"


@pytest.fixture(scope="module")
def venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it; its dependencies are this environment's own."""
    if not PYTHON.exists():
        pytest.skip(f"no {PYTHON}")
    where = tmp_path_factory.mktemp("venv")
    run(PYTHON, "-m", "venv", "--system-site-packages", where, cwd=where)
    [packages] = (where / "lib").glob("python*/site-packages")
    if packages.parent.name != f"python{sys.version_info[0]}.{sys.version_info[1]}":
        pytest.skip(f"{PYTHON} is {packages.parent.name}: our dependencies are another's")
    # A path line in a .pth leaves the .pth files there unread: no editable arpwhy comes along.
    (packages / "dependencies.pth").write_text(f"{Path(click.__file__).parents[1]}\n")
    pip = where / "bin" / "pip"
    run(pip, "install", "--no-deps", "--no-index", "--no-warn-script-location", wheel, cwd=where)
    return where


def test_the_sdist_has_sources_documents_and_licences(tree: Path) -> None:
    for path in (*C_FILES, *PAGE_FILES, *(ROOT / "tracer").rglob("*.py")):
        name = path.relative_to(ROOT)
        assert (tree / name).read_bytes() == path.read_bytes(), name
    for name in (*LICENCES, "README.md", "CHANGELOG.md", "docs/json.md", "pyproject.toml"):
        assert (tree / name).read_bytes() == (ROOT / name).read_bytes(), name


def test_the_wheel_has_the_package_and_the_c_files_inside_it(wheel: Path) -> None:
    files = contents(wheel)
    wanted = {f"tracer/bpf/{path.name}": path for path in C_FILES}
    package = (*PAGE_FILES, *(ROOT / "tracer").rglob("*.py"))
    wanted |= {str(path.relative_to(ROOT)): path for path in package}
    assert {name for name in files if name.startswith("tracer/")} == set(wanted)
    for name, path in wanted.items():
        assert files[name] == path.read_bytes(), name
    assert len(C_FILES) >= 4


def test_the_wheel_has_both_licences_and_names_them(wheel: Path) -> None:
    files = contents(wheel)
    info = f"{NAME}.dist-info"
    for name in LICENCES:
        assert files[f"{info}/licenses/{name}"] == (ROOT / name).read_bytes()
    metadata = Parser().parsestr(files[f"{info}/METADATA"].decode())
    assert metadata["License-Expression"] == "Apache-2.0 AND GPL-2.0-only"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "arpwhy = tracer.cli:main" in files[f"{info}/entry_points.txt"].decode()


def test_checkout_and_sdist_build_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    build(ROOT, tmp_path, "--wheel")
    assert contents(tmp_path / wheel.name) == contents(wheel)


def test_every_licence_named_by_a_source_file_is_in_licenses() -> None:
    mark = "SPDX-License-Identifier: "
    for path in (*C_FILES, *(ROOT / "tracer").rglob("*.py"), *(ROOT / "tests").rglob("*.py")):
        head = path.read_text().splitlines()[:2]
        [licence] = [line.split(mark)[1].split()[0] for line in head if mark in line]
        assert (ROOT / "LICENSES" / f"{licence}.txt").is_file(), path
        assert (licence == "GPL-2.0-only") == (path in C_FILES), path


def test_the_installed_command_gives_version_and_help(venv: Path, tmp_path: Path) -> None:
    arpwhy = venv / "bin" / "arpwhy"
    assert __version__ in run(arpwhy, "--version", cwd=tmp_path).stdout
    assert "--fail-on-flag" in run(arpwhy, "trace", "--help", cwd=tmp_path).stdout
    assert "FILE" in run(arpwhy, "replay", "--help", cwd=tmp_path).stdout


def test_c_files_are_found_in_the_installed_wheel(venv: Path, tmp_path: Path) -> None:
    said = run(venv / "bin" / "python", "-c", WHERE, cwd=tmp_path).stdout.split()
    package = Path(said[0]).parent
    assert package.is_relative_to(venv)
    assert Path(said[1]) == package / "bpf"


@pytest.mark.parametrize("which", ["checkout", "sdist"])
def test_c_files_are_found_beside_the_package(which: str, tree: Path, tmp_path: Path) -> None:
    top = ROOT if which == "checkout" else tree
    said = run(sys.executable, "-c", WHERE, cwd=tmp_path, PYTHONPATH=str(top)).stdout.split()
    assert said[:2] == [str(top / "tracer" / "__init__.py"), str(top / "bpf")]


@needs_root
@needs_bcc
@pytest.mark.parametrize("which", ["checkout", "sdist", "wheel"])
def test_a_trace_runs(which: str, tree: Path, venv: Path, tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare (Debian: util-linux)")
    place = {"checkout": ROOT, "sdist": tree}.get(which)
    environment = {} if place is None else {"PYTHONPATH": str(place)}
    done = run(
        *(unshare, "--net", venv / "bin" / "python", "-P", "-m", "tracer"),
        *("trace", "--duration", "0.5", "-i", "nosuch*"),
        cwd=tmp_path,
        **environment,
    )
    assert "\ntracing nosuch* (0 interfaces) for 169.254.1.1" in done.stderr
    assert done.stdout.startswith("--- 0 requests in ")
