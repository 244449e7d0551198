# SPDX-License-Identifier: Apache-2.0
"""A survey, judged and shown. What the kernel says: tests/kernel/test_diagnose.py."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from typing import Any

import pytest
from looks import LOCAL, POD, UNICAST, WHOLE, refused

from tracer.causes import CAUSES
from tracer.causes.conditions import CONDITIONS
from tracer.diagnose import Diagnosis, Found, diagnose, record
from tracer.diagnose.conditions import State
from tracer.diagnose.text import Text
from tracer.diagnose.watch import difference
from tracer.node.look import Look
from tracer.node.peer import Peer
from tracer.node.survey import Survey, Surveyed

CALI = WHOLE.interface
NFT, QUEUE = "nft netdev t c", "tc qdisc pfifo"
OTHER_MAC = "02:00:00:00:00:01"
NO_ROUTE = {"route": refused(errno.ENETUNREACH), "route_from_node": refused(errno.ENETUNREACH)}


def peer(**entries: tuple[str, str]) -> Peer:
    return Peer("eth0", "9a:00:00:00:00:01", True, False, frozenset(), entries)


def surveyed(*looks: Look, **fields: Any) -> Surveyed:
    first = looks[0]
    found = {
        "interface": first.interface,
        "ifindex": first.ifindex,
        "looks": looks,
        "host_routes": tuple(look.sender_ip for look in looks if look.sender_ip),
        "led_to": True,
    }
    return Surveyed(**{**found, **fields})  # type: ignore[arg-type]


def judged(*interfaces: Surveyed, **fields: Any) -> Diagnosis:
    found = {"rp_filter_default": 1, "default_route": True, "ebpf": False}
    survey = Survey(1, "169.254.1.1", interfaces, **{**found, **fields})
    return diagnose(survey)


def one(look: Look, **fields: Any) -> Found:
    survey_fields = {
        key: fields.pop(key)
        for key in ("rp_filter_default", "default_route", "ebpf")
        if key in fields
    }
    return judged(surveyed(look, **fields), **survey_fields).interfaces[0]


def states(found: Found) -> dict[str, str]:
    return {name: str(state) for name, state in found.conditions.items() if state != State.PASS}


# What a request's own frame decides is in nobody's configuration.
OF_THE_FRAME = {"not_addressed_to_us", "malformed", "reply_not_taken", "unknown"}


def test_each_cause_fails_one_condition() -> None:
    assert {cause.name for cause in CAUSES if cause.condition is None} == OF_THE_FRAME
    assert {cause.condition for cause in CAUSES} == {None, *CONDITIONS}


def test_healthy() -> None:
    found = one(WHOLE)
    assert (found.reason, found.problems, found.warnings, found.unread) == (None, (), (), ())
    assert states(found) == {}
    assert found.senders == ("192.168.156.177",)


@pytest.mark.parametrize(
    ("fields", "reason", "condition"),
    [
        ({"up": False}, "link_down", "link"),
        ({"noarp": True}, "arp_disabled", "link"),
        ({"arp_input": ("nft arp a b",), "arp_input_drops": "nft arp a b"}, "filtered_in", "in"),
        ({"ingress": (NFT,), "ingress_drops": NFT}, "dropped_before_arp", "in"),
        ({"arp_output": (NFT,), "arp_output_drops": NFT}, "filtered_out", "out"),
        ({"egress": (NFT,), "egress_drops": NFT}, "filtered_out", "out"),
        ({"egress": (QUEUE,), "egress_drops": QUEUE}, "reply_dropped", "out"),
        (NO_ROUTE, "no_route", "route"),
        ({"proxy_arp_interface": 0}, "proxy_arp_off", "proxy_arp"),
        ({"medium_id": -1}, "medium_id", "medium_id"),
        ({"route": replace(UNICAST, out_ifindex=POD)}, "route_same_interface", "other_interface"),
    ],
)
def test_what_fails_ends_the_row(fields: dict[str, Any], reason: str, condition: str) -> None:
    found = one(replace(WHOLE, **fields))
    assert found.reason == reason
    names = [each.name for each in CONDITIONS]
    after = names[names.index(condition) + 1 :]
    assert states(found) == {condition: "fail", **dict.fromkeys(after, "unreached")}


def test_all_that_hold_are_listed_in_the_kernels_order() -> None:
    found = one(replace(WHOLE, up=False, noarp=True, **NO_ROUTE))
    assert [problem.reason for problem in found.problems] == [
        "link_down",
        "arp_disabled",
        "no_route",
    ]
    assert found.reason == "link_down"


def test_the_same_problem_of_two_senders_is_one() -> None:
    other = replace(WHOLE, sender_ip="192.168.156.178")
    both = [replace(look, proxy_arp_interface=0) for look in (WHOLE, other)]
    found = judged(surveyed(*both)).interfaces[0]
    assert [problem.reason for problem in found.problems] == ["proxy_arp_off"]
    assert found.senders == ("192.168.156.177", "192.168.156.178")


def test_a_problem_of_the_second_sender_alone_is_one() -> None:
    second = replace(
        WHOLE,
        sender_ip="192.168.156.178",
        route=refused(errno.EXDEV),
        route_from_node=UNICAST,
        sender_route=UNICAST,
    )
    found = judged(surveyed(WHOLE, second)).interfaces[0]
    assert [(each.reason, each.look.sender_ip) for each in found.problems] == [
        ("source_rejected", "192.168.156.178")
    ]


UNKNOWN_SENDER = replace(
    WHOLE,
    sender_ip="",
    sender_route=None,
    route=refused(errno.EXDEV),
    route_from_node=UNICAST,
)


def test_to_whom_no_route_leads_rp_filter_lets_nothing_in() -> None:
    found = one(UNKNOWN_SENDER, host_routes=(), led_to=False)
    assert [problem.reason for problem in found.problems] == ["source_rejected"]
    remedy = found.problems[0].remedy
    assert f"ip route replace POD_ADDRESS/32 dev {CALI} scope link." in remedy.text
    assert remedy.kind == "advice"
    assert found.problems[0].look.sender_ip == ""
    assert found.warnings == ()


def test_an_unknown_sender_is_not_judged() -> None:
    """Some route leads there, but not to one host: nobody knows who asks."""
    found = one(UNKNOWN_SENDER, host_routes=())
    assert found.problems == ()
    assert found.conditions["source"] == State.UNREAD
    assert [warning.name for warning in found.warnings] == ["no_host_route"]


def test_whether_arp_filter_refuses_an_unknown_sender_is_not_known() -> None:
    """It asks for the way back to the sender, if the target is the node's own address."""
    look = replace(UNKNOWN_SENDER, route=LOCAL, route_from_node=None, target_owner="lo")
    look = replace(look, rp_filter_interface=0)
    assert "route" not in states(one(look, rp_filter_default=0))
    found = one(replace(look, arp_filter_all=1), rp_filter_default=0)
    assert states(found) == {"route": "unread", "source": "warning"}


