# SPDX-License-Identifier: Apache-2.0
"""Which evidence of a request establishes which cause: one row a rule, and the conflicts.

That kernels leave such evidence: tests/kernel.
"""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest
from looks import LOCAL, POD, TO_POD, UNICAST, UPLINK, WHOLE, refused

from tracer.causes import CAUSES, establish
from tracer.node.look import Look
from tracer.node.peer import Peer
from tracer.seen import Seen

CONF = {
    "forwarding": 1,
    "proxy_arp": 1,
    "proxy_arp_all": 0,
    "proxy_arp_pvlan": 0,
    "medium_id": 0,
    "rp_filter": 1,
    "rp_filter_all": 0,
    "arp_ignore": 0,
    "arp_ignore_all": 0,
    "arp_filter": 0,
    "arp_filter_all": 0,
    "proxy_queue": 0,
}
REQUEST = {"dropped": "request", **CONF}
REPLY = {"dropped": "reply", "asked": "neigh_event_ns", **CONF}
TARGET = {"target_lookup": "ok", "target_table": 254, "target_out": UPLINK}
SOURCE = {"source_lookup": "ok", "source_out": POD}
UNREACHABLE = {"given_route": "unreachable", "given_error": "EHOSTUNREACH", **CONF}
NONE = {"given_route": "none", **CONF}
GIVEN = {
    **TARGET,
    **SOURCE,
    "given_route": "unicast",
    "given_out": UPLINK,
    "medium_id_out": 0,
    **CONF,
}

