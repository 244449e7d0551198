# SPDX-License-Identifier: Apache-2.0
"""The causes as a table, and which looks at the node establish which.

That the kernel behaves like this: tests/kernel. What requests tell: test_causes_observed.py.
"""

from __future__ import annotations

import errno
import re
from dataclasses import replace

import pytest
from lab.faults import FAULTS
from looks import HEALTHY, LOCAL, POD, TO_POD, UNICAST, WHOLE, refused

from tracer.causes import CAUSES, Cause, establish
from tracer.evidence import Evidence
from tracer.node.look import Look, Refusal, RouteAnswer
from tracer.seen import Seen

# The public contract's, in the order in which the causes are asked.
REASONS = [
    "link_down",
    "rate_limited",
    "dropped_before_arp",
    "arp_disabled",
    "not_addressed_to_us",
    "malformed",
    "filtered_in",
    "no_route",
    "local_address_ignored",
    "forwarding_off",
    "not_unicast_route",
    "source_rejected",
    "route_same_interface",
    "proxy_arp_off",
    "medium_id",
    "proxy_queue_full",
    "filtered_out",
    "reply_dropped",
    "reply_not_taken",
    "unknown",
]


def test_the_reasons_are_those_of_the_contract_in_the_kernels_order() -> None:
    assert [cause.name for cause in CAUSES] == REASONS


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_each_cause_is_whole(cause: Cause) -> None:
    for text in (cause.means, cause.recognised, cause.lasting):
        assert re.fullmatch(r"[A-Z\d].{30,}\.", text), text
        assert "  " not in text
    for report in cause.field_reports:
        assert re.fullmatch(r"[\w-]+/[\w-]+#\d+", report)
    assert len(set(cause.field_reports)) == len(cause.field_reports)


@pytest.mark.parametrize("cause", CAUSES[:-1], ids=lambda cause: cause.name)
def test_each_cause_is_shown_by_two_faults_of_the_lab_at_least(cause: Cause) -> None:
    assert len(set(cause.shown_by)) >= 2
    assert [
        name for name in cause.shown_by if name not in FAULTS and "_limit_full" not in name
    ] == []


def test_no_fault_shows_two_causes() -> None:
    shown = [name for cause in CAUSES for name in cause.shown_by]
    assert len(shown) == len(set(shown))


def test_what_the_kernel_drops_and_what_is_never_seen() -> None:
    assert [cause.name for cause in CAUSES if cause.drops] == [
        "dropped_before_arp",
        "malformed",
        "filtered_in",
        "proxy_queue_full",
        "filtered_out",
        "reply_dropped",
    ]
    assert [cause.name for cause in CAUSES if cause.unseen] == ["link_down"]


def reason(look: Look) -> str:
    return establish(look, Seen()).reason


def test_a_healthy_node_establishes_nothing() -> None:
    assert reason(HEALTHY) == "unknown"
    assert [cause.name for cause in CAUSES if cause.holds(WHOLE)] == ["unknown"]


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
    ("route", "expected"),
    [
        (None, "unknown"),
        (refused(errno.EXDEV), "source_rejected"),
        (replace(UNICAST, out_ifindex=7, out_interface="calic577831ffc7"), "route_same_interface"),
        (replace(UNICAST, type="local"), "unknown"),
        (replace(UNICAST, type="broadcast"), "not_unicast_route"),
    ],
)
def test_proxy_arp_is_not_blamed_where_the_kernel_never_asks_for_it(
    route: RouteAnswer | None, expected: str
) -> None:
    finding = establish(replace(HEALTHY, proxy_arp_interface=0, route=route), Seen())
    assert finding.reason == expected
    assert finding.evidence.also == ()


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
        (errno.EXDEV, "source_rejected"),
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


def test_evidence_is_all_that_was_read_and_what_decided() -> None:
    look = replace(
        HEALTHY,
        proxy_arp_interface=0,
        rp_filter_all=None,
        failures=("/proc/sys/net/ipv4/conf/all/rp_filter: Permission denied",),
    )
    finding = establish(look, Seen())
    assert finding.confidence == "inferred"
    assert finding.evidence.read == {
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
    }
    assert finding.evidence.seen == Seen()
    assert finding.evidence.because == (
        "net.ipv4.conf.calic577831ffc7.proxy_arp and net.ipv4.conf.all.proxy_arp are 0"
    )


def test_evidence_of_a_refusal_names_the_error() -> None:
    look = replace(HEALTHY, route=refused(errno.EINVAL), route_from_node=refused(errno.EINVAL))
    read = establish(look, Seen()).evidence.read
    assert read["route_ok"] is False
    assert read["route_error"] == "EINVAL"
    assert read["route_from_node_error"] == "EINVAL"


