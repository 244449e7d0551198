# SPDX-License-Identifier: Apache-2.0
"""deploy/kubernetes: the real kubectl builds it, and it asks for no more than is needed."""

from __future__ import annotations

import json
import os
import re
import runpy
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from conftest import Client
from manifests import (
    Object,
    Objects,
    arguments,
    container,
    environment_variables,
    objects,
    pod,
    understood,
    valid,
)
from relabelling import relabelled

from tracer.export.app import App
from tracer.export.response import Request, Response

TOP = Path(__file__).resolve().parents[2]
DEPLOY = TOP / "deploy"
GENERATE = runpy.run_path(str(DEPLOY / "helm/generate.py"))
CHART = DEPLOY / "helm/arpwhy"

# What of the chart's values a component stands for.
COMPONENTS = {
    "podmonitor": "podMonitor.enabled=true",
    "rules": "prometheusRules.enabled=true",
    "dashboard": "dashboard.enabled=true",
    "tls": "tls.secret=arpwhy-tls",
    "basic-auth": "basicAuth.secret=arpwhy-basic-auth",
    "kprobe": "capabilities={SYS_ADMIN}",
    "filters": "capabilities={NET_ADMIN}",
}
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def overlay(directory: Path, kubectl: Client, **more: Any) -> Objects:
    """What a kustomization over ours builds to."""
    directory.mkdir(exist_ok=True)
    ours = os.path.relpath(DEPLOY / "kubernetes", directory.resolve())
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [ours],
        **more,
        "components": [f"{ours}/components/{name}" for name in more.get("components", ())],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return objects(kubectl("kustomize", directory))


@pytest.fixture(scope="module")
def base(kubectl: Client) -> Objects:
    return objects(kubectl("kustomize", DEPLOY / "kubernetes"))


@pytest.fixture(scope="module")
def daemon(base: Objects) -> Object:
    return container(base)


def test_the_manifests_are_as_generated(helm: Client) -> None:
    written = GENERATE["manifests"](helm.program)
    assert written
    for path, text in written.items():
        stale = f"stale: {path.name}: run .venv/bin/python deploy/helm/generate.py"
        assert path.read_text(encoding="utf-8") == text, stale


def test_every_component_is_known() -> None:
    there = (DEPLOY / "kubernetes/components").iterdir()
    assert sorted(COMPONENTS) == sorted(path.name for path in there)


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_is_the_charts_value(
    kubectl: Client, helm: Client, tmp_path: Path, component: str
) -> None:
    built = overlay(tmp_path, kubectl, components=[component])
    valid(built)
    del built["Namespace", "arpwhy"]
    values = ("--set", COMPONENTS[component])
    assert built == objects(helm("template", "arpwhy", CHART, "--namespace", "arpwhy", *values))


def test_all_components_with_an_image_of_ones_own(kubectl: Client, tmp_path: Path) -> None:
    image = {"name": "arpwhy", "newName": "registry.example/arpwhy", "newTag": "x"}
    built = overlay(tmp_path, kubectl, components=COMPONENTS, images=[image])
    valid(built)
    assert container(built)["image"] == "registry.example/arpwhy:x"
    params = understood(arguments(container(built), HOST_IP="192.0.2.7"))
    assert params["tls_cert"] and params["tls_key"] and params["basic_auth_file"]


def test_the_base_is_valid(base: Objects) -> None:
    valid(base)
    kinds = ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "DaemonSet"]
    assert sorted(kind for kind, _ in base) == sorted(kinds)


def test_no_right_beyond_what_tracing_needs(base: Objects, daemon: Object) -> None:
    assert daemon["securityContext"] == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["BPF", "PERFMON", "SYSLOG", "NET_RAW"]},
    }
    spec = pod(base)
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["hostNetwork"] is True
    assert not {"hostPID", "hostIPC"} & spec.keys()
    # Nothing of the node's file system.
    assert [volume["name"] for volume in spec["volumes"] if "emptyDir" not in volume] == []


def test_the_account_may_list_and_watch_pods_alone(base: Objects) -> None:
    (rule,) = base["ClusterRole", "arpwhy"]["rules"]
    assert rule == {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}
    binding = base["ClusterRoleBinding", "arpwhy"]
    assert binding["roleRef"]["name"] == "arpwhy"
    (subject,) = binding["subjects"]
    account = {"kind": "ServiceAccount", "name": "arpwhy", "namespace": "arpwhy"}
    assert subject == account
    assert base["ServiceAccount", "arpwhy"]["metadata"]["namespace"] == account["namespace"]
    assert pod(base)["serviceAccountName"] == account["name"]


def test_the_namespace_takes_pods_on_the_hosts_network(base: Objects) -> None:
    labels = base["Namespace", "arpwhy"]["metadata"]["labels"]
    assert labels == {"pod-security.kubernetes.io/enforce": "privileged"}


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_arpwhy_understands_its_arguments(daemon: Object, address: str) -> None:
    params = understood(arguments(daemon, HOST_IP=address))
    (port,) = daemon["ports"]
    assert params["listen"] == (address, port["containerPort"])
    assert params["pods"] == "kubernetes"
    with pytest.raises(click.UsageError):
        understood([*arguments(daemon, HOST_IP=address), "--no-such-option"])


def test_its_environment_is_the_nodes(daemon: Object) -> None:
    fields = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in daemon["env"]}
    assert fields == {"HOST_IP": "status.hostIP", "ARPWHY_NODE_NAME": "spec.nodeName"}
    assert {name for name in fields if name.startswith("ARPWHY_")} <= environment_variables()


def test_the_image_starts_arpwhy() -> None:
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", (TOP / "Dockerfile").read_text(), re.MULTILINE)
    assert Path(json.loads(entry)[-1]).name == "arpwhy"


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_asks_what_answers_anybody(daemon: Object, probe: str) -> None:
    asked = daemon[probe]["httpGet"]
    (port,) = daemon["ports"]
    assert asked["port"] == port["name"]

    def part(status: int) -> Any:
        return lambda request: Response.text(status, "")

    app = App(health=part(299), metrics=part(200), page=part(200), admits=part(401))
    assert app.respond(Request("GET", asked["path"], "", {}, False)).status == 299


def test_a_start_may_take_a_minute(daemon: Object) -> None:
    probe = daemon["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 60


def test_what_the_pod_monitor_makes_of_a_target(
    kubectl: Client, base: Objects, tmp_path: Path
) -> None:
    monitor = overlay(tmp_path / "overlay", kubectl, components=["podmonitor"])[
        "PodMonitor", "arpwhy"
    ]
    labels = base["DaemonSet", "arpwhy"]["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (port,) = container(base)["ports"]
    assert endpoint["port"] == port["name"]
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    # Before these the operator sets labels of the pod's own.
    found = {
        "job": "arpwhy/arpwhy",
        "namespace": "arpwhy",
        "pod": "arpwhy-x7k2p",
        "container": "arpwhy",
        "__meta_kubernetes_pod_node_name": "node-1",
    }
    job = {
        "job_name": "podMonitor/arpwhy/arpwhy/0",
        "relabel_configs": [
            {names.get(key, key): value for key, value in each.items()}
            for each in endpoint["relabelings"]
        ],
    }
    assert relabelled(tmp_path, job, found) == {"job": "arpwhy", "instance": "node-1"}