ROWS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    # what the row shows, reason, evidence
    ("down at the timer", "link_down", {**REQUEST, "drop_function": "neigh_proxy_process"}),
    ("backlog of a dead link", "link_down", {**REQUEST, "drop_reason": "DEV_READY"}),
    ("XDP", "dropped_before_arp", {**REQUEST, "dropped_in": "do_xdp_generic"}),
    ("reply stolen", "reply_dropped", {"taken_in": "__dev_queue_xmit"}),
    (
        "tc",
        "dropped_before_arp",
        {**REQUEST, "dropped_in": "__netif_receive_skb_core", "drop_reason": "TC_INGRESS"},
    ),
    (
        "netdev ingress",
        "dropped_before_arp",
        {
            **REQUEST,
            "dropped_in": "__netif_receive_skb_core",
            "drop_reason": "NETFILTER_DROP",
            "drop_function": "nft_do_chain",
        },
    ),
    ("a driver's XDP", "dropped_before_arp", {**REQUEST, "dropped_in": "net_rx_action"}),
    ("the same, threaded", "dropped_before_arp", {**REQUEST, "dropped_in": "napi_threaded_poll"}),
    ("the pod's end", "dropped_before_arp", {**REQUEST, "dropped_in": "__dev_queue_xmit"}),
    ("tc, no stack", "dropped_before_arp", {**REQUEST, "drop_reason": "TC_INGRESS"}),
    ("backlog", "dropped_before_arp", {**REQUEST, "drop_function": "enqueue_to_backlog"}),
    ("backlog, by name", "dropped_before_arp", {**REQUEST, "drop_reason": "CPU_BACKLOG"}),
    ("stolen", "dropped_before_arp", {"taken_in": "__netif_receive_skb_core", **CONF}),
    ("NOARP", "arp_disabled", {"noarp": True, **CONF}),
    ("otherhost", "not_addressed_to_us", {"destination": "otherhost", **CONF}),
    ("loopback", "not_addressed_to_us", {"destination": "loopback", **CONF}),
    ("lengths", "malformed", {**REQUEST, "header": "x", "dropped_in": "arp_rcv"}),
    ("hardware", "malformed", {**REQUEST, "header": "x", "dropped_in": "arp_process"}),
    (
        "truncated",
        "malformed",
        {**REQUEST, "dropped_in": "arp_rcv", "drop_function": "arp_rcv"},
    ),
    (
        "arp input",
        "filtered_in",
        {**REQUEST, "dropped_in": "arp_rcv", "drop_reason": "NETFILTER_DROP"},
    ),
    (
        "arp input, no reasons",
        "filtered_in",
        {**REQUEST, "dropped_in": "arp_rcv", "drop_function": "nf_hook_slow"},
    ),
    (
        "arp input before the header is looked at",
        "filtered_in",
        {**REQUEST, "header": "x", "dropped_in": "arp_rcv", "drop_reason": "NETFILTER_DROP"},
    ),
    (
        "nothing covers it",
        "no_route",
        {**UNREACHABLE, "given_error": "ENETUNREACH", "target_lookup": "EAGAIN"},
    ),
    (
        "unreachable route",
        "no_route",
        {**UNREACHABLE, "target_lookup": "EHOSTUNREACH", "target_table": 254},
    ),
    (
        "blackhole",
        "no_route",
        {**UNREACHABLE, "given_error": "EINVAL", "target_lookup": "EINVAL"},
    ),
    (
        "prohibit rule",
        "no_route",
        {**UNREACHABLE, "given_error": "EACCES", "target_lookup": "EAGAIN", "target_table": 255},
    ),
    ("prohibit rule, unseen", "no_route", {**UNREACHABLE, "given_error": "EACCES"}),
    ("local", "local_address_ignored", {**NONE, "given_route": "local", "arp_ignore": 1}),
    (
        "local, by all",
        "local_address_ignored",
        {**NONE, "given_route": "local", "arp_ignore_all": 8},
    ),
    (
        "filter, by all",
        "local_address_ignored",
        {**NONE, "given_route": "local", "arp_filter_all": 1},
    ),
    ("asked", "local_address_ignored", {"asked": "arp_ignore", **CONF, "arp_filter": 1}),
    ("asked, sysctls unread", "local_address_ignored", {"asked": "arp_ignore"}),
    ("forwarding", "forwarding_off", {**UNREACHABLE, **TARGET, "forwarding": 0}),
    ("forwarding since", "forwarding_off", {**GIVEN, "forwarding": 0}),
    ("broadcast", "not_unicast_route", {**GIVEN, "given_route": "broadcast"}),
    ("anycast", "not_unicast_route", {**GIVEN, "given_route": "anycast"}),
    (
        "sender's lookup fails",
        "source_rejected",
        {**NONE, **TARGET, "source_lookup": "EAGAIN"},
    ),
    (
        "sender's lookup fails, loose",
        "source_rejected",
        {**NONE, **TARGET, "source_lookup": "EAGAIN", "rp_filter": 0, "rp_filter_all": 2},
    ),
    (
        "sender elsewhere",
        "source_rejected",
        {**NONE, **TARGET, "source_lookup": "ok", "source_out": UPLINK},
    ),
    (
        "out where it came in",
        "route_same_interface",
        {**NONE, **SOURCE, "target_lookup": "ok", "target_out": POD},
    ),
    (
        "out where it came in, the sender not asked for",
        "route_same_interface",
        {**NONE, "target_lookup": "ok", "target_out": POD, "rp_filter": 0},
    ),
    (
        "out where it came in, and the sender's way does not matter",
        "route_same_interface",
        {
            **NONE,
            "target_lookup": "ok",
            "target_out": POD,
            "source_lookup": "ok",
            "source_out": UPLINK,
            "rp_filter": 0,
        },
    ),
    ("given it all the same", "route_same_interface", {**GIVEN, "given_out": POD}),
    ("proxy_arp", "proxy_arp_off", {**GIVEN, "proxy_arp": 0}),
    ("proxy_arp, asked", "proxy_arp_off", {"asked": "pneigh_lookup", **CONF, "proxy_arp": 0}),
    ("medium -1", "medium_id", {**GIVEN, "medium_id": -1}),
    ("medium equal", "medium_id", {**GIVEN, "medium_id": 7, "medium_id_out": 7}),
    ("medium out -1", "medium_id", {**GIVEN, "medium_id": 7, "medium_id_out": -1}),
    ("medium, asked", "medium_id", {"asked": "pneigh_lookup", **CONF, "medium_id": -1}),
    (
        "medium, by all's proxy_arp",
        "medium_id",
        {**GIVEN, "proxy_arp": 0, "proxy_arp_all": 1, "medium_id": -1},
    ),
    (
        "proxy queue",
        "proxy_queue_full",
        {**REQUEST, "dropped_in": "arp_process", "proxy_queue": 1},
    ),
    (
        "arp output",
        "filtered_out",
        {**REPLY, "dropped_in": "arp_xmit", "drop_reason": "NETFILTER_DROP"},
    ),
    ("arp output, no reasons", "filtered_out", {**REPLY, "drop_function": "nft_do_chain"}),
    (
        "tc egress",
        "reply_dropped",
        {**REPLY, "dropped_in": "__dev_queue_xmit", "drop_reason": "TC_EGRESS"},
    ),
    (
        "a limit's queue, redirected",
        "rate_limited",
        {**REQUEST, "drop_reason": "QDISC_DROP", "redirected": True, "dropped_on": "bwcali0"},
    ),
    ("queue", "reply_dropped", {**REPLY, "drop_reason": "QDISC_DROP"}),
    ("the pod's end, the reply", "reply_dropped", {**REPLY, "drop_function": "veth_xmit"}),
    ("nothing but that it was dropped", "reply_dropped", {**REPLY}),
)


