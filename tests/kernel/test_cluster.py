# SPDX-License-Identifier: Apache-2.0
"""Three nodes, each with an exporter, and the real Prometheus that scrapes them by our rules.

One story, in order: all is well; the gateway of one pod breaks; it is mended; an exporter dies.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab import Lab, Netns, links
from lab.exporter import Exporter
from lab.prometheus import Prometheus
from lab.tracer import command

yaml = pytest.importorskip("yaml", reason="no yaml (PyPI: PyYAML)")

TOP = Path(__file__).parents[2]
RULES = sorted((TOP / "deploy/prometheus/rules").glob("*.yaml"))
DASHBOARD = json.loads((TOP / "deploy/grafana/arpwhy.json").read_text(encoding="utf-8"))

NODES = ("node-a", "node-b", "node-c")
SCRAPE_S = 5
FIRES_S = 30.0  # from the fault to the alert
ASKED, MENDED = 7, 3


@dataclass
class Cluster:
    labs: dict[str, Lab]
    exporters: dict[str, Exporter]
    prometheus: Prometheus
    netns: Netns

    def command(self, *arguments: str) -> tuple[int, str]:
        """Status and output of ``arpwhy cluster``, asked from where Prometheus is."""
        # A proxy of the machine's has no way into the namespace.
        argv = ["env", "no_proxy=*", *command(), "cluster", "--prometheus", self.prometheus.url]
        done = self.netns.run([*argv, *arguments])
        assert done.stderr == ""
        return done.returncode, done.stdout

    def object(self) -> tuple[int, dict[str, Any]]:
        code, text = self.command("--format", "json")
        return code, json.loads(text)

    def value(self, expression: str) -> float:
        series = self.prometheus.query(expression)
        return float(series[0]["value"][1]) if series else 0.0

    def firing(self) -> set[str]:
        alerts = self.prometheus.get("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}


def _connect(node: Netns, server: Netns, number: int) -> str:
    """A link between the two; the node's address."""
    ours, theirs = f"10.66.{number}.1", f"10.66.{number}.2"

    def address(ipr: Any, name: str, ip: str) -> None:
        index = links.index(ipr, name)
        ipr.addr("add", index=index, address=ip, prefixlen=30)
        ipr.link("set", index=index, state="up")

    def on_server(ipr: Any) -> None:
        peer = {"ifname": "mgmt", "net_ns_fd": str(node.path)}
        ipr.link("add", kind="veth", ifname=f"node{number}", peer=peer)
        address(ipr, f"node{number}", ours)

    server.netlink(on_server)
    node.netlink(lambda ipr: address(ipr, "mgmt", theirs))
    server.netlink(lambda ipr: links.wait_up(ipr, f"node{number}"))
    return theirs


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, any_engine: str) -> Iterator[Cluster]:
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus (Debian: prometheus)")
    with ExitStack() as stack:
        server = Netns("cluster-prometheus")
        server.remove()  # what a killed run left
        server.create()
        stack.callback(server.remove)
        server.netlink(lambda ipr: ipr.link("set", index=links.index(ipr, "lo"), state="up"))
        labs, exporters, targets = {}, {}, {}
        for number, name in enumerate(NODES):
            labs[name] = stack.enter_context(Lab(f"cluster-{name}", pods=2))
            listen = f"{_connect(labs[name].node, server, number)}:16925"
            exporter = Exporter(labs[name].node, ["--engine", any_engine], listen=listen)
            exporters[name] = stack.enter_context(exporter)
            targets[listen] = name
        prometheus = Prometheus(
            server, tmp_path_factory.mktemp("prometheus"), targets, RULES, interval_s=SCRAPE_S
        )
        stack.enter_context(prometheus)
        prometheus.wait(
            lambda: len(prometheus.query("arpwhy_build_info")) == len(NODES), 20.0, "the nodes"
        )
        yield Cluster(labs, exporters, prometheus, server)


