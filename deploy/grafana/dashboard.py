# SPDX-License-Identifier: Apache-2.0
"""Writes arpwhy.json, the Grafana dashboard: the cluster, its nodes, their interfaces.

``.venv/bin/python deploy/grafana/dashboard.py`` after a change; a test compares the two.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import (
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TableCellHeight,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FILE = Path(__file__).with_name("arpwhy.json")
UID = "arpwhy"

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
NODES = 'instance=~"$instance"'
INTERFACES = f'{NODES},interface=~"$interface"'
EXPORTERS = f'job=~".*arpwhy.*",{NODES}'

GREEN, ORANGE, RED = "green", "orange", "red"
Panel = stat.Panel | table.Panel | timeseries.Panel | heatmap.Panel | statetimeline.Panel


def query(expression: str, legend: str = "") -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id("A").expr(expression).legend_format(legend).range()


def now(expression: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id("A").expr(expression).instant()


def rate(metric: str, by: str, selector: str = NODES) -> str:
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def number(
    title: str, about: str, asked: prometheus.Dataquery, *, bad: str | None = None
) -> stat.Panel:
    """One number; ``bad`` is its colour unless it is 0."""
    steps = [Threshold(value=None, color=GREEN)]
    if bad is not None:
        steps.append(Threshold(value=1, color=bad))
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .with_target(asked)
        .thresholds(board.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .color_mode(BigValueColorMode.BACKGROUND if bad else BigValueColorMode.NONE)
        .graph_mode(BigValueGraphMode.AREA)
        .decimals(0)
        .height(4)
    )


def lines(title: str, about: str, unit: str, *queries: prometheus.Dataquery) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(10)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.RIGHT)
            .calcs(["lastNotNull", "max"])
            .show_legend(True)
        )
        .height(8)
        .span(12)
    )
    for letter, each in zip("ABC", queries, strict=False):
        panel.with_target(each.ref_id(letter))
    return panel


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    stacking = common.StackingConfig().mode(StackingMode.NORMAL).group("A")
    return panel.draw_style(GraphDrawStyle.LINE).fill_opacity(60).stacking(stacking)


def columns(names: dict[str, str]) -> DataTransformerConfig:
    """Only these labels of a table, in this order, under these names."""
    options = {"include": {"names": list(names)}}
    return DataTransformerConfig(id_val="filterFieldsByName", options=options)


def headed(names: dict[str, str]) -> DataTransformerConfig:
    order = {name: number for number, name in enumerate(names)}
    options = {"indexByName": order, "renameByName": names}
    return DataTransformerConfig(id_val="organize", options=options)


def listed(
    title: str, about: str, expression: str, names: dict[str, str], none: str
) -> table.Panel:
    return (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .with_target(now(expression).format(PromQueryFormat.TABLE))
        .with_transformation(columns(names))
        .with_transformation(headed(names))
        .no_value(none)
        .cell_height(TableCellHeight.SM)
    )


def cluster() -> list[Panel]:
    flagged = f"arpwhy_interface_flagged{{{NODES}}}"
    here = f"/d/{UID}/?${{datasource:queryparam}}&${{__url_time_range}}"
    to_node = f"{here}&var-instance=${{__data.fields.node}}"
    to_interface = f"{to_node}&var-interface=${{__data.fields.interface}}"
    silent = (
        listed(
            "Interfaces without a reply",
            "Pods that reach nothing, because the node does not answer for their gateway. "
            "On the node, arpwhy diagnose names the command that fixes it.",
            f"arpwhy_interface_flagged{{{INTERFACES}}}",
            {
                "instance": "node",
                "interface": "interface",
                "reason": "reason",
                "namespace": "namespace",
                "pod": "pod",
                "target": "target",
            },
            "no interface is flagged",
        )
        .override_by_name("node", [link("All of this node", to_node)])
        .override_by_name("interface", [link("All of this interface", to_interface)])
        .height(9)
        .span(14)
    )
    exporters = (
        statetimeline.Panel()
        .title("Exporters")
        .description("Of a node whose exporter is down nothing is known.")
        .datasource(SOURCE)
        .with_target(query(f"max by (instance) (up{{{EXPORTERS}}})", "{{instance}}"))
        .color_scheme(board.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .thresholds(
            board.ThresholdsConfig()
            .mode(ThresholdsMode.ABSOLUTE)
            .steps([Threshold(value=None, color=RED), Threshold(value=1, color=GREEN)])
        )
        .show_value(VisibilityMode.NEVER)
        .mappings([named("0", "down", RED), named("1", "up", GREEN)])
        .height(9)
        .span(10)
    )
    return [
        number(
            "Interfaces without a reply",
            "How many are flagged now.",
            query(f"count({flagged}) or vector(0)"),
            bad=RED,
        ).span(5),
        number(
            "Nodes with such interfaces",
            "How many nodes have one.",
            query(f"count(count by (instance) ({flagged})) or vector(0)"),
            bad=RED,
        ).span(5),
        number(
            "Exporters down",
            "Of their nodes nothing is known.",
            query(f"count(up{{{EXPORTERS}}} == 0) or vector(0)"),
            bad=ORANGE,
        ).span(5),
        number(
            "Interfaces watched", "By all exporters.", query(f"sum(arpwhy_interfaces{{{NODES}}})")
        ).span(5),
        number(
            "Events lost",
            "In the time shown. Counters stay exact.",
            now(f"sum(increase(arpwhy_lost_events_total{{{NODES}}}[$__range]))"),
            bad=ORANGE,
        ).span(4),
        silent,
        exporters,
        stacked(
            lines(
                "Flagged interfaces by reason",
                "A gap where an exporter was down is not a recovery.",
                "short",
                query(f"count by (reason) ({flagged})", "{{reason}}"),
            ).decimals(0)
        ),
        stacked(
            lines(
                "Unanswered requests by reason",
                "Requests a second.",
                "reqps",
                query(rate("arpwhy_unanswered_requests_total", "reason"), "{{reason}}"),
            )
        ),
    ]


def node() -> list[Panel]:
    requests = "arpwhy_requests_total"
    unanswered = rate(requests, "instance", f'{NODES},verdict="unanswered"')
    judged = rate(requests, "instance", f'{NODES},verdict=~"answered|unanswered"')
    buckets = rate("arpwhy_reply_latency_seconds_bucket", "le")
    latency = (
        heatmap.Panel()
        .title("Reply latency")
        .description("From the request to the node's reply, all nodes chosen together.")
        .datasource(SOURCE)
        .with_target(query(buckets, "{{le}}").format(PromQueryFormat.HEATMAP))
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .color(heatmap.HeatmapColorOptions().scheme("Oranges").steps(64))
        .height(8)
        .span(12)
    )
    return [
        stacked(
            lines(
                "Requests by verdict",
                "Requests a second, of the nodes chosen.",
                "reqps",
                query(rate(requests, "verdict"), "{{verdict}}"),
            )
        ),
        lines(
            "Share of requests without a reply",
            "A pod without a gateway asks once a second, a healthy one seldom: one broken pod "
            "is much of a node's requests.",
            "percentunit",
            query(f"{unanswered} / {judged}", "{{instance}}"),
        ).max(1),
        latency,
        lines(
            "Reply latency, quantiles",
            "Microseconds, unless proxy_delay makes replies wait.",
            "s",
            *(query(f"histogram_quantile({part}, {buckets})", f"p{part[2:]}") for part in PARTS),
        ),
        lines(
            "Neighbours by the state they enter",
            "The node's neighbour entries for pods: changes a second.",
            "ops",
            query(rate("arpwhy_neighbour_transitions_total", "state"), "{{state}}"),
        ),
        lines(
            "Events lost",
            "Events a second that the kernel side had to drop.",
            "ops",
            query(rate("arpwhy_lost_events_total", "instance"), "{{instance}}"),
        ),
        listed(
            "What runs where",
            "Version of arpwhy, its engine and the node's kernel.",
            f"arpwhy_build_info{{{NODES}}}",
            {"instance": "node", "version": "version", "engine": "engine", "kernel": "kernel"},
            "no exporter",
        )
        .height(7)
        .span(24),
    ]


PARTS = ("0.50", "0.99")


def interface() -> list[Panel]:
    by = "instance, interface"
    legend = "{{instance}} {{interface}}"
    unanswered = rate("arpwhy_requests_total", by, f'{INTERFACES},verdict="unanswered"')
    failures = rate("arpwhy_neighbour_failures_total", by, INTERFACES)
    return [
        lines(
            "Requests, the ten that ask most",
            "Requests a second, whatever the verdict.",
            "reqps",
            query(f"topk(10, {rate('arpwhy_requests_total', by, INTERFACES)})", legend),
        ),
        lines(
            "Unanswered requests, the ten with most",
            "Requests a second.",
            "reqps",
            query(f"topk(10, {unanswered})", legend),
        ),
        lines(
            "Neighbour failures, the ten with most",
            "How often a second the pod behind the interface did not answer the node.",
            "ops",
            query(f"topk(10, {failures})", legend),
        ).span(24),
    ]


def link(title: str, url: str) -> DynamicConfigValue:
    return DynamicConfigValue(id_val="links", value=[{"title": title, "url": url}])


def named(value: str, text: str, color: str) -> ValueMap:
    return ValueMap(options={value: ValueMappingResult(text=text, color=color)})


def variable(name: str, label: str, values: str) -> board.QueryVariable:
    return (
        board.QueryVariable(name)
        .label(label)
        .query(values)
        .datasource(SOURCE)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def dashboard() -> str:
    """The JSON that Grafana imports."""
    made = (
        board.Dashboard("arpwhy: why pods' gateways do not answer")
        .uid(UID)
        .description("ARP requests of Calico's pods for their gateway, as the kernel judged them.")
        .tags(["arpwhy", "calico", "arp"])
        .time("now-1h", "now")
        .refresh("10s")
        .timezone("browser")
        .with_variable(
            board.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
        .with_variable(variable("instance", "Node", "label_values(arpwhy_build_info, instance)"))
        .with_variable(
            variable(
                "interface",
                "Interface",
                f"label_values(arpwhy_requests_total{{{NODES}}}, interface)",
            )
        )
    )
    rows = {"Cluster": cluster(), "Node: $instance": node(), "Interface: $interface": interface()}
    for title, panels in rows.items():
        made.with_row(board.Row(title))
        for panel in panels:
            made.with_panel(panel)
    built: Any = made.build()
    for number, panel in enumerate(built.panels, 1):
        panel.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(dashboard(), encoding="utf-8")