def test_a_look_that_read_nothing_says_so() -> None:
    look = Look(netns=1, ifindex=7, interface="cali1", sender_ip="", target_ip="169.254.1.1")
    look = replace(look, failures=("network namespace 1: gone",))
    finding = establish(look, Seen())
    assert finding.reason == "unknown"
    assert finding.evidence == Evidence(
        read={"unread": "network namespace 1: gone"},
        because="no cause is established, and not everything could be read",
    )


def test_what_was_seen_to_be_dropped_was_not_refused_by_the_configuration() -> None:
    look = replace(HEALTHY, forwarding=0)
    assert establish(look, Seen()).reason == "forwarding_off"
    assert establish(look, Seen(dropped="request")).reason == "unknown"


# -- the other causes by configuration alone -------------------------------------------------

VIA_UPLINK = replace(UNICAST, gateway="192.0.2.1")


def configured(look: Look) -> tuple[str, object]:
    finding = establish(look, Seen())
    assert finding.confidence == "inferred"
    return finding.reason, finding.evidence.because


def test_a_link_that_is_down_is_told_by_holds_alone() -> None:
    """establish() asks no cause under which no request is seen: there was one."""
    (cause,) = [cause for cause in CAUSES if cause.unseen]
    assert cause.holds(replace(WHOLE, up=False)) == "calic577831ffc7 is down"
    assert cause.holds(replace(WHOLE, carrier=False)) == "calic577831ffc7 has no carrier"
    assert cause.holds(replace(WHOLE, up=None, carrier=None)) is None


@pytest.mark.parametrize("kind", ["bridge", "bond", "team", "openvswitch", "hsr"])
def test_a_port_takes_no_requests(kind: str) -> None:
    look = replace(WHOLE, master="m0", master_kind=kind)
    assert configured(look) == ("dropped_before_arp", f"calic577831ffc7 is a port of {kind} m0")


def test_a_vrf_lets_arp_pass() -> None:
    assert reason(replace(WHOLE, master="m0", master_kind="vrf")) == "unknown"


def test_filters_that_are_there_need_not_drop() -> None:
    look = replace(
        WHOLE,
        xdp="generic",
        ingress=("tc filter bpf pref 100", "nft netdev t c"),
        egress=("tc filter bpf pref 100",),
        arp_input=("nft arp t c",),
        arp_output=("nft arp t d",),
    )
    assert reason(look) == "unknown"
    because = "nft arp t c drops every ARP packet that comes in"
    assert configured(replace(look, arp_input_drops="nft arp t c")) == ("filtered_in", because)


def test_noarp() -> None:
    assert configured(replace(WHOLE, noarp=True)) == (
        "arp_disabled",
        "calic577831ffc7 has IFF_NOARP",
    )


@pytest.mark.parametrize(
    ("of_interface", "of_all", "owner", "expected"),
    [
        (0, 0, "lo", "unknown"),
        (1, 0, "lo", "local_address_ignored"),
        (0, 1, "lo", "local_address_ignored"),
        (2, 1, "lo", "local_address_ignored"),
        (1, 0, "calic577831ffc7", "unknown"),  # its own: answered
        (2, 0, "calic577831ffc7", "unknown"),  # in the sender's subnet?
        (1, 0, None, "unknown"),
        (3, 0, "lo", "unknown"),  # of host scope?
        (0, 8, "calic577831ffc7", "local_address_ignored"),
        (8, 0, None, "local_address_ignored"),
        (4, 0, "lo", "unknown"),  # reserved
        (None, 8, "lo", "unknown"),
    ],
)
def test_arp_ignore(
    of_interface: int | None, of_all: int, owner: str | None, expected: str
) -> None:
    look = replace(
        WHOLE,
        route=LOCAL,
        target_owner=owner,
        arp_ignore_interface=of_interface,
        arp_ignore_all=of_all,
    )
    assert reason(look) == expected
    assert reason(replace(look, route=UNICAST)) == "unknown"


@pytest.mark.parametrize(
    ("of_interface", "of_all", "way", "expected"),
    [
        (1, 0, VIA_UPLINK, "local_address_ignored"),
        (0, 1, VIA_UPLINK, "local_address_ignored"),
        (1, 0, refused(errno.ENETUNREACH), "local_address_ignored"),
        (1, 0, TO_POD, "unknown"),
        (1, 0, None, "unknown"),
        (0, 0, VIA_UPLINK, "unknown"),
    ],
)
def test_arp_filter(of_interface: int, of_all: int, way: RouteAnswer | None, expected: str) -> None:
    look = replace(
        WHOLE,
        route=LOCAL,
        target_owner="lo",
        arp_filter_interface=of_interface,
        arp_filter_all=of_all,
        sender_route=way,
    )
    assert reason(look) == expected