def found(evidence: dict[str, Any], look: Look = WHOLE) -> tuple[str, str]:
    finding = establish(look, Seen(**evidence))
    return finding.reason, finding.confidence


@pytest.mark.parametrize(
    ("reason", "evidence"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS]
)
def test_evidence_alone(reason: str, evidence: dict[str, Any]) -> None:
    assert found(evidence) == (reason, "observed")


@pytest.mark.parametrize(
    ("reason", "evidence"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS]
)
def test_no_two_causes_claim_the_same_evidence(reason: str, evidence: dict[str, Any]) -> None:
    seen = Seen(**evidence)
    claims = [cause.name for cause in CAUSES if cause.observed(seen, WHOLE) is not None]
    assert claims == [reason]


def test_a_purged_proxy_queue_is_a_link_s_end_if_it_is_this_link_s() -> None:
    purged = {**REQUEST, "drop_function": "pneigh_queue_purge"}
    assert found(purged, replace(WHOLE, up=False)) == ("link_down", "observed")
    assert found(purged) == ("unknown", "inferred")


def test_every_cause_but_unknown_is_observed_by_some_evidence() -> None:
    others = [c.name for c in CAUSES if c.name not in {row[1] for row in ROWS}]
    assert others == ["reply_not_taken", "unknown"]  # of answered requests: see below


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        CONF,
        GIVEN,
        {"asked": "neigh_event_ns", **CONF, "proxy_arp": 0},
        # The route was unreachable and forwarding on: read at different moments.
        {**UNREACHABLE, **TARGET},
        # Past arp_ignore, or nothing there to refuse: no room for a neighbour entry.
        {**NONE, "given_route": "local", "asked": "neigh_event_ns", "arp_ignore": 1},
        {**NONE, "given_route": "local"},
        # Dropped, and nothing tells where.
        {**REQUEST, "drop_reason": "NETFILTER_DROP"},
        {**REQUEST, "drop_reason": "NOMEM"},
        {**REQUEST, "dropped_in": "arp_process", "proxy_queue": 0},
        {**NONE},
        {**NONE, **TARGET},
        # The sender's way does not matter without rp_filter.
        {**NONE, **TARGET, "source_lookup": "EAGAIN", "rp_filter": 0},
        {**GIVEN, "medium_id": 7, "medium_id_out": 9},
        {**GIVEN, "proxy_arp_all": 1},
    ],
)
def test_what_evidence_does_not_establish(evidence: dict[str, Any]) -> None:
    seen = Seen(**evidence)
    assert [c.name for c in CAUSES if c.observed(seen, WHOLE) is not None] == []


