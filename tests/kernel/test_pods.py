# SPDX-License-Identifier: Apache-2.0
"""Pods' names in a trace: by interface name and by address; the API may die meanwhile."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

pytest.importorskip("kubernetes", reason="the package kubernetes is not installed")

from conftest import PATIENCE_S
from lab import Lab
from lab.tracer import Tracer
from pods.player import Player, recorded

NGINX = {"namespace": "default", "name": "nginx"}
VM = {"namespace": "default", "name": "vm"}


def test_names_come_from_the_api_and_outlive_it(any_engine: str, tmp_path: Path) -> None:
    """The recorded list has nginx at 192.168.156.1 and vm at 192.168.156.2."""
    there, later = recorded("pods")
    with Lab("named", pods=0) as lab:
        nginx = lab.add_pod("nginx", address="192.168.156.1")
        vm = lab.add_pod("vm", interface="tap0a1b2c3d-4e", address="192.168.156.2")
        nobody = lab.add_pod("nobody", address="192.168.156.99")
        server = lab.node.call(lambda: Player([there, later.but(then="hang")]))
        config = tmp_path / "config"
        config.write_text(json.dumps(kubeconfig(server.url)))
        args = ["-i", "cali*", "-i", "tap*", "--pods", "kubernetes", "--node-name", "worker-1"]
        with server, Tracer(lab.node, any_engine, [*args, "--kubeconfig", str(config)]) as tracer:
            server.wait(2, PATIENCE_S)
            # Its interface is looked up aside when its first request is seen.
            while not tracer.requests(vm.interface, pod=VM):
                vm.ask(1)
                assert len(tracer.requests(vm.interface)) < 30
            nginx.ask(5)
            nobody.ask(3)
            server.die()
            with lab.broken("proxy_arp_off", nginx), lab.broken("proxy_arp_off", vm):
                nginx.ask(7)
                vm.ask(7)
                for pod, name in ((nginx, NGINX), (vm, VM)):
                    raised = tracer.wait_for(
                        lambda line, pod=pod: (
                            line["type"] == "flag" and line["interface"] == pod.interface
                        ),
                        PATIENCE_S,
                    )
                    assert (raised["state"], raised["pod"]) == ("raised", name)
            deadline = time.monotonic() + PATIENCE_S
            while not said(tracer) and time.monotonic() < deadline:
                time.sleep(0.05)
            code, stop = tracer.stop()
        assert code == 0
        assert stop is not None
        lines = tracer.requests(nginx.interface)
        assert [line["verdict"] for line in lines] == ["answered"] * 5 + ["unanswered"] * 7
        assert all(line["pod"] == NGINX for line in lines)
        assert [line["pod"] for line in tracer.requests(nobody.interface)] == [None] * 3
        assert stop["unanswered"] == 14
        assert stop["lost"] == 0
        [line] = said(tracer)
        assert "refused" in line
        assert [query.get("watch") for query in server.asked] == [None, "1"]


def said(tracer: Tracer) -> list[str]:
    return [line for line in tracer.stderr if "pods' names" in line]


def kubeconfig(server: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {"token": "any"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