def expressions() -> Iterator[tuple[str, str]]:
    """By panel or rule, every expression of the dashboard and of the rules, variables filled in."""
    values = {
        "$instance": "node-b",
        "$interface": ".*",
        "$__rate_interval": "1m",
        "$__range": "1h",
        " or vector(0)": "",
    }
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in values.items():
                expression = expression.replace(name, value)
            assert "$" not in expression
            yield f"{panel['title']} ({panel['id']}{target['refId']})", expression
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield rule.get("record") or rule["alert"], rule["expr"]


def test_all_is_well(cluster: Cluster) -> None:
    assert cluster.command() == (0, "3 nodes: 6 interfaces, none without a reply\n")
    assert cluster.firing() == set()


def test_a_fault_fires_the_alert_in_time_and_its_mend_resolves_it(cluster: Cluster) -> None:
    lab, prometheus = cluster.labs["node-b"], cluster.prometheus
    pod = lab.pods[1]
    began = time.monotonic()
    with lab.broken("proxy_arp_off", pod):
        pod.ask(ASKED, settle=0)
        left = FIRES_S - (time.monotonic() - began)
        (alert,) = prometheus.wait(
            lambda: prometheus.alerts("ArpwhyGatewaySilent"), left, "the alert"
        )
        labels = {key: alert["labels"][key] for key in ("instance", "interface", "reason")}
        assert labels == {
            "instance": "node-b",
            "interface": pod.interface,
            "reason": "proxy_arp_off",
        }
        assert alert["annotations"]["runbook_url"].endswith("docs/causes.md#proxy_arp_off")
        assert pod.interface in alert["annotations"]["summary"]
        assert cluster.firing() == {"ArpwhyGatewaySilent"}
        assert cluster.value("sum(arpwhy_requests_total{verdict='unanswered'})") == ASKED

        code, text = cluster.command()
        head, columns, row, empty, total, mend = text.splitlines()
        assert code == 3
        assert head == "node-b: 1 of 2 interfaces gets no reply"
        assert columns.split() == ["interface", "reason", "for", "unanswered/5m", "pod"]
        assert re.fullmatch(rf"  {pod.interface}  proxy_arp_off  \d+s  {ASKED} {{14}}-", row), row
        assert (empty, total) == ("", "3 nodes: 6 interfaces, 1 without a reply")
        assert mend.startswith("The mend: arpwhy diagnose")
        code, found = cluster.object()
        (flagged,) = found["flagged"]
        assert code == 3
        assert flagged["for_s"] < FIRES_S + SCRAPE_S
        assert (flagged["node"], flagged["reason"]) == ("node-b", "proxy_arp_off")
        assert flagged["unanswered_5m"] == ASKED
        assert [(node["node"], node["flagged"]) for node in found["nodes"]] == [
            ("node-b", 1),  # the worst first
            ("node-a", 0),
            ("node-c", 0),
        ]

        # Every recording rule, every panel but the exporters that are down, and the one alert.
        asked = list(expressions())
        silent = {name for name, expression in asked if not prometheus.query(expression)}
        alerts = {name for name, _ in asked if name.startswith("Arpwhy")}
        assert silent == {*alerts, "Exporters down (4A)"} - {"ArpwhyGatewaySilent"}
    pod.ask(MENDED, settle=0)
    prometheus.wait(lambda: cluster.firing() == set(), FIRES_S, "its end")
    assert cluster.command() == (0, "3 nodes: 6 interfaces, none without a reply\n")
    assert cluster.value("sum(arpwhy_requests_total{verdict='unanswered'})") == ASKED
    assert cluster.value("sum(arpwhy_requests_total{verdict='answered'})") == MENDED


def test_an_exporter_that_is_killed_is_not_taken_for_a_healthy_node(cluster: Cluster) -> None:
    cluster.exporters["node-c"].process.kill()
    prometheus = cluster.prometheus
    (alert,) = prometheus.wait(
        lambda: prometheus.alerts("ArpwhyExporterDown", "pending"), FIRES_S, "the alert"
    )
    assert alert["labels"]["instance"] == "node-c"
    code, text = cluster.command()
    assert code == 3
    assert re.fullmatch(
        r"node-c: no answer from its exporter for \d+s: its state is unknown\n\n"
        r"3 nodes, 1 unknown: 4 interfaces, none without a reply\n",
        text,
    )
