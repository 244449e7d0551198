# SPDX-License-Identifier: Apache-2.0
"""docs/install-kubernetes.md: what it says to write and to run is taken by those it is for."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Client
from manifests import arguments, container, objects, understood, valid
from relabelling import relabelled

TOP = Path(__file__).resolve().parents[2]
PAGE = (TOP / "docs/install-kubernetes.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
BLOCKS: list[dict[str, Any]] = [yaml.safe_load(text) for kind, text in FENCED if kind == "yaml"]
COMMANDS = [
    line for kind, text in FENCED if not kind for line in text.replace("\\\n", "").splitlines()
]


def the_block(key: str) -> dict[str, Any]:
    (only,) = (block for block in BLOCKS if key in block)
    return only


def test_the_kustomization_builds(kubectl: Client, tmp_path: Path) -> None:
    (tmp_path / "arpwhy").mkdir()
    # kustomize takes no link that leads out.
    for path in (TOP / "deploy/kubernetes").rglob("*.yaml"):
        copy = tmp_path / "arpwhy" / path.relative_to(TOP)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    whole = {**the_block("resources"), **the_block("patches")}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    built = objects(kubectl("kustomize", tmp_path))
    valid(built)
    spec = container(built)
    assert spec["image"] == "REGISTRY/arpwhy:VERSION"
    assert understood(arguments(spec, HOST_IP="192.0.2.7"))["globs"] == ("tap*",)
    assert {"PodMonitor", "PrometheusRule", "ConfigMap"} < {kind for kind, _ in built}


def test_every_component_is_in_the_table() -> None:
    there = sorted(path.name for path in (TOP / "deploy/kubernetes/components").iterdir())
    table = PAGE.split("| component | |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE)) == there


def test_helm_takes_its_commands(helm: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOP)
    install, *others = (shlex.split(line)[1:] for line in COMMANDS if line.startswith("helm "))
    assert [words[0] for words in (install, *others)] == ["install", "uninstall"]
    built = objects(helm("template", *install[1:]))
    assert container(built)["image"] == "REGISTRY/arpwhy:VERSION"
    assert {"PodMonitor", "PrometheusRule", "ConfigMap"} < {kind for kind, _ in built}


def test_the_secrets_are_those_of_the_components(
    kubectl: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("htpasswd").write_text("user:hash\n")
    certificate = "req -x509 -newkey rsa:2048 -nodes -subj /CN=node -keyout tls.key -out tls.crt"
    subprocess.run(["openssl", *certificate.split()], check=True, capture_output=True)
    made = {}
    for line in COMMANDS:
        if "create secret" in line:
            words = shlex.split(line)[1:]
            secrets = objects(kubectl(*words, "--dry-run=client", "--output=yaml"))
            made |= {name: each["data"].keys() for (_, name), each in secrets.items()}
    for component, keys in {"tls": {"tls.crt", "tls.key"}, "basic-auth": {"htpasswd"}}.items():
        path = TOP / f"deploy/kubernetes/components/{component}/kustomization.yaml"
        (name,) = re.findall(r"secretName: (\S+)", path.read_text())
        assert made[name] == keys


def test_the_scrape_configuration_names_nodes(tmp_path: Path) -> None:
    (job,) = the_block("scrape_configs")["scrape_configs"]
    discovered = {
        "__meta_kubernetes_namespace": "arpwhy",
        "__meta_kubernetes_pod_name": "arpwhy-x7k2p",
        "__meta_kubernetes_pod_node_name": "node-1",
        "__meta_kubernetes_pod_label_app_kubernetes_io_name": "arpwhy",
        "__meta_kubernetes_pod_container_port_name": "metrics",
    }
    found = relabelled(tmp_path, job, discovered)
    assert found == {"job": "arpwhy", "instance": "node-1"}
    other = {**discovered, "__meta_kubernetes_pod_container_port_name": "http"}
    assert relabelled(tmp_path, job, other) == {}