@pytest.mark.parametrize("evidence", [GIVEN, UNREACHABLE, NONE], ids=["unicast", "error", "none"])
@pytest.mark.parametrize("gone", [{"dropped": "reply"}, {"dropped": "request"}])
def test_what_was_dropped_arp_process_did_not_refuse(
    evidence: dict[str, Any], gone: dict[str, Any]
) -> None:
    evidence = {
        **evidence,
        **{"proxy_arp": 0, "forwarding": 0, "target_lookup": "ok", "source_lookup": "EAGAIN"},
        **gone,
    }
    claims = [c.name for c in CAUSES if c.observed(Seen(**evidence), WHOLE) is not None]
    assert claims == (["reply_dropped"] if gone["dropped"] == "reply" else [])


# -- what the look settles ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "reason"),
    [
        (replace(WHOLE, arp_input=("nft arp lab drops",)), "filtered_in"),
        (replace(WHOLE, ingress=("nft netdev lab drops",)), "dropped_before_arp"),
        (
            replace(WHOLE, arp_input=("nft arp lab drops",), ingress=("tc filter bpf pref 100",)),
            "filtered_in",
        ),
        (
            replace(WHOLE, arp_input=("arptables INPUT",), ingress=("nft netdev lab drops",)),
            "unknown",
        ),
        (WHOLE, "unknown"),
    ],
)
def test_where_netfilter_dropped_it_if_the_stack_is_hidden(look: Look, reason: str) -> None:
    evidence = {**REQUEST, "drop_reason": "NETFILTER_DROP"}
    assert found(evidence, look)[0] == reason


def test_a_sender_of_the_nodes_own_is_not_looked_up_without_rp_filter() -> None:
    look = replace(WHOLE, sender_route=LOCAL, sender_owner="lo")
    for target_out in (UPLINK, POD):
        evidence = {**NONE, **TARGET, "target_out": target_out, "rp_filter": 0}
        assert found(evidence, look) == ("source_rejected", "observed")


def test_a_sender_with_a_route_of_another_type() -> None:
    look = replace(WHOLE, sender_route=replace(TO_POD, type="broadcast"))
    assert found({**NONE, **TARGET, **SOURCE}, look) == ("source_rejected", "observed")


LIMITED = replace(WHOLE, egress=("tc qdisc tbf",))


@pytest.mark.parametrize(
    ("evidence", "look", "reason"),
    [
        ({**REQUEST, "redirected": True, "dropped_in": "__dev_queue_xmit"}, WHOLE, "rate_limited"),
        ({**REQUEST, "dropped_on": "ifb0", "drop_reason": "NETFILTER_DROP"}, WHOLE, "unknown"),
        ({**REPLY, "drop_reason": "QDISC_OVERLIMIT"}, LIMITED, "rate_limited"),
        ({**REPLY, "drop_reason": "TC_EGRESS"}, LIMITED, "reply_dropped"),
        ({**REPLY, "drop_reason": "QDISC_DROP"}, WHOLE, "reply_dropped"),
        ({**REQUEST, "drop_reason": "QDISC_DROP"}, LIMITED, "rate_limited"),
    ],
)
def test_a_limit_is_what_a_queue_that_limits_or_that_of_another_device_drops_by(
    evidence: dict[str, Any], look: Look, reason: str
) -> None:
    assert found(evidence, look)[0] == reason


@pytest.mark.parametrize("kind", ["broadcast", "multicast", "anycast"])
def test_a_target_that_was_found_and_refused_before_the_sender_was_asked_for(kind: str) -> None:
    answer = replace(UNICAST, type=kind)
    for look in (
        replace(WHOLE, route=answer),
        replace(WHOLE, route=refused(errno.EINVAL), route_from_node=answer),
    ):
        assert found({**NONE, **TARGET}, look) == ("not_unicast_route", "observed")