def test_without_rp_filter_an_unknown_sender_does() -> None:
    look = replace(UNKNOWN_SENDER, route=UNICAST, route_from_node=None, rp_filter_interface=0)
    found = one(look, host_routes=(), led_to=False, rp_filter_default=0)
    assert found.problems == ()
    assert [warning.name for warning in found.warnings] == ["no_host_route"]
    assert states(found) == {"source": "warning"}


ADVICE = ""
DRIFTS: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    (
        {"route_localnet": 0},
        {},
        "route_localnet",
        f"sysctl -w net.ipv4.conf.{CALI}.route_localnet=1",
    ),
    (
        {"proxy_delay": 80},
        {},
        "proxy_delay",
        # Old kernels divide by a delay that becomes 0 under a request: no proxy meanwhile.
        f"sysctl -w net.ipv4.conf.{CALI}.proxy_arp=0 net.ipv4.neigh.{CALI}.proxy_delay=0"
        f" net.ipv4.conf.{CALI}.proxy_arp=1",
    ),
    ({"rp_filter_interface": 2}, {}, "rp_filter", f"sysctl -w net.ipv4.conf.{CALI}.rp_filter=1"),
    (
        {"mac": OTHER_MAC, "peer": peer()},
        {},
        "mac",
        f"ip link set dev {CALI} address ee:ee:ee:ee:ee:ee",
    ),
    ({"medium_id": 7}, {}, "medium_id", f"sysctl -w net.ipv4.conf.{CALI}.medium_id=0"),
    (
        {"proxy_arp_interface": 0, "proxy_arp_all": 1},
        {},
        "proxy_arp",
        f"sysctl -w net.ipv4.conf.{CALI}.proxy_arp=1",
    ),
    ({"rp_filter_interface": 0}, {}, "rp_filter", ADVICE),
    ({"xdp": "native"}, {}, "xdp", ADVICE),
    ({"ingress": ("tc filter bpf pref 7",)}, {}, "ingress", ADVICE),
    ({"egress": ("tc qdisc netem",)}, {}, "egress", ADVICE),
    ({"arp_input": ("nft arp t c",)}, {}, "arp_input", ADVICE),
    ({"arp_output": ("nft arp t c",)}, {}, "arp_output", ADVICE),
    ({}, {"host_routes": ()}, "no_host_route", ADVICE),
    ({}, {"default_route": False}, "no_default_route", ADVICE),
    ({"target_owner": "lo"}, {}, "target_is_local", ADVICE),
]


