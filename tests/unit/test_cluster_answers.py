# SPDX-License-Identifier: Apache-2.0
"""What arpwhy cluster makes of Prometheus's answers. That the questions are right, a real
Prometheus says: tests/kernel/test_cluster.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tracer.cli.cluster import command
from tracer.cluster import record
from tracer.cluster.prometheus import Series
from tracer.cluster.questions import ask
from tracer.cluster.text import Text
from tracer.cluster.view import Cluster, State

NOW = 1_800_000_000.0


class Answers:
    """Answers by what the question is about; ``over`` by steps back from now."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.interfaces: list[Series] = []
        self.up: list[Series] = []
        self.flags: list[Series] = []
        self.unanswered: list[Series] = []
        self.steps: dict[str, range] = {}  # interface or instance: steps back at which it was so
        self.steps_asked: list[float] = []

    def now(self) -> float:
        return NOW

    def at(self, query: str, ts: float) -> list[Series]:
        assert ts == NOW
        if "min_over_time(" in query:
            return self.unanswered
        if "arpwhy_interface_flagged" in query:
            return self.flags
        return self.up if query.startswith("up") else self.interfaces

    def over(self, query: str, start: float, end: float, step_s: float) -> list[Series]:
        assert end == NOW
        self.steps_asked.append(step_s)
        label, known = ("instance", self.up) if "up{" in query else ("interface", self.flags)
        return [
            Series(
                each.labels,
                tuple(
                    (end - back * step_s, 1.0)
                    for back in reversed(self.steps.get(each.labels[label], range(1)))
                    if end - back * step_s >= start
                ),
            )
            for each in known
        ]

    def node(self, name: str, up: bool = True, interfaces: int | None = 10, job: str = "arpwhy"):
        labels = {"instance": name, "job": job}
        self.up.append(Series(labels, ((NOW, float(up)),)))
        if up and interfaces is not None:
            self.interfaces.append(Series({"instance": name}, ((NOW, float(interfaces)),)))

    def flag(self, node: str, interface: str, reason: str = "no_route", **labels: str) -> None:
        found = {"instance": node, "interface": interface, "reason": reason}
        self.flags.append(Series({"target": "169.254.1.1", **found, **labels}, ((NOW, 1.0),)))

    def cluster(self) -> Cluster:
        found = ask(self, "")  # type: ignore[arg-type]
        assert found is not None
        return found


def text(cluster: Cluster) -> list[str]:
    return Text().whole(cluster).splitlines()


def test_a_prometheus_without_arpwhy_is_not_a_healthy_cluster() -> None:
    assert ask(Answers(), "") is None  # type: ignore[arg-type]


def test_a_healthy_cluster() -> None:
    answers = Answers()
    answers.node("node-a")
    answers.node("node-b", interfaces=1)
    assert text(answers.cluster()) == ["2 nodes: 11 interfaces, none without a reply"]
    assert answers.steps_asked == []


def test_what_is_shown_of_flags_and_of_nodes_that_are_not_known() -> None:
    answers = Answers()
    for name in ("node-a", "node-b"):
        answers.node(name)
    answers.node("node-c", up=False)
    answers.node("node-d", interfaces=None)
    answers.flag("node-b", "cali1", "proxy_arp_off", namespace="shop", pod="web-1")
    answers.flag("node-b", "cali2", "proxy_arp_off")
    answers.flag("node-b", "cali3", "source_rejected", exported_namespace="x", exported_pod="y")
    answers.flag("node-a", "cali4")
    answers.unanswered = [
        Series({"instance": "node-b", "interface": "cali1"}, ((NOW, 12.6),)),
        Series({"instance": "node-b", "interface": "cali3"}, ((NOW, float("nan")),)),
    ]
    answers.steps = {"cali2": range(13), "cali3": range(50), "cali4": range(5000)}
    answers.steps["node-c"] = range(3)
    assert text(answers.cluster()) == [
        "node-b: 3 of 10 interfaces get no reply",
        "  interface  reason           for    unanswered/5m  pod",
        "  cali2      proxy_arp_off    1m00s  -              -",
        "  cali1      proxy_arp_off    0s     13             shop/web-1",
        "  cali3      source_rejected  4m05s  -              x/y",
        "",
        "node-a: 1 of 10 interfaces gets no reply",
        "  interface  reason    for     unanswered/5m  pod",
        "  cali4      no_route  >1d00h  -              -",
        "",
        "node-c: no answer from its exporter for 10s: its state is unknown",
        "node-d: what answers there is no arpwhy exporter: its state is unknown",
        "",
        "4 nodes, 2 unknown: 20 interfaces, 4 without a reply",
        "The mend: arpwhy diagnose on the node; arpwhy explain REASON.",
    ]


def test_a_gap_ends_the_time_that_is_counted() -> None:
    answers = Answers()
    answers.node("node-a")
    answers.flag("node-a", "cali1")
    answers.steps = {"cali1": range(0, 100)}
    whole = answers.cluster().nodes[0].flagged[0].since
    assert (whole.ts, whole.longer) == (NOW - 99 * 5, False)
    answers.over = lambda query, start, end, step: [  # type: ignore[method-assign]
        Series(
            answers.flags[0].labels, tuple((end - back * 5, 1.0) for back in (90, 89, 3, 2, 1, 0))
        )
    ]
    since = answers.cluster().nodes[0].flagged[0].since
    assert (since.ts, since.longer) == (NOW - 15, False)


