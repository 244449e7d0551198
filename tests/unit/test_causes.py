# SPDX-License-Identifier: Apache-2.0
"""Which looks establish which cause. That the kernel looks like this: tests/kernel."""

from __future__ import annotations

import ast
import errno
from dataclasses import replace
from pathlib import Path

import pytest

from tracer.causes import CAUSES, establish
from tracer.node import sysctl
from tracer.node.look import Look, RouteAnswer

UNICAST = RouteAnswer(
    ok=True, out_interface="eth0", out_ifindex=2, type="unicast", table=254, gateway="192.0.2.1"
)
HEALTHY = Look(
    netns=4026531833,
    ifindex=7,
    interface="calic577831ffc7",
    sender_ip="192.168.156.177",
    target_ip="169.254.1.1",
    proxy_arp_interface=1,
    proxy_arp_all=0,
    forwarding=1,
    ip_forward=1,
    rp_filter_interface=1,
    rp_filter_all=0,
    route=UNICAST,
)


def refused(number: int) -> RouteAnswer:
    return RouteAnswer(ok=False, errno=number)


def reason(look: Look) -> str:
    return establish(look, {}).reason


def test_a_healthy_node_establishes_nothing() -> None:
    assert reason(HEALTHY) == "unknown"


@pytest.mark.parametrize(
    ("of_interface", "of_all", "expected"),
    [
        (0, 0, "proxy_arp_off"),
        (1, 0, "unknown"),
        (0, 1, "unknown"),
        (None, 0, "unknown"),
        (0, None, "unknown"),
    ],
)
def test_proxy_arp_is_the_interfaces_or_alls(
    of_interface: int | None, of_all: int | None, expected: str
) -> None:
    look = replace(HEALTHY, proxy_arp_interface=of_interface, proxy_arp_all=of_all)
    assert reason(look) == expected


@pytest.mark.parametrize(
    "route",
    [
        None,
        refused(errno.EXDEV),
        replace(UNICAST, out_ifindex=7, out_interface="calic577831ffc7"),
        replace(UNICAST, type="local"),
        replace(UNICAST, type="broadcast"),
    ],
)
def test_proxy_arp_is_not_blamed_where_the_kernel_never_asks_for_it(
    route: RouteAnswer | None,
) -> None:
    assert reason(replace(HEALTHY, proxy_arp_interface=0, route=route)) == "unknown"


def test_forwarding_is_the_interfaces_own() -> None:
    assert reason(replace(HEALTHY, forwarding=0)) == "forwarding_off"
    assert reason(replace(HEALTHY, ip_forward=0)) == "unknown"
    assert reason(replace(HEALTHY, forwarding=None)) == "unknown"


def test_forwarding_does_not_matter_for_the_nodes_own_address() -> None:
    look = replace(HEALTHY, forwarding=0, route=replace(UNICAST, type="local"))
    assert reason(look) == "unknown"


def test_forwarding_is_named_first() -> None:
    look = replace(HEALTHY, forwarding=0, proxy_arp_interface=0, route=refused(errno.EHOSTUNREACH))
    assert reason(look) == "forwarding_off"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENETUNREACH, "no_route"),
        (errno.EHOSTUNREACH, "no_route"),
        (errno.EACCES, "no_route"),
        (errno.EINVAL, "unknown"),
        (errno.EXDEV, "unknown"),
        (errno.ENODEV, "unknown"),
    ],
)
def test_what_a_failed_lookup_means(number: int, expected: str) -> None:
    assert reason(replace(HEALTHY, route=refused(number))) == expected


def test_no_route_is_named_before_proxy_arp() -> None:
    look = replace(HEALTHY, proxy_arp_interface=0, route=refused(errno.ENETUNREACH))
    assert reason(look) == "no_route"


@pytest.mark.parametrize(
    ("alone", "expected"),
    [
        (refused(errno.EINVAL), "no_route"),
        (UNICAST, "unknown"),
        (refused(errno.ENETUNREACH), "unknown"),
    ],
)
def test_invalid_argument_is_settled_by_the_second_question(
    alone: RouteAnswer, expected: str
) -> None:
    look = replace(HEALTHY, route=refused(errno.EINVAL), route_from_node=alone)
    assert reason(look) == expected


def test_unreachable_with_forwarding_unread_is_not_guessed() -> None:
    look = replace(HEALTHY, forwarding=None, route=refused(errno.EHOSTUNREACH))
    assert reason(look) == "unknown"


