# SPDX-License-Identifier: Apache-2.0
"""deploy/helm: the real helm takes the chart, and what it renders is what arpwhy understands."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Client
from manifests import Objects, arguments, container, objects, pod, understood, valid

import tracer

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CHART = DEPLOY / "helm/arpwhy"
GENERATE = runpy.run_path(str(DEPLOY / "helm/generate.py"))
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
MONITORED = ("podMonitor.enabled=true", "prometheusRules.enabled=true", "dashboard.enabled=true")


@pytest.fixture
def render(helm: Client) -> Any:
    """The objects that the chart renders to, with these ``--set``s."""

    def rendered(*sets: str, release: str = "arpwhy") -> Objects:
        args = [part for each in sets for part in ("--set", each)]
        return objects(helm("template", release, CHART, "--namespace", "there", *args))

    return rendered


def test_lint_has_nothing_to_say(helm: Client) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in helm("lint", "--strict", CHART)


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == tracer.__version__


def test_the_table_of_values_is_as_generated() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    assert GENERATE["readme"]() == readme, "stale: run .venv/bin/python deploy/helm/generate.py"


def leaves(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield from (
            leaves(value, f"{above}{key}.")
            if value and isinstance(value, dict)
            else [f"{above}{key}"]
        )


def test_every_value_is_documented() -> None:
    documented = [name for name, _, comment in GENERATE["values"]() if comment]
    assert len(set(documented)) == len(documented)
    for leaf in leaves(VALUES):
        assert any(f"{leaf}.".startswith(f"{name}.") for name in documented), leaf


def test_the_schema_has_the_values_and_no_other() -> None:
    def same(values: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
        if schema.get("additionalProperties") is not False:
            return
        assert {*schema["properties"]} - {"global", "localhostProfile"} == {*values}
        for key, value in values.items():
            if schema["properties"][key]["type"] == "object":
                same(value, schema["properties"][key])

    same(VALUES, SCHEMA)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("podMonitor.intervall=5s", "additional properties 'intervall' not allowed"),
        ("port=0", "at '/port'"),
        ("tls.clientCA=true", "at '/tls/secret'"),
        ("capabilities={CAP_SYS_ADMIN}", "at '/capabilities/0'"),
        ("capabilities={ALL}", "at '/capabilities/0'"),
        ("image.digest=latest", "at '/image/digest'"),
        ("prometheusRules.runbooks=https://runbooks.example", "at '/prometheusRules/runbooks'"),
    ],
)
def test_a_wrong_value_is_refused(helm: Client, wrong: str, why: str) -> None:
    assert why in helm("template", "arpwhy", CHART, "--set", wrong, fails=True)


@pytest.mark.parametrize(
    "sets",
    [
        (),
        MONITORED,
        ("tls.secret=cert", "tls.clientCA=true", "basicAuth.secret=users", *MONITORED),
        ("podNames=false", "capabilities={SYS_ADMIN,SYS_RESOURCE}", "seLinuxOptions.type=spc_t"),
        (
            "image.digest=sha256:" + 64 * "0",
            "image.pullSecrets[0].name=registry",
            "priorityClassName=system-node-critical",
            "podLabels.team=net",
            "podAnnotations.checked=yes",
            "affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey=zone",
            "tolerations=null",
            "args={--interface=tap*,--interface=cali*,--engine=fentry}",
        ),
    ],
    ids=["defaults", "monitored", "guarded", "nameless", "everything-else"],
)
def test_what_is_rendered_is_valid_and_understood(render: Any, sets: tuple[str, ...]) -> None:
    rendered = render(*sets)
    valid(rendered)
    for address in ("192.0.2.7", "2001:db8::7"):
        params = understood(arguments(container(rendered), HOST_IP=address))
        assert params["listen"] == (address, VALUES["port"])


def test_tls_and_passwords_reach_the_exporter(render: Any) -> None:
    rendered = render("tls.secret=cert", "tls.clientCA=true", "basicAuth.secret=users", *MONITORED)
    spec = container(rendered)
    params = understood(arguments(spec, HOST_IP="192.0.2.7"))
    mounts = {mount["mountPath"]: mount["name"] for mount in spec["volumeMounts"]}
    secrets = {
        volume["name"]: volume["secret"]["secretName"]
        for volume in pod(rendered)["volumes"]
        if "secret" in volume
    }
    files = {
        "tls_cert": ("tls.crt", "cert"),
        "tls_key": ("tls.key", "cert"),
        "client_ca": ("ca.crt", "cert"),
        "basic_auth_file": ("htpasswd", "users"),
    }
    for option, (name, secret) in files.items():
        path = Path(params[option])
        assert (path.name, secrets[mounts[str(path.parent)]]) == (name, secret)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert spec[probe]["httpGet"]["scheme"] == "HTTPS"
    (endpoint,) = rendered["PodMonitor", "arpwhy"]["spec"]["podMetricsEndpoints"]
    assert endpoint["scheme"] == "https"


def test_without_names_no_right_and_no_token(render: Any) -> None:
    rendered = render("podNames=false")
    assert {kind for kind, _ in rendered} == {"ServiceAccount", "DaemonSet"}
    assert pod(rendered)["automountServiceAccountToken"] is False
    assert understood(arguments(container(rendered), HOST_IP="::1"))["pods"] == "off"


def test_capabilities_are_added_to_those_that_are_needed(render: Any) -> None:
    added = container(render("capabilities={SYS_ADMIN}"))["securityContext"]["capabilities"]
    assert added == {"drop": ["ALL"], "add": ["BPF", "PERFMON", "SYSLOG", "NET_RAW", "SYS_ADMIN"]}


def test_the_image_by_tag_and_by_digest(render: Any) -> None:
    digest = "sha256:" + 64 * "0"
    at = "image.repository=registry.example/arpwhy"
    assert container(render(at))["image"] == f"registry.example/arpwhy:{tracer.__version__}"
    assert container(render(at, "image.tag=x"))["image"] == "registry.example/arpwhy:x"
    image = container(render(at, f"image.digest={digest}"))["image"]
    assert image == f"registry.example/arpwhy@{digest}"


def test_a_release_of_another_name_is_told_apart(render: Any) -> None:
    rendered = render(*MONITORED, release="edge")
    assert {name.partition("edge-arpwhy")[0] for _, name in rendered} == {""}
    valid(rendered)
    # Rules and dashboard look for the job by this.
    (endpoint,) = rendered["PodMonitor", "edge-arpwhy"]["spec"]["podMetricsEndpoints"]
    assert {"targetLabel": "job", "replacement": "arpwhy"} in endpoint["relabelings"]


def test_rules_and_dashboard_are_those_of_deploy(render: Any) -> None:
    rendered = render(*MONITORED)
    paths = sorted((DEPLOY / "prometheus/rules").glob("*.yaml"))
    assert paths
    for path in paths:
        rule = rendered["PrometheusRule", f"arpwhy-{path.stem}"]
        assert rule["spec"] == yaml.safe_load(path.read_text())
    data = rendered["ConfigMap", "arpwhy-dashboard"]["data"]
    assert json.loads(data["arpwhy.json"]) == json.loads(
        (DEPLOY / "grafana/arpwhy.json").read_text()
    )


def test_runbooks_may_be_put_where_they_can_be_read(render: Any) -> None:
    rendered = render(*MONITORED, "prometheusRules.runbooks=https://runbooks.example/arpwhy/")
    urls = [
        rule["annotations"]["runbook_url"]
        for (kind, _), each in rendered.items()
        if kind == "PrometheusRule"
        for group in each["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert urls
    assert {url.partition("/docs/")[0] for url in urls} == {"https://runbooks.example/arpwhy"}