@pytest.mark.parametrize(("look", "fields", "name", "remedy"), DRIFTS, ids=str)
def test_drift_is_a_warning_and_no_problem(
    look: dict[str, Any], fields: dict[str, Any], name: str, remedy: str
) -> None:
    found = one(replace(WHOLE, **look), **fields)
    assert found.problems == ()
    assert [warning.name for warning in found.warnings] == [name]
    said = found.warnings[0].remedy
    if remedy == ADVICE:
        assert said.kind == "advice" and said.text.endswith(".")
    else:
        assert (said.kind, said.text) == ("command", remedy)
    assert CALI not in found.warnings[0].text  # the same for all, to be told once
    assert found.warnings[0].text.endswith(".")


@pytest.mark.parametrize(
    ("look", "fields"),
    [
        # Felix's own table.
        ({"arp_output": ("nft arp calico-arp calico-output",)}, {}),
        # Its eBPF dataplane, in which rp_filter is 0.
        ({"ingress": ("tc filter bpf pref 49152",), "egress": ("tcx prog 17",)}, {"ebpf": True}),
        ({"rp_filter_interface": 0}, {"ebpf": True}),
        # Calico sets no other interface's MAC.
        ({"interface": "tap1", "mac": "02:00:00:00:00:01"}, {}),
        ({"rp_filter_interface": 0}, {"rp_filter_default": None}),
    ],
)
def test_what_is_calicos_own_is_no_drift(look: dict[str, Any], fields: dict[str, Any]) -> None:
    assert one(replace(WHOLE, **look), **fields).warnings == ()


GATEWAY = "169.254.1.1"


@pytest.mark.parametrize("state", ["permanent", "stale"])
def test_a_pods_entry_that_is_wrong_is_a_warning(state: str) -> None:
    found = one(replace(WHOLE, peer=peer(**{GATEWAY: (state, OTHER_MAC)})), otherhost=7)
    (warning,) = found.warnings
    assert (found.problems, warning.name) == ((), "gateway_entry")
    for said in (OTHER_MAC, GATEWAY, state, "7 IP packets"):
        assert said in warning.whole
    assert warning.remedy.kind == "advice"
    assert set(found.conditions.values()) == {State.PASS}