@pytest.mark.parametrize(
    ("sender", "localnet", "reason"),
    [
        ("224.0.0.1", 1, "source_rejected"),
        ("255.255.255.255", 1, "source_rejected"),
        ("127.0.0.2", 0, "source_rejected"),
        ("127.0.0.2", 1, "unknown"),
        ("127.0.0.2", None, "unknown"),
        ("0.1.2.3", 1, "unknown"),  # since Linux 5.3
        ("192.168.156.177", 0, "unknown"),
    ],
)
def test_martian_senders_are_refused_before_any_lookup(
    sender: str, localnet: int | None, reason: str
) -> None:
    look = replace(WHOLE, sender_ip=sender, route_localnet=localnet)
    assert found(NONE, look)[0] == reason


@pytest.mark.parametrize(
    "evidence", [NONE, {**REQUEST, "dropped_in": "arp_process", "proxy_queue": 3}]
)
def test_martian_targets(evidence: dict[str, Any]) -> None:
    look = replace(WHOLE, target_ip="224.0.0.9")
    assert found(evidence, look) == ("not_unicast_route", "observed")


# -- conflicts -----------------------------------------------------------------------------


def test_no_route_and_rp_filter() -> None:
    """The lookup for the target comes first, so the sender is never looked at."""
    look = replace(WHOLE, route=refused(errno.ENETUNREACH), sender_route=refused(errno.ENETUNREACH))
    evidence = {**UNREACHABLE, "given_error": "ENETUNREACH", "target_lookup": "EAGAIN"}
    assert found(evidence, look) == ("no_route", "observed")


@pytest.mark.parametrize(
    ("lookup", "table"), [("EAGAIN", 253), ("EAGAIN", 255), ("EHOSTUNREACH", 254), ("EINVAL", 254)]
)
def test_no_route_and_forwarding_off(lookup: str, table: int) -> None:
    """The lookup failed first, although forwarding makes EHOSTUNREACH of its error."""
    evidence = {**UNREACHABLE, "forwarding": 0, "target_lookup": lookup, "target_table": table}
    look = replace(WHOLE, forwarding=0, route=refused(errno.EHOSTUNREACH))
    assert found(evidence, look) == ("no_route", "observed")


def test_forwarding_off_and_proxy_arp_off() -> None:
    look = replace(WHOLE, forwarding=0, proxy_arp_interface=0, route=refused(errno.EHOSTUNREACH))
    evidence = {**UNREACHABLE, **TARGET, "forwarding": 0, "proxy_arp": 0}
    assert found(evidence, look) == ("forwarding_off", "observed")


def test_proxy_arp_off_and_medium_id() -> None:
    assert found({**GIVEN, "proxy_arp": 0, "medium_id": -1}) == ("proxy_arp_off", "observed")


def test_noarp_and_tc_ingress() -> None:
    evidence = {**REQUEST, "noarp": True, "dropped_in": "__netif_receive_skb_core"}
    assert found(evidence) == ("dropped_before_arp", "observed")


def test_noarp_and_otherhost_and_a_bad_header() -> None:
    evidence = {"noarp": True, "destination": "otherhost", "header": "x", **CONF}
    assert found(evidence) == ("arp_disabled", "observed")


def test_what_was_observed_wins_over_what_the_configuration_shows() -> None:
    """The look reads later: proxy_arp is off by now, the filter was what dropped it."""
    look = replace(WHOLE, proxy_arp_interface=0, noarp=True)
    evidence = {**REPLY, "dropped_in": "arp_xmit", "drop_reason": "NETFILTER_DROP"}
    finding = establish(look, Seen(**evidence))
    assert (finding.reason, finding.confidence) == ("filtered_out", "observed")
    assert finding.evidence.also == ("arp_disabled", "proxy_arp_off")


