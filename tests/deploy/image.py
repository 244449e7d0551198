# SPDX-License-Identifier: Apache-2.0
"""The image, built by buildah from the Dockerfile.

No registry is asked: for ``debian:bookworm-slim`` stands a base that mmdebstrap makes of the
same packages. Everything that buildah mounts is so in a namespace that ends with the command.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
OWN_MOUNTS = ("unshare", "--mount", "--propagation=private")

_BASE = "docker.io/library/debian:bookworm-slim"
# As the official image: nothing recommended, no documents, no package that was downloaded kept.
_MMDEBSTRAP = (
    *("mmdebstrap", "--mode=root", "--variant=apt", "--include=usr-is-merged", "--format=tar"),
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude=/usr/share/{kind}/*" for kind in ("man", "doc", "locale")),
    '--customize-hook=echo \'APT::Keep-Downloaded-Packages "false"; Dir::Cache::pkgcache "";'
    ' Dir::Cache::srcpkgcache "";\' > "$1/etc/apt/apt.conf.d/docker-clean"',
    '--customize-hook=rm -f "$1"/var/cache/apt/*.bin',
)
_CHECK_VALID = 'eval "$(apt-config shell valid Acquire::Check-Valid-Until)"; echo "$valid"'


class Image:
    """Built in ``work``, an empty directory; gone with that."""

    def __init__(self, work: Path) -> None:
        self._work = work
        # To be called in a mount namespace of its own.
        self.buildah = f"buildah --root={work}/store --runroot={work}/run"
        self.container = ""

    def build(self) -> None:
        """Fails the test if it cannot; takes a minute on two cores, half of it the network's."""
        wheels = self._work / "wheels"
        download = subprocess.Popen(_pip_download(wheels), stdout=subprocess.DEVNULL)
        base = _base()
        container = self._buildah("from", "scratch")
        self._buildah("add", "--quiet", container, str(base), "/")
        self._buildah("commit", "--quiet", container, _BASE)
        self._buildah("rm", container)
        assert download.wait(300) == 0, "pip could not download the wheels"
        # This machine's pip may need settings to reach its index, which the build has not.
        settings = self._work / "pip.conf"
        settings.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        self._buildah(
            *("build", "--quiet", "--pull=never", "--isolation=chroot", "--jobs=2"),
            *(f"--volume={wheels}:/wheels:ro", f"--volume={settings}:/etc/pip.conf:ro"),
            *("--tag=arpwhy", str(TOP)),
        )
        self.container = self._buildah("from", "--pull=never", "arpwhy")

    @property
    def config(self) -> dict[str, Any]:
        """Of the image: Entrypoint, Cmd, Env ..."""
        return dict(self._inspected()["OCIv1"]["config"])

    @property
    def size(self) -> int:
        """Of what it adds to Debian's, in bytes, not compressed."""
        return int(json.loads(self._inspected()["Manifest"])["layers"][-1]["size"])

    def inside(self, *argv: str) -> str:
        """What a command says in a container of it."""
        return self._buildah("run", "--isolation=chroot", self.container, "--", *argv)

    def _inspected(self) -> dict[str, Any]:
        return dict(json.loads(self._buildah("inspect", "--type=image", "arpwhy")))

    def _buildah(self, *arguments: str) -> str:
        return _output(*OWN_MOUNTS, *self.buildah.split(), *arguments)


def _base() -> Path:
    """A tar of Debian's base, made once."""
    command = list(_MMDEBSTRAP)
    # A machine whose own apt accepts old package lists gets its base from the same place.
    if _output("sh", "-c", _CHECK_VALID) in ("false", "no", "0"):
        command.append('--aptopt=Acquire::Check-Valid-Until "false"')
    name = hashlib.sha256(repr(command).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arpwhy/image"
    tar = cache / f"bookworm-{name}.tar"
    if not tar.exists():
        cache.mkdir(parents=True, exist_ok=True)
        new = cache / f".{tar.name}.{os.getpid()}"
        _output(*command, "bookworm", str(new))
        new.replace(tar)
    return tar


def _pip_download(wheels: Path) -> list[str]:
    """What the Dockerfile has pip install, for the base's Python."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]["kubernetes"]
    wanted = [*project["project"]["dependencies"], *extras, *project["build-system"]["requires"]]
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels)),
        *("--only-binary=:all:", "--python-version=3.11"),
        *("--constraint", str(TOP / "constraints.txt"), *wanted),
    ]


def _output(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    said = f"{done.stdout}\n{done.stderr}"[-3000:]
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{said}"
    return done.stdout.strip()
