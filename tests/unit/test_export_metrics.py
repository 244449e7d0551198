# SPDX-License-Identifier: Apache-2.0
"""``/metrics`` is the contract's table, in every format; promtool has nothing to complain of."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from tracer.causes import CAUSES
from tracer.events import (
    CauseFound,
    Event,
    LinkGone,
    LinkSeen,
    Lost,
    Neighbour,
    Request,
    Started,
    Verdict,
)
from tracer.export.metrics import Metrics
from tracer.export.response import Request as HttpRequest
from tracer.export.snapshot import Snapshot
from tracer.state import State

GATEWAY = "169.254.1.1"
SENDER = "192.168.156.177"
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5"
CONTRACT = {
    "arpwhy_requests_total": ("counter", {"interface", "verdict"}),
    "arpwhy_unanswered_requests_total": ("counter", {"reason"}),
    "arpwhy_reply_latency_seconds": ("histogram", set()),
    "arpwhy_interface_flagged": (
        "gauge",
        {"interface", "target", "reason", "namespace", "pod"},
    ),
    "arpwhy_interfaces": ("gauge", set()),
    "arpwhy_flagged_interfaces": ("gauge", set()),
    "arpwhy_neighbour_transitions_total": ("counter", {"state"}),
    "arpwhy_neighbour_failures_total": ("counter", {"interface"}),
    "arpwhy_lost_events_total": ("counter", set()),
    "arpwhy_skipped_runs_total": ("counter", set()),
    "arpwhy_build_info": ("gauge", {"version", "engine", "kernel"}),
}


class Node:
    """A state that is fed, and the metrics of it."""

    def __init__(self, *targets: str, pods: Any = lambda name: None) -> None:
        self.state = State()
        self.started = Started(1, "0.1.0", "fentry", "6.1.0", (), targets or (GATEWAY,))
        self.feed(self.started)
        self.metrics = Metrics(lambda: Snapshot.of(self.state, self.started, 9), pods)

    def feed(self, *events: Event) -> None:
        for event in events:
            self.state.feed(event)

    def pod(
        self,
        number: int,
        *verdicts: Verdict,
        name: str = "",
        netns: int = 1,
        target: str = GATEWAY,
        reason: str = "no_route",
    ) -> None:
        name = name or f"cali{number:011x}"
        self.feed(LinkSeen(2, netns, number, name))
        for verdict in verdicts:
            latency = 50_000 if verdict is Verdict.ANSWERED else None
            self.feed(
                Request(
                    3, netns, number, number + 1000, name, SENDER, "aa", target, verdict, latency
                )
            )
        if Verdict.UNANSWERED in verdicts:
            self.feed(CauseFound(4, netns, number, target, reason, "observed", "mend it"))

    def body(self, **headers: str) -> bytes:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.metrics.respond(HttpRequest("GET", "/metrics", headers=names))
        assert response.status == 200
        return response.body

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Refuses two samples of one series."""
        found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(self.body().decode()):
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in found
                found[key] = sample.value
        return found

    def of(self, name: str) -> dict[tuple[str, ...], float]:
        """Values of the series by their labels' values, the labels in their alphabet's order."""
        return {
            tuple(value for _, value in sorted(labels)): value
            for (each, labels), value in self.samples().items()
            if each == name
        }


def promtool(text: bytes) -> str:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing (Debian: prometheus)")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert done.returncode in (0, 3), done.stderr.decode()  # 3: complaints
    return (done.stdout + done.stderr).decode()


def test_names_types_and_labels_are_the_contracts() -> None:
    node = Node()
    node.pod(7, Verdict.ANSWERED, Verdict.UNANSWERED)
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(node.body().decode()):
        suffix = "_total" if family.type == "counter" else ""
        name = family.name + suffix
        labels = {label for each in family.samples for label in each.labels} - {"le"}
        if not name.startswith("process_"):
            found[name] = (family.type, labels)
        assert family.documentation
    assert found == CONTRACT


def test_every_reason_verdict_and_state_is_there_from_the_start() -> None:
    node = Node()
    reasons = {(cause.name,): 0.0 for cause in CAUSES}
    assert node.of("arpwhy_unanswered_requests_total") == reasons
    states = node.of("arpwhy_neighbour_transitions_total")
    assert set(states.values()) == {0.0}
    assert {("reachable",), ("failed",), ("none",)} < set(states)
    node.pod(7, name="cali7")
    verdicts = ("answered", "unanswered", "deferred", "ignored")
    assert node.of("arpwhy_requests_total") == {("cali7", each): 0.0 for each in verdicts}
    assert node.of("arpwhy_neighbour_failures_total") == {("cali7",): 0.0}
    assert node.of("arpwhy_interfaces") == {(): 1.0}
    assert node.of("arpwhy_build_info") == {("fentry", "6.1.0", "0.1.0"): 1.0}