def test_the_coarse_look_is_for_what_began_before_the_fine_one() -> None:
    answers = Answers()
    answers.node("node-a")
    answers.flag("node-a", "cali1")
    answers.cluster()
    assert answers.steps_asked == [5.0]
    answers.steps = {"cali1": range(200)}
    since = answers.cluster().nodes[0].flagged[0].since
    assert answers.steps_asked == [5.0, 5.0, 300.0]
    assert (since.ts, since.longer) == (NOW - 199 * 300, False)


def test_many_alike_are_counted_and_all_are_in_the_json() -> None:
    answers = Answers()
    answers.node("node-a", interfaces=100)
    answers.node("node-b")
    answers.flag("node-b", "cali99", "malformed")
    for number in range(11):
        answers.flag("node-a", f"cali{number:02}")
    lines = text(answers.cluster())
    assert lines[0] == "node-a: 11 of 100 interfaces get no reply"
    assert [line.split()[0] for line in lines[2:7]] == [f"cali{n:02}" for n in range(5)]
    assert lines[7] == "  ... and 6 more: no_route"
    assert lines[9] == "node-b: 1 of 10 interfaces gets no reply"
    found = json.loads(record.line(answers.cluster(), "http://p"))
    assert len(found["flagged"]) == 12


def test_another_job_of_the_same_name_does_not_hide_a_node_that_is_down() -> None:
    answers = Answers()
    answers.node("node-a", up=False)
    answers.node("node-a", up=False, job="arpwhy-old")
    assert [node.state for node in answers.cluster().nodes] == [State.DOWN]
    answers.node("node-a", up=True, job="arpwhy-new")
    assert [node.state for node in answers.cluster().nodes] == [State.UP]


def test_an_interface_with_two_targets_is_one_and_both_are_shown() -> None:
    answers = Answers()
    answers.node("node-a", interfaces=1)
    answers.flag("node-a", "cali1")
    answers.flag("node-a", "cali1", target="10.0.0.1")
    lines = text(answers.cluster())
    assert lines[0] == "node-a: 1 of 1 interface gets no reply"
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["interface", "target"],
        ["cali1", "169.254.1.1"],
        ["cali1", "10.0.0.1"],
    ]
    assert lines[-2] == "1 node: 1 interface, 1 without a reply"


def test_clusters_are_told_apart() -> None:
    answers = Answers()
    for name in ("east", "west"):
        answers.up.append(
            Series({"cluster": name, "instance": "n", "job": "arpwhy"}, ((NOW, 0.0),))
        )
    assert [line.partition(":")[0] for line in text(answers.cluster())[:2]] == ["east/n", "west/n"]


def test_names_cannot_act_on_the_terminal() -> None:
    answers = Answers()
    answers.node("node\x1b[2J")
    answers.flag("node\x1b[2J", "cali\x1b]0;x\x07", "no\nroute", namespace="a\x9b", pod="b\u202e")
    shown = Text().whole(answers.cluster())
    assert all(line.isprintable() for line in shown.splitlines())
    assert "node\\x1b[2J: 1 of 10" in shown


def test_with_a_warning_of_prometheus_not_all_is_well() -> None:
    answers = Answers()
    answers.node("node-a")
    assert answers.cluster().well
    answers.warnings = ["partial response"]
    assert not answers.cluster().well
    assert json.loads(record.line(answers.cluster(), "u"))["warnings"] == ["partial response"]


def test_colour_only_where_it_is_asked_for() -> None:
    answers = Answers()
    answers.node("node-a", up=False)
    assert "\x1b" not in Text().whole(answers.cluster())
    assert "\x1b[33m" in Text(colour=True).whole(answers.cluster())


def test_the_object_for_programs() -> None:
    answers = Answers()
    answers.node("node-a")
    answers.node("node-c", up=False)
    answers.flag("node-a", "cali1", namespace="shop", pod="web-1")
    answers.steps = {"cali1": range(3)}
    assert json.loads(record.line(answers.cluster(), "http://p:9090")) == {
        "type": "cluster",
        "ts": "2027-01-15T08:00:00.000000000Z",
        "prometheus": "http://p:9090",
        "warnings": [],
        "flagged": [
            {
                "cluster": None,
                "node": "node-a",
                "interface": "cali1",
                "target_ip": "169.254.1.1",
                "reason": "no_route",
                "pod": {"namespace": "shop", "name": "web-1"},
                "since": "2027-01-15T07:59:50.000000000Z",
                "for_s": 10.0,
                "longer": False,
                "unanswered_5m": None,
            }
        ],
        "nodes": [
            {
                "cluster": None,
                "node": "node-a",
                "state": "up",
                "interfaces": 10,
                "flagged": 1,
                "since": None,
                "for_s": None,
                "longer": None,
            },
            {
                "cluster": None,
                "node": "node-c",
                "state": "down",
                "interfaces": None,
                "flagged": None,
                "since": "2027-01-15T08:00:00.000000000Z",
                "for_s": 0.0,
                "longer": False,
            },
        ],
    }


def test_the_page_has_every_field_and_option() -> None:
    page = (Path(__file__).parents[2] / "docs/cluster.md").read_text(encoding="utf-8")
    answers = Answers()
    answers.node("node-a")
    answers.flag("node-a", "cali1")
    found = json.loads(record.line(answers.cluster(), "u"))
    fields = {*found, *found["flagged"][0], *found["nodes"][0], *State}
    options = {option for each in command.params for option in each.opts}
    assert {each for each in fields if f"`{each}`" not in page} == set()
    assert {each for each in options if not re.search(rf"`{each}[` ]", page)} == set()
