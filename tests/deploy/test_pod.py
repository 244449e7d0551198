# SPDX-License-Identifier: Apache-2.0
"""The container of deploy/kubernetes, as far as one machine can be a kubelet.

Its arguments, environment and capabilities, a root that cannot be written, a service account and
an API server that does not answer, on a node with pods, one of them broken.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from conftest import Client
from lab import Lab
from lab.exporter import Exporter
from lab.tracer import command
from lab.wiring import NODE_ADDRESS
from manifests import arguments, container, objects

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
# include/uapi/linux/capability.h
NUMBERS = {"NET_RAW": 13, "SYSLOG": 34, "PERFMON": 38, "BPF": 39}

# The last words are the command. /mnt is the pod's /tmp, under which we may be.
_SANDBOX = """
set -e
mount -t tmpfs tmpfs /mnt
mount -t tmpfs tmpfs /run
mount -o remount,bind,ro /
mkdir -p /run/secrets/kubernetes.io/serviceaccount
cp "$1" /run/secrets/kubernetes.io/serviceaccount/ca.crt
echo token >/run/secrets/kubernetes.io/serviceaccount/token
if echo >/written 2>/dev/null; then exit 9; fi
shift
exec "$@"
"""


@pytest.fixture
def exporter(kubectl: Client) -> Iterator[tuple[Lab, Exporter]]:
    """A lab of two pods, and the DaemonSet's container beside them."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and BPF")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv: not installed (Debian: util-linux)")
    spec = container(objects(kubectl("kustomize", DEPLOY / "kubernetes")))
    added = [name.lower() for name in spec["securityContext"]["capabilities"]["add"]]
    bounds = ",".join(["-all", *(f"+{name}" for name in added)])
    environment = {
        "TMPDIR": "/mnt",
        "ARPWHY_NODE_NAME": "node-1",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": "1",
    }
    with Lab("pod", pods=2) as lab:
        exporter = Exporter(lab.node)
        exporter.argv = [
            *("unshare", "--mount", "sh", "-c", _SANDBOX, "sh", certifi.where()),
            *("env", *(f"{name}={value}" for name, value in environment.items())),
            *("setpriv", "--bounding-set", bounds, "--inh-caps=-all", "--no-new-privs"),
            *command(),
            *arguments(spec, HOST_IP=NODE_ADDRESS),
        ]
        with exporter:
            yield lab, exporter


def test_it_finds_a_broken_pod(exporter: tuple[Lab, Exporter]) -> None:
    lab, running = exporter
    assert (running.address, running.port) == (NODE_ADDRESS, 16925)
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    assert effective == sum(1 << number for number in NUMBERS.values())
    assert "NoNewPrivs:\t1" in status
    assert not any("not seen" in line for line in running.stderr)  # with a packet socket
    # The API server is away: tracing goes on without names.
    assert any("no news of pods' names" in line for line in running.stderr)
    assert running.get("/healthz")[0] == 200

    healthy, broken = lab.pods
    with lab.broken("proxy_arp_off", broken):
        healthy.ask(3)
        broken.ask(5)
        unanswered = "arpwhy_unanswered_requests_total"
        now = running.wait(lambda now: now.value(unanswered, reason="proxy_arp_off") == 5)
        flagged = {"interface": broken.interface, "reason": "proxy_arp_off"}
        assert now.value("arpwhy_interface_flagged", **flagged) == 1
        assert now.value("arpwhy_flagged_interfaces") == 1
        answered = {"interface": healthy.interface, "verdict": "answered"}
        assert now.value("arpwhy_requests_total", **answered) == 3
    # At once, well within the pod's grace.
    assert running.stop(timeout=5.0) == 0
