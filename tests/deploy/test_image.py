# SPDX-License-Identifier: Apache-2.0
"""The image: built for real from the Dockerfile, and run by a real runtime as the DaemonSet has
it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from container import DaemonSet
from image import TOP, Image
from lab import Lab

from tracer import __version__

TOOLS = ("buildah", "crun", "mmdebstrap")  # Debian's packages have the same names


def test_hadolint_has_nothing_to_complain_of() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, TOP / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if os.geteuid() != 0:
        pytest.skip("not root: cannot build the image")
    if lack := [tool for tool in TOOLS if not shutil.which(tool)]:
        pytest.skip(f"not installed: {' '.join(lack)}")
    work = tmp_path_factory.mktemp("image")
    made = Image(work)
    made.build()
    yield made
    shutil.rmtree(work)  # half a gigabyte, which pytest would keep three times


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("image", pods=2) as made:
        yield made


def test_the_image_is_arpwhy_and_no_more_than_it_needs(image: Image) -> None:
    assert image.config["Entrypoint"] == ["arpwhy"]
    assert image.config["Cmd"] == ["export"]
    assert list(image.config["ExposedPorts"]) == ["16925/tcp"]
    assert image.inside("arpwhy", "--version") == f"arpwhy, version {__version__}"
    left = "/src /opt/arpwhy/bin/pip /usr/bin/pip3 /usr/bin/gcc /root/.cache"
    assert image.inside("sh", "-c", f"ls -d {left} 2>/dev/null || true") == ""
    assert image.size < 400e6


def test_the_daemonset_s_container_names_who_drops_a_request(
    image: Image, lab: Lab, tmp_path: Path
) -> None:
    healthy, broken = lab.pods
    with DaemonSet(lab.node, image, tmp_path / "bundle") as exporter:
        assert exporter.port == 16925
        assert exporter.get("/healthz")[::2] == (200, b"ok\n")
        with lab.broken("nft_arp_input", broken):
            healthy.ask(13)
            broken.ask(7)
            flagged = {"interface": broken.interface, "reason": "filtered_in"}
            now = exporter.wait(lambda now: now.value("arpwhy_interface_flagged", **flagged))
            assert now.value("arpwhy_unanswered_requests_total", reason="filtered_in") == 7
        broken.ask(3)
        now = exporter.wait(lambda now: now.value("arpwhy_flagged_interfaces") == 0)
        requests = {
            (labels["interface"], labels["verdict"]): count
            for labels, count in now.of("arpwhy_requests_total")
            if count
        }
        assert requests == {
            (healthy.interface, "answered"): 13,
            (broken.interface, "answered"): 3,
            (broken.interface, "unanswered"): 7,
        }
        # The client is in the image, and works without the half that was left out.
        [names] = [line for line in exporter.stderr if "pods' names" in line]
        assert "connection refused" in names
        assert exporter.stop() == 0