def test_a_later_cause_that_was_observed_wins_over_an_earlier_that_is_inferred() -> None:
    look = replace(WHOLE, route=refused(errno.ENETUNREACH))
    finding = establish(look, Seen(**{**GIVEN, "proxy_arp": 0}))
    assert (finding.reason, finding.confidence) == ("proxy_arp_off", "observed")
    assert finding.evidence.also == ("no_route",)


# -- the state of the link -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("down", "link_down"),
        ("no carrier", "link_down"),
        ("bridge br0", "dropped_before_arp"),
        ("bond bond0", "dropped_before_arp"),
        ("native XDP", "dropped_before_arp"),
    ],
)
def test_a_link_state_is_inferred_whatever_else_is_wrong(link: str, reason: str) -> None:
    look = replace(WHOLE, sender_ip="", proxy_arp_interface=0, noarp=True)
    assert found({"link": link}, look) == (reason, "inferred")


def test_a_request_that_was_seen_rules_out_that_the_link_is_down() -> None:
    assert found({**CONF}, replace(WHOLE, carrier=False))[0] == "unknown"


# A pod that is answered and asks on


ASKS_ON = {"answered_in_a_row": 4, "answered_for_ms": 3000, "sender_mac": "0a:00:00:00:00:07"}
END = Peer(
    name="eth0",
    mac="0a:00:00:00:00:07",
    up=True,
    enslaved=False,
    macs=frozenset({"0a:00:00:00:00:07", "00:00:00:00:00:00"}),
    neighbours={WHOLE.target_ip: ("incomplete", None)},
    netns_path="/run/netns/pod",
)
REACHED = {WHOLE.target_ip: ("reachable", "ee:ee:ee:ee:ee:ee")}
OTHERS = "0a:00:00:00:00:08"


@pytest.mark.parametrize(
    ("peer", "mac", "because"),
    [
        (END, END.mac, "its entry for 169.254.1.1 on eth0 is incomplete"),
        (replace(END, neighbours={WHOLE.target_ip: ("failed", None)}), END.mac, "is failed"),
        (replace(END, neighbours=REACHED), OTHERS, "no interface in the pod has that address"),
        ("has no other end in a namespace", END.mac, "has no other end in a namespace"),
    ],
)
def test_what_a_pod_does_not_take(peer: Peer | str, mac: str, because: str) -> None:
    finding = establish(replace(WHOLE, peer=peer), Seen(**{**ASKS_ON, "sender_mac": mac}))
    assert (finding.reason, finding.confidence) == ("reply_not_taken", "inferred")
    assert because in str(finding.evidence.because)
    assert finding.remedy_kind == "advice"


@pytest.mark.parametrize(
    ("peer", "mac"),
    [
        (replace(END, neighbours=REACHED), END.mac),
        (replace(END, neighbours={}), END.mac),  # it asked by a program, arping say
        (replace(END, neighbours=REACHED, macs=END.macs | {OTHERS}), OTHERS),  # a macvlan's
        (replace(END, neighbours=REACHED, enslaved=True), OTHERS),  # behind a bridge
    ],
)
def test_what_a_pod_takes_is_no_cause(peer: Peer, mac: str) -> None:
    finding = establish(replace(WHOLE, peer=peer), Seen(**{**ASKS_ON, "sender_mac": mac}))
    assert finding.reason == ""


@pytest.mark.parametrize(("asked", "lasted"), [(3, 2000), (4, 900), (100, 5000)])
def test_a_pod_that_cannot_be_looked_into_is_told_of_by_its_pace(asked: int, lasted: int) -> None:
    look = replace(WHOLE, peer="is a tap")
    evidence = {**ASKS_ON, "answered_in_a_row": asked, "answered_for_ms": lasted}
    assert establish(look, Seen(**evidence)).reason == ""