def test_forwarding_off_is_not_named_where_the_target_has_no_route() -> None:
    look = replace(WHOLE, forwarding=0, ip_forward=0, route=refused(errno.EHOSTUNREACH))
    assert reason(look) == "forwarding_off"
    assert reason(replace(look, route_from_node=UNICAST)) == "forwarding_off"
    assert configured(replace(look, route_from_node=refused(errno.ENETUNREACH))) == (
        "no_route",
        "the route lookup for 169.254.1.1 fails (ENETUNREACH): no route covers it, or a throw "
        "route or an unreachable rule does",
    )


def test_forwarding_is_asked_for_before_the_routes_type_but_after_broadcast() -> None:
    multicast = replace(UNICAST, type="multicast")
    look = replace(WHOLE, forwarding=0, route=refused(errno.EHOSTUNREACH))
    assert reason(replace(look, route_from_node=multicast)) == "forwarding_off"
    look = replace(WHOLE, forwarding=0, route=replace(UNICAST, type="broadcast"))
    assert reason(look) == "not_unicast_route"


@pytest.mark.parametrize("kind", ["broadcast", "multicast", "anycast"])
def test_a_route_of_another_type(kind: str) -> None:
    answer = replace(UNICAST, type=kind)
    because = f"the route to 169.254.1.1 is of type {kind}"
    for look in (
        replace(WHOLE, route=answer),
        replace(WHOLE, route=refused(errno.EINVAL), route_from_node=answer),
        # The sender would be refused too, if the kernel came so far.
        replace(
            WHOLE,
            route=refused(errno.EINVAL),
            route_from_node=answer,
            sender_route=refused(errno.ENETUNREACH),
        ),
    ):
        assert configured(look) == ("not_unicast_route", because)


def test_a_target_that_is_martian() -> None:
    look = replace(WHOLE, target_ip="224.0.0.9", route=refused(errno.EINVAL))
    assert configured(look) == ("not_unicast_route", "224.0.0.9 is a multicast address")


@pytest.mark.parametrize(
    "number", [errno.EXDEV, errno.EINVAL]
)  # newer kernels, 6.18 for one, say EINVAL
@pytest.mark.parametrize(
    ("changes", "because"),
    [
        (
            {"sender_route": VIA_UPLINK},
            "rp_filter: there is no /32 for 192.168.156.177, which the node would send through "
            "eth0",
        ),
        (
            {"sender_route": replace(UNICAST, gateway=None)},
            "rp_filter: the route to 192.168.156.177 leads to eth0",
        ),
        (
            {"sender_route": replace(TO_POD, out_ifindex=9, out_interface="caliother")},
            "rp_filter: the route to 192.168.156.177 leads to caliother",
        ),
        (
            {"sender_route": refused(errno.ENETUNREACH)},
            "rp_filter: the route lookup for 192.168.156.177 fails (ENETUNREACH)",
        ),
        (
            {
                "sender_route": refused(errno.EINVAL),
                "sender_refused_by": Refusal("route", "blackhole 192.168.156.128/26"),
            },
            "rp_filter: the route lookup for 192.168.156.177 fails (EINVAL): route blackhole "
            "192.168.156.128/26",
        ),
        (
            {"sender_route": LOCAL, "sender_owner": "lo"},
            "the node itself has 192.168.156.177 on lo",
        ),
        (
            {"sender_route": LOCAL, "sender_owner": "lo", "rp_filter_interface": 0},
            "the node itself has 192.168.156.177 on lo",
        ),
        ({"sender_ip": "224.0.0.1"}, "224.0.0.1 is a multicast address"),
        (
            {"sender_route": VIA_UPLINK, "rp_filter_interface": 0, "rp_filter_all": 2},
            "rp_filter: there is no /32 for 192.168.156.177, which the node would send through "
            "eth0",
        ),
    ],
)
def test_a_rejected_sender(number: int, changes: dict[str, object], because: str) -> None:
    look = replace(WHOLE, route=refused(number), route_from_node=UNICAST, **changes)  # type: ignore[arg-type]
    assert configured(look) == ("source_rejected", because)


@pytest.mark.parametrize(
    "changes",
    [
        {"sender_route": VIA_UPLINK, "rp_filter_interface": 0},
        {"sender_route": TO_POD},
        {"sender_route": None},
        {"sender_ip": "", "sender_route": None},
        {"sender_route": VIA_UPLINK, "route_from_node": None},
        {"sender_route": VIA_UPLINK, "route_from_node": refused(errno.ENETUNREACH)},
    ],
)
def test_invalid_argument_is_not_called_a_rejected_sender_without_a_flaw_of_it(
    changes: dict[str, object],
) -> None:
    """A blackhole rule for the interface gives it, too."""
    look = replace(WHOLE, route=refused(errno.EINVAL), route_from_node=UNICAST)
    assert reason(replace(look, **changes)) == "unknown"  # type: ignore[arg-type]