def test_numbers_are_those_of_the_state() -> None:
    node = Node()
    node.pod(7, *[Verdict.ANSWERED] * 5, *[Verdict.UNANSWERED] * 3, name="cali7")
    node.feed(
        Neighbour(5, 1, 7, 1007, "cali7", SENDER, "probe", "failed", None),
        Lost(6, 11, 4),
    )
    assert node.of("arpwhy_requests_total")["cali7", "answered"] == 5
    assert node.of("arpwhy_requests_total")["cali7", "unanswered"] == 3
    assert node.of("arpwhy_unanswered_requests_total")["no_route",] == 3
    assert node.of("arpwhy_interface_flagged") == {("cali7", "", "", "no_route", GATEWAY): 1}
    assert node.of("arpwhy_flagged_interfaces") == {(): 1}
    assert node.of("arpwhy_neighbour_failures_total") == {("cali7",): 1}
    assert node.of("arpwhy_lost_events_total") == {(): 11}
    assert node.of("arpwhy_skipped_runs_total") == {(): 4}
    buckets = node.of("arpwhy_reply_latency_seconds_bucket")
    assert (buckets["1.6e-05",], buckets["6.4e-05",], buckets["+Inf",]) == (0, 5, 5)
    assert node.of("arpwhy_reply_latency_seconds_sum")[()] == pytest.approx(5 * 50e-6)


def test_series_of_an_interface_go_with_it() -> None:
    node = Node()
    node.pod(7, Verdict.UNANSWERED, name="cali7")
    node.feed(LinkGone(5, 1, 7, "cali7"))
    assert "cali7" not in node.body().decode()
    assert node.of("arpwhy_unanswered_requests_total")["no_route",] == 1


def test_a_flags_pod_is_named() -> None:
    pods: Mapping[str, Mapping[str, str]] = {"cali7": {"namespace": "shop", "name": "web-0"}}
    node = Node(pods=pods.get)
    node.pod(7, Verdict.UNANSWERED, name="cali7")
    assert node.of("arpwhy_interface_flagged") == {
        ("cali7", "shop", "web-0", "no_route", GATEWAY): 1
    }


def test_with_any_target_no_label_is_an_address_of_a_packet() -> None:
    node = Node("any")
    for last in (1, 2, 3):
        node.pod(7, Verdict.UNANSWERED, name="cali7", target=f"10.0.0.{last}")
    assert node.of("arpwhy_interface_flagged") == {("cali7", "", "", "no_route", "any"): 1}
    assert not re.search(r"10\.0\.0|192\.168", node.body().decode())


def test_two_interfaces_of_a_name_are_one_series() -> None:
    node = Node()
    node.pod(7, Verdict.UNANSWERED, name="cali7")
    node.pod(7, Verdict.UNANSWERED, Verdict.ANSWERED, name="cali7", netns=2)
    assert node.of("arpwhy_requests_total")["cali7", "unanswered"] == 2
    assert node.of("arpwhy_requests_total")["cali7", "answered"] == 1
    assert node.of("arpwhy_interface_flagged") == {("cali7", "", "", "no_route", GATEWAY): 1}
    assert node.of("arpwhy_interfaces") == {(): 2}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_no_name_breaks_the_format(accept: str) -> None:
    node = Node()
    names = ['cali"\\\n', "cali\udcff", "cali\x1b[31m", "cali{}=,"]
    for number, name in enumerate(names, 7):
        node.pod(number, Verdict.UNANSWERED, name=name)
    text = node.body(accept=accept).decode()
    parse = openmetrics_families if accept else text_string_to_metric_families
    found = {
        sample.labels["interface"]
        for family in parse(text)
        for sample in family.samples
        if "interface" in sample.labels
    }
    assert found == {names[0], "cali\\xff", names[2], names[3]}


def test_formats() -> None:
    node = Node()
    node.pod(7, Verdict.ANSWERED)

    def asked(**headers: str) -> tuple[Mapping[str, str], bytes]:
        response = node.metrics.respond(HttpRequest("GET", "/metrics", headers=headers))
        return response.headers, response.body

    headers, body = asked()
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    headers, body = asked(accept=OPENMETRICS)
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0;")
    assert body.endswith(b"# EOF\n")
    assert b"_created" not in body
    assert b" # {" not in body  # an exemplar
    headers, packed = asked(accept=OPENMETRICS, **{"accept-encoding": "deflate, gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert b"arpwhy_requests_total" in gzip.decompress(packed)


@pytest.mark.parametrize("count", [0, 1000])
def test_promtool_has_nothing_to_complain_of_and_a_scrape_is_small(count: int) -> None:
    node = Node()
    for number in range(count):
        node.pod(number + 7, Verdict.ANSWERED, Verdict.UNANSWERED)
    body = node.body()
    assert promtool(body) == ""
    assert body.count(b"arpwhy_interface_flagged{") == count
    assert len(body) < 2_000_000
    for each in openmetrics_families(node.body(accept=OPENMETRICS).decode()):
        assert each.documentation


def test_promtool_does_complain() -> None:
    assert "no help text" in promtool(b"# TYPE arpwhy_interfaces gauge\narpwhy_interfaces 1\n")