def test_what_came_for_another_mac_while_the_pods_entries_are_right_is_past() -> None:
    entries = peer(
        **{GATEWAY: ("reachable", WHOLE.mac or ""), "224.0.0.22": ("noarp", "01:00:5e:00:00:16")}
    )
    assert one(replace(WHOLE, peer=entries), otherhost=7).warnings == ()
    assert one(replace(WHOLE, peer=peer()), otherhost=7).warnings == ()


def test_of_a_pod_that_is_not_read_the_count_is_told() -> None:
    (warning,) = one(replace(WHOLE, peer="was not to be entered"), otherhost=1).warnings
    assert warning.name == "gateway_entry"
    assert "it was not to be entered" in warning.text and "1 IP packet came" in warning.so_far
    assert one(WHOLE, otherhost=0).warnings == ()
    assert one(replace(WHOLE, peer="was not to be entered"), otherhost=None).warnings == ()


def test_a_count_that_grows_is_no_change() -> None:
    look = replace(WHOLE, peer=peer(**{GATEWAY: ("permanent", OTHER_MAC)}))
    before, now = (judged(surveyed(look, otherhost=n)) for n in (7, 8))
    assert difference(before, now) == ([], [])


def test_a_mac_that_pods_have_for_good_is_left_to_them() -> None:
    look = replace(WHOLE, mac=OTHER_MAC)
    kept = peer(**{GATEWAY: ("permanent", OTHER_MAC)})
    for other in (kept, "was not to be entered"):
        (warning,) = one(replace(look, peer=other)).warnings
        assert (warning.name, warning.remedy.kind) == ("mac", "advice")
    learnt = peer(**{GATEWAY: ("reachable", OTHER_MAC)})
    (warning,) = one(replace(look, peer=learnt)).warnings
    assert warning.remedy.text == f"ip link set dev {CALI} address ee:ee:ee:ee:ee:ee"


def test_what_could_not_be_read_is_said_and_not_passed() -> None:
    found = one(replace(WHOLE, failures=("nftables: Operation not permitted",)))
    assert found.unread == ("nftables: Operation not permitted (needs CAP_NET_ADMIN)",)
    assert not found.judged and found.missing == ("CAP_NET_ADMIN",)
    assert states(found) == {"in": "unread", "out": "unread"}
    gone = Look(1, 7, CALI, "", "169.254.1.1", failures=("interface",))
    assert set(one(gone, host_routes=(), led_to=None).conditions.values()) == {State.UNREAD}


def many(count: int, **fields: Any) -> Diagnosis:
    looks = [replace(WHOLE, interface=f"cali{number:011d}", **fields) for number in range(count)]
    return judged(*(surveyed(look) for look in looks))


def lines(diagnosis: Diagnosis) -> list[str]:
    return Text().whole(diagnosis, "cali*").splitlines()


def test_text_of_a_healthy_node() -> None:
    assert lines(many(3)) == [
        "interface       link in route forward source other if proxy_arp medium_id out",
        "cali00000000000 ok   ok ok    ok      ok     ok       ok        ok        ok",
        "cali00000000001 ok   ok ok    ok      ok     ok       ok        ok        ok",
        "cali00000000002 ok   ok ok    ok      ok     ok       ok        ok        ok",
        "",
        "3 interfaces, no problem",
    ]


def test_text_of_a_problem() -> None:
    diagnosis = judged(surveyed(replace(WHOLE, proxy_arp_interface=0)))
    said = lines(diagnosis)
    assert said[1] == (
        "calic577831ffc7 ok   ok ok    ok      ok     ok       NO        -         -"
    )
    assert said[3] == "calic577831ffc7 gets no reply for 169.254.1.1: proxy_arp_off"
    assert "    sysctl -w net.ipv4.conf.calic577831ffc7.proxy_arp=1" in said
    assert said[-1] == "1 interface, 1 without a reply"