def test_exdev_is_the_senders_whatever_else_is_known() -> None:
    look = replace(WHOLE, route=refused(errno.EXDEV), sender_route=None)
    because = "the kernel refuses 192.168.156.177 on calic577831ffc7 (EXDEV)"
    assert configured(look) == ("source_rejected", because)


def test_a_rejected_sender_of_a_local_target() -> None:
    look = replace(WHOLE, route=refused(errno.EINVAL), route_from_node=LOCAL, arp_ignore_all=8)
    assert reason(replace(look, sender_route=VIA_UPLINK)) == "source_rejected"


def test_no_route_and_a_sender_without_one() -> None:
    """No default route: neither has one. The target is looked up first."""
    none = refused(errno.ENETUNREACH)
    assert reason(replace(WHOLE, route=none, sender_route=none)) == "no_route"
    look = replace(WHOLE, route=refused(errno.EINVAL), route_from_node=refused(errno.EINVAL))
    assert reason(replace(look, sender_route=VIA_UPLINK)) == "no_route"
    assert reason(replace(look, sender_ip="224.0.0.1")) == "source_rejected"


def test_out_through_the_same_interface() -> None:
    look = replace(WHOLE, route=replace(TO_POD, out_ifindex=POD))
    because = "the route to 169.254.1.1 leaves through calic577831ffc7 itself"
    assert configured(look) == ("route_same_interface", because)
    assert reason(replace(look, proxy_arp_pvlan=1)) == "unknown"
    assert reason(replace(look, proxy_arp_interface=0)) == "route_same_interface"


@pytest.mark.parametrize(
    ("own", "out", "expected"),
    [
        (0, 0, "unknown"),
        (0, -1, "unknown"),
        (-1, 0, "medium_id"),
        (-1, None, "medium_id"),
        (7, 7, "medium_id"),
        (7, -1, "medium_id"),
        (7, 9, "unknown"),
        (7, 0, "unknown"),
        (7, None, "unknown"),
        (None, 7, "unknown"),
    ],
)
def test_medium_id(own: int | None, out: int | None, expected: str) -> None:
    look = replace(WHOLE, medium_id=own, medium_id_out=out)
    assert reason(look) == expected
    by_all = replace(look, proxy_arp_interface=0, proxy_arp_all=1)
    assert reason(by_all) == expected
    assert reason(replace(look, proxy_arp_interface=0)) == "proxy_arp_off"
    assert reason(replace(look, route=replace(UNICAST, type="local"))) == "unknown"


def test_an_entry_for_the_target_needs_neither_proxy_arp_nor_medium_id() -> None:
    look = replace(WHOLE, proxy_entry=True, proxy_arp_interface=0, medium_id=-1)
    assert reason(look) == "unknown"
    assert reason(replace(look, proxy_arp_interface=1)) == "unknown"


def test_a_delay_is_not_a_full_queue() -> None:
    assert reason(replace(WHOLE, proxy_delay=80, proxy_qlen=0)) == "unknown"


def test_further_causes_are_told_too() -> None:
    look = replace(WHOLE, noarp=True, proxy_arp_interface=0, medium_id=-1)
    finding = establish(look, Seen())
    assert (finding.reason, finding.evidence.also) == ("arp_disabled", ("proxy_arp_off",))


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EINVAL])
def test_a_sender_that_is_not_known_is_not_blamed_and_hides_no_other_cause(number: int) -> None:
    """The look stands in for it with an address that rp_filter refuses."""
    look = replace(WHOLE, sender_ip="", route=refused(number), route_from_node=UNICAST)
    look = replace(look, sender_route=None)
    assert reason(look) == "unknown"
    assert reason(replace(look, proxy_arp_interface=0)) == "proxy_arp_off"
    assert reason(replace(look, medium_id=-1)) == "medium_id"
    assert reason(replace(look, route_from_node=TO_POD)) == "route_same_interface"
    assert reason(replace(look, route_from_node=LOCAL, arp_ignore_all=8)) == "local_address_ignored"
    known = replace(look, sender_ip="192.168.156.177", proxy_arp_interface=0)
    assert reason(known) == ("source_rejected" if number == errno.EXDEV else "unknown")


def test_what_was_seen_to_be_dropped_is_blamed_on_nothing_that_drops_the_other() -> None:
    look = replace(WHOLE, egress=("tc qdisc blackhole",), egress_drops="tc qdisc blackhole")
    assert establish(look, Seen(dropped="reply")).reason == "reply_dropped"
    assert establish(look, Seen(dropped="request")).reason == "unknown"