@pytest.mark.parametrize(
    ("look", "remedy"),
    [
        (
            replace(HEALTHY, proxy_arp_interface=0),
            "sysctl -w net.ipv4.conf.calic577831ffc7.proxy_arp=1",
        ),
        (
            replace(HEALTHY, forwarding=0),
            "sysctl -w net.ipv4.conf.calic577831ffc7.forwarding=1",
        ),
        (replace(HEALTHY, forwarding=0, ip_forward=0), "sysctl -w net.ipv4.ip_forward=1"),
        (
            replace(HEALTHY, route=refused(errno.ENETUNREACH)),
            "ip route add default via GATEWAY",
        ),
        (
            replace(
                HEALTHY,
                route=refused(errno.EHOSTUNREACH),
                refused_by="route unreachable default metric 5",
            ),
            "ip route del unreachable default metric 5",
        ),
        (
            replace(HEALTHY, route=refused(errno.EACCES), refused_by="rule prohibit pref 5"),
            "ip rule del prohibit pref 5",
        ),
        (
            replace(HEALTHY, route=refused(errno.EACCES)),
            "Remove the route or rule that refuses 169.254.1.1 "
            "(ip route show table all; ip rule), or add a route that covers it.",
        ),
        (
            replace(HEALTHY, proxy_arp_interface=0, netns_path="/run/netns/it's"),
            "nsenter --net='/run/netns/it'\"'\"'s' "
            "sysctl -w net.ipv4.conf.calic577831ffc7.proxy_arp=1",
        ),
    ],
)
def test_remedies_can_be_pasted(look: Look, remedy: str) -> None:
    assert establish(look, {}).remedy == remedy


@pytest.mark.parametrize(
    ("interface", "setting"),
    [
        ("cali1", "net.ipv4.conf.cali1.proxy_arp=1"),
        ("eth0.100", "net.ipv4.conf.eth0/100.proxy_arp=1"),
        ("a;reboot", "'net.ipv4.conf.a;reboot.proxy_arp=1'"),
        ("$(x)", "'net.ipv4.conf.$(x).proxy_arp=1'"),
    ],
)
def test_names_in_sysctl_settings(interface: str, setting: str) -> None:
    assert sysctl.setting(interface, "proxy_arp", 1) == setting


def test_evidence_is_all_that_was_read_and_what_decided() -> None:
    look = replace(
        HEALTHY,
        proxy_arp_interface=0,
        rp_filter_all=None,
        failures=("/proc/sys/net/ipv4/conf/all/rp_filter: Permission denied",),
    )
    finding = establish(look, {})
    assert finding.confidence == "inferred"
    assert finding.evidence == {
        "proxy_arp": 0,
        "proxy_arp_all": 0,
        "forwarding": 1,
        "ip_forward": 1,
        "rp_filter": 1,
        "route_question": ("ip route get 169.254.1.1 from 192.168.156.177 iif calic577831ffc7"),
        "route_ok": True,
        "route_type": "unicast",
        "route_out": "eth0",
        "route_gateway": "192.0.2.1",
        "route_table": 254,
        "unread": "/proc/sys/net/ipv4/conf/all/rp_filter: Permission denied",
        "because": (
            "net.ipv4.conf.calic577831ffc7.proxy_arp and net.ipv4.conf.all.proxy_arp are 0"
        ),
    }


def test_evidence_of_a_refusal_names_the_error() -> None:
    look = replace(HEALTHY, route=refused(errno.EINVAL), route_from_node=refused(errno.EINVAL))
    evidence = establish(look, {}).evidence
    assert evidence["route_ok"] is False
    assert evidence["route_error"] == "EINVAL"
    assert evidence["route_from_node_error"] == "EINVAL"


def test_a_look_that_read_nothing_says_so() -> None:
    look = Look(netns=1, ifindex=7, interface="cali1", sender_ip="", target_ip="169.254.1.1")
    look = replace(look, failures=("network namespace 1: gone",))
    finding = establish(look, {})
    assert finding.reason == "unknown"
    assert finding.evidence == {
        "unread": "network namespace 1: gone",
        "because": "no cause is established, and not everything could be read",
    }


def test_causes_have_one_name_each_and_unknown_comes_last() -> None:
    names = [cause.name for cause in CAUSES]
    assert names == ["forwarding_off", "no_route", "proxy_arp_off", "unknown"]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_each_cause_is_shown_by_a_test_that_exists(cause: object) -> None:
    path, _, name = cause.shown_by.partition("::")  # type: ignore[attr-defined]
    tree = ast.parse((Path(__file__).parents[2] / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_what_was_seen_to_be_dropped_was_not_refused_by_the_configuration() -> None:
    look = replace(HEALTHY, forwarding=0)
    assert establish(look, {}).reason == "forwarding_off"
    assert establish(look, {"dropped": "request"}).reason == "unknown"