@pytest.mark.parametrize(
    "fields",
    [
        NO_ROUTE,
        {"proxy_arp_interface": 0, "proxy_delay": 80},
        {"failures": ("nftables: Operation not permitted",), "route_localnet": 0},
    ],
)
def test_text_of_a_thousand_is_short_and_narrow(fields: dict[str, Any]) -> None:
    said = lines(many(1009, **fields))
    assert len(said) < 60
    assert max(len(line) for line in said if "sysctl -w" not in line) < 80  # pasted whole
    assert any(line.endswith("and 1004 more like cali00000000000") for line in said)


def test_text_without_any_interface() -> None:
    assert lines(judged()) == ["no interface matches cali*"]


def test_a_name_cannot_act_upon_the_terminal() -> None:
    text = Text().whole(judged(surveyed(replace(WHOLE, interface="cali\x1b[2J", noarp=True))), "")
    assert "\x1b" not in text


def test_json() -> None:
    diagnosis = judged(surveyed(replace(WHOLE, proxy_arp_interface=0, route_localnet=0)))
    text = record.line(diagnosis, 1_795_570_000_123_456_789)
    assert text.count("\n") == 1
    values = json.loads(text)
    interfaces = values.pop("interfaces")
    assert values == {
        "type": "diagnosis",
        "ts": "2026-11-25T01:26:40.123456789Z",
        "netns": 1,
        "target_ip": "169.254.1.1",
        "complete": True,
        "not_judged": [],
        "gone": [],
    }
    (interface,) = interfaces
    assert interface["interface"] == CALI
    assert (interface["ifindex"], interface["senders"]) == (POD, ["192.168.156.177"])
    assert interface["reason"] == "proxy_arp_off"
    assert interface["conditions"]["proxy_arp"] == "fail"
    assert list(interface["conditions"]) == [condition.name for condition in CONDITIONS]
    (problem,) = interface["problems"]
    assert set(problem) == {
        *("reason", "because", "remedy", "remedy_kind", "lasting", "sender_ip", "evidence")
    }
    assert problem["remedy_kind"] == "command"
    assert problem["evidence"]["proxy_arp"] == 0
    (warning,) = interface["warnings"]
    assert (warning["name"], warning["remedy_kind"]) == ("route_localnet", "command")
    assert interface["unread"] == []


def test_json_of_a_name_that_is_no_utf8() -> None:
    text = record.line(judged(surveyed(replace(WHOLE, interface="cali\udcff"))), 0)
    assert json.loads(text)["interfaces"][0]["interface"] == "cali\\xff"


def test_only_what_is_judged_otherwise_has_changed() -> None:
    before = many(3)
    broken = replace(WHOLE, interface="cali00000000001", proxy_arp_interface=0)
    unchanged = replace(WHOLE, interface="cali00000000002", ip_forward=0)  # evidence alone
    new = replace(WHOLE, interface="cali7")
    now = judged(*(surveyed(look) for look in (broken, unchanged, new)))
    changed, gone = difference(before, now)
    assert [(each.interface, each.reason) for each in changed] == [
        ("cali00000000001", "proxy_arp_off"),
        ("cali7", None),
    ]
    assert gone == ["cali00000000000"]
    assert difference(now, now) == ([], [])


def test_text_of_a_change() -> None:
    now = judged(surveyed(replace(WHOLE, route_localnet=0)))
    said = Text().change(now, 0, now.interfaces, ["cali7"]).splitlines()
    assert said[0].endswith(" cali7           gone")
    assert said[1].endswith(f" {CALI} ok, with warnings: route_localnet")
    assert f"    sysctl -w net.ipv4.conf.{CALI}.route_localnet=1" in said


def test_what_is_no_pods_link_is_said_and_not_judged() -> None:
    aside = (("lo", "it is the loopback"),)
    found = judged(not_pods=aside)
    assert not found.problems
    said = "lo is not judged: it is the loopback"
    assert Text().whole(found, "lo") == f"{said}\n"
    assert said in Text().whole(judged(surveyed(WHOLE), not_pods=aside), "lo cali*")
