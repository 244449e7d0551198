# SPDX-License-Identifier: Apache-2.0
"""The mend of each cause: real names and values, to be pasted."""

from __future__ import annotations

import ast
import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from looks import HEALTHY, LOCAL, TO_POD, UNICAST, WHOLE, refused

from tracer.causes import CAUSES, Cause, establish, page, remedy
from tracer.causes.remedy import (
    Change,
    OwnLink,
    Queue,
    Remedy,
    SendersRoute,
    advise,
    propose,
)
from tracer.node import sysctl
from tracer.node.look import Dropping, Look, Refusal
from tracer.seen import Seen


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
            "No default route serves it: see ip route show default, and whether its uplink is up."
            " If the node has none, add it by the node's router.",
        ),
        (
            replace(
                HEALTHY,
                route=refused(errno.EHOSTUNREACH),
                refused_by=Refusal(
                    "route",
                    "unreachable default metric 5",
                    "EHOSTUNREACH",
                    serves="all",
                    without="no other route covers it",
                ),
            ),
            "Find out who wrote the route unreachable default metric 5, and for what: it is for "
            "all, so that others would lose it too. Have 169.254.1.1 or the pods left out there. "
            "Without it no other route covers it.",
        ),
        (
            replace(
                HEALTHY,
                route=refused(errno.EINVAL),
                refused_by=Refusal("route", "169.254.1.1/32 nhid 5", "EINVAL"),
            ),
            "ip route del 169.254.1.1/32 nhid 5",
        ),
        (
            replace(
                HEALTHY,
                route=refused(errno.EACCES),
                sender_others=(),
                refused_by=Refusal("rule", "from 192.168.156.177/32 prohibit pref 5", "EACCES"),
            ),
            "ip rule del from 192.168.156.177/32 prohibit pref 5",
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
    assert establish(look, Seen()).remedy == remedy


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


REPLACE = "ip route replace 192.168.156.177/32 dev calic577831ffc7 scope link"


@pytest.mark.parametrize(
    ("name", "evidence", "changes", "remedy"),
    [
        ("link_down", {"link": "down"}, {"up": False}, "ip link set dev calic577831ffc7 up"),
        ("link_down", {"link": "down"}, {"up": None}, "ip link set dev calic577831ffc7 up"),
        (
            "link_down",
            {"link": "no carrier"},
            {"carrier": False},
            "The other end of calic577831ffc7 is down: in the pod's network namespace, "
            "ip link set dev eth0 up.\n"
            "If it was set down there, its routes went too, and come back by hand or with a new "
            "pod: in the same place, ip route add 169.254.1.1 dev eth0 scope link, and after it "
            "ip route add default via 169.254.1.1 dev eth0.",
        ),
        (
            "dropped_before_arp",
            {"link": "bridge br0"},
            {"master": "br0", "master_kind": "bridge"},
            "ip link set dev calic577831ffc7 nomaster",
        ),
        (
            "dropped_before_arp",
            {"link": "native XDP"},
            {"xdp": "native"},
            "ip link set dev calic577831ffc7 xdp off",
        ),
        (
            "dropped_before_arp",
            {"dropped": "request", "dropped_in": "do_xdp_generic"},
            {"xdp": "generic"},
            "ip link set dev calic577831ffc7 xdpgeneric off",
        ),
        (
            "dropped_before_arp",
            {"dropped": "request", "drop_reason": "TC_INGRESS"},
            {"ingress": ("tc filter bpf pref 100", "nft netdev t c")},
            "Find out whose the tc program at ingress is that drops ARP (tc filter bpf pref 100), "
            "and correct it there: let ARP pass.\n"
            "See what tc -s filter show dev calic577831ffc7 ingress tells.",
        ),
        (
            "dropped_before_arp",
            {"taken_in": "__netif_receive_skb_core"},
            {"ingress": ("tc filter bpf pref 1", "tc filter bpf pref 2")},
            "Find out whose the tc program at ingress is that drops ARP (tc filter bpf pref 1, tc "
            "filter bpf pref 2), and correct it there: let ARP pass.\n"
            "See what tc -s filter show dev calic577831ffc7 ingress tells.",
        ),
        (
            "dropped_before_arp",
            {"dropped": "request", "drop_reason": "NETFILTER_DROP"},
            {
                "ingress": ("tc filter bpf pref 100", "nft netdev t c"),
                "droppings": (Dropping("nft netdev t c", 7, others=False, without=True),),
            },
            "nft delete rule netdev t c handle 7",
        ),
        ("arp_disabled", {}, {}, "ip link set dev calic577831ffc7 arp on"),
        (
            "not_addressed_to_us",
            {"destination": "otherhost"},
            {"mac": "02:00:5e:00:53:01"},
            "ip link set dev calic577831ffc7 address ee:ee:ee:ee:ee:ee",
        ),
        (
            "not_addressed_to_us",
            {"destination": "otherhost"},
            {},
            "The pod asks at a MAC address that calic577831ffc7 does not have (it has "
            "ee:ee:ee:ee:ee:ee): in the pod's network namespace, "
            "ip neigh del 169.254.1.1 dev eth0.",
        ),
        (
            "filtered_in",
            {"dropped": "request", "dropped_in": "arp_rcv"},
            {
                "arp_input": ("nft arp t input", "arptables INPUT"),
                "droppings": (
                    Dropping("nft arp t input", others=False),
                    Dropping("arptables INPUT", others=False),
                ),
            },
            "nft add rule arp t input 'iifname \"calic577831ffc7\" arp operation request accept'\n"
            "arptables -I INPUT -i calic577831ffc7 -j ACCEPT",
        ),
        (
            "filtered_in",
            {},
            {
                "arp_input": ("nft arp a b", "nft arp c d"),
                "arp_input_drops": "nft arp c d",
                "droppings": (Dropping("nft arp c d", 3, others=True, without=True),),
            },
            "The rule with handle 3 of nft arp c d drops other interfaces' ARP too: find out who "
            "wrote it, and have ARP of calic577831ffc7 accepted there.\n"
            "See what nft -a list chain arp c d tells.",
        ),
        (
            "filtered_in",
            {},
            {"arp_input": ("nft arp a b",)},
            "Find out which rule of netfilter it is that drops ARP of calic577831ffc7 (nft arp a "
            "b), and whose: it may be right for what the pod sends.\n"
            "See what nft -a list chain arp a b tells.",
        ),
        (
            "filtered_in",
            {},
            {},
            "Find out which rule of netfilter it is that drops ARP of calic577831ffc7, and whose: "
            "it may be right for what the pod sends.\n"
            "See what nft -a list ruleset tells.",
        ),
        (
            "no_route",
            {"given_route": "unreachable", "given_error": "ENETUNREACH"},
            {},
            "No default route serves it: see ip route show default, and whether its uplink is up."
            " If the node has none, add it by the node's router.",
        ),
        (
            "local_address_ignored",
            {"given_route": "local"},
            {"target_owner": "lo", "arp_ignore_all": 1},
            "The node has 169.254.1.1 on lo: leave it there. What refuses is "
            "net.ipv4.conf.all.arp_ignore=1, which others may need: find out who wrote it, or "
            "give the pods another gateway.\n"
            "See what sysctl -a --pattern 'arp_(ignore|filter)' and ip route show table local "
            "tell.",
        ),
        (
            "local_address_ignored",
            {"given_route": "local"},
            {"arp_ignore_interface": 1, "target_owner": "calic577831ffc7"},
            "sysctl -w net.ipv4.conf.calic577831ffc7.arp_ignore=0",
        ),
        (
            "local_address_ignored",
            {"arp_filter": 1, "arp_filter_all": 0},
            {},
            "sysctl -w net.ipv4.conf.calic577831ffc7.arp_filter=0",
        ),
        (
            "not_unicast_route",
            {},
            {
                "route_from_node": replace(UNICAST, type="broadcast", table=255),
                "refused_by": Refusal(
                    "route", "broadcast 169.254.1.1/32 dev eth0 proto kernel", keeper="kernel"
                ),
            },
            "An address on eth0 has 169.254.1.1 for its broadcast address: correct its prefix "
            "length or broadcast address.\n"
            "See what ip address show dev eth0 and ip route show table local tell.",
        ),
        (
            "not_unicast_route",
            {},
            {"refused_by": Refusal("route", "multicast 169.254.1.1/32 dev eth0")},
            "ip route del multicast 169.254.1.1/32 dev eth0",
        ),
        (
            "not_unicast_route",
            {},
            {"route_from_node": replace(UNICAST, type="multicast")},
            "Delete the route that covers 169.254.1.1, or add a unicast one that is longer.\n"
            "See what ip route get fibmatch 169.254.1.1 tells.",
        ),
        ("source_rejected", {}, {"sender_route": UNICAST}, REPLACE),
        ("source_rejected", {}, {"sender_route": replace(UNICAST, table=254)}, REPLACE),
        (
            "source_rejected",
            {},
            {"sender_route": replace(UNICAST, table=100)},
            f"{REPLACE} table 100",
        ),
        (
            "source_rejected",
            {},
            {
                "sender_route": refused(errno.EINVAL),
                "sender_refused_by": Refusal("route", "blackhole 192.168.156.177/32", table=254),
            },
            REPLACE,
        ),
        (
            "source_rejected",
            {},
            {
                "sender_route": refused(errno.EINVAL),
                "sender_refused_by": Refusal("route", "blackhole 192.168.0.0/16 table 7", table=7),
            },
            f"{REPLACE} table 7",
        ),
        (
            "source_rejected",
            {},
            {
                "sender_route": refused(errno.EINVAL),
                "sender_refused_by": Refusal(
                    "route", "blackhole 192.168.156.177/32 proto bird", keeper="bird", table=254
                ),
            },
            "The route blackhole 192.168.156.177/32 proto bird, from bird (proto), stands for the "
            "pod's /32: correct what wrote it, and have Felix write the /32 again (restart "
            "calico-node).",
        ),
        (
            "source_rejected",
            {},
            {
                "sender_route": refused(errno.EACCES),
                "sender_refused_by": Refusal("rule", "from all to POD_IP prohibit pref 5"),
            },
            "ip rule del from all to POD_IP prohibit pref 5",
        ),
        (
            "source_rejected",
            {},
            {"sender_route": LOCAL, "sender_owner": "lo"},
            "The node has 192.168.156.177 on lo, and the pod asks from it: correct the one that "
            "is wrong.",
        ),
        (
            "source_rejected",
            {},
            {"sender_ip": "127.0.0.5", "route_localnet": 0},
            "Correct the pod's address: 127.0.0.5 is a loopback address, and route_localnet is 0.",
        ),
        (
            "source_rejected",
            {},
            {"sender_route": UNICAST, "sender_others": None},
            "Find out whose 192.168.156.177 is, before its route is changed: that could not be "
            "read.",
        ),
        (
            "source_rejected",
            {},
            {"sender_route": UNICAST, "sender_others": ("a route to it leads to veth1",)},
            "The pod asks from 192.168.156.177, which is not its own as far as the node knows "
            "(a route to it leads to veth1): correct the pod, its routes and arp_announce, or "
            "delete the stale or duplicate one, and leave the node's routes.",
        ),
        (
            "route_same_interface",
            {},
            {"route": TO_POD, "refused_by": Refusal("route", "default dev calic577831ffc7")},
            "Delete the default route through calic577831ffc7 once another one is there: without"
            " one, no pod of the node is answered.",
        ),
        (
            "route_same_interface",
            {},
            {"route": TO_POD},
            "Delete the route to 169.254.1.1 through calic577831ffc7, or add a longer one through "
            "another interface.\nSee what ip route get fibmatch 169.254.1.1 tells.",
        ),
        ("medium_id", {}, {}, "sysctl -w net.ipv4.conf.calic577831ffc7.medium_id=0"),
        (
            "proxy_queue_full",
            {},
            {"interface": "tap1.2"},
            "sysctl -w net.ipv4.conf.tap1/2.proxy_arp=0 net.ipv4.neigh.tap1/2.proxy_delay=0 "
            "net.ipv4.conf.tap1/2.proxy_arp=1",
        ),
        (
            "filtered_out",
            {"dropped": "reply", "dropped_in": "arp_xmit"},
            {
                "arp_output": ("nft arp t out",),
                "egress": ("nft netdev t c",),
                "droppings": (
                    Dropping("nft arp t out", 2, others=False, without=True),
                    Dropping("nft netdev t c", 3, others=False, without=True),
                ),
            },
            "nft delete rule arp t out handle 2",
        ),
        (
            "filtered_out",
            {"dropped": "reply", "dropped_in": "__dev_queue_xmit"},
            {
                "arp_output": ("nft arp t out",),
                "egress": ("nft netdev t c",),
                "droppings": (Dropping("nft netdev t c", others=False),),
            },
            "nft add rule netdev t c 'oifname \"calic577831ffc7\" arp operation reply accept'",
        ),
        (
            "filtered_out",
            {"dropped": "reply", "dropped_in": "arp_xmit"},
            {
                "arp_output": ("nft arp calico-arp out", "arptables OUTPUT"),
                "droppings": (Dropping("arptables OUTPUT", others=False),),
            },
            "arptables -I OUTPUT -o calic577831ffc7 -j ACCEPT",
        ),
        (
            "rate_limited",
            {"dropped": "request", "redirected": True, "dropped_on": "bwcali0"},
            {"ingress": ("tc filter u32 pref 1",)},
            "The limit in the queue of bwcali0, through which what calic577831ffc7's pod sends is "
            "led, is used up: raise it where it is written, the pod's annotations, or find what "
            "sends so much. Leave queue and filter as they are.\nSee what tc -s filter show dev "
            "calic577831ffc7 ingress and tc -s qdisc show tell.",
        ),
        (
            "rate_limited",
            {"dropped": "reply", "drop_reason": "QDISC_OVERLIMIT"},
            {"egress": ("tc qdisc htb",)},
            "The limit in the queue htb of calic577831ffc7 is used up: raise it where it is "
            "written, the pod's annotations, or find what sends so much. Leave queue and filter as "
            "they are.\nSee what tc -s qdisc show dev calic577831ffc7 tells.",
        ),
        (
            "reply_dropped",
            {"dropped": "reply", "drop_reason": "TC_EGRESS"},
            {"egress": ("tc filter bpf pref 100",)},
            "Find out whose the tc program at egress is that drops ARP (tc filter bpf pref 100), "
            "and correct it there: let ARP pass.\n"
            "See what tc -s filter show dev calic577831ffc7 egress tells.",
        ),
        (
            "reply_dropped",
            {"dropped": "reply", "drop_reason": "QDISC_DROP"},
            {},
            "Find out whose the queue of calic577831ffc7 is, and give it a larger limit.\n"
            "See what tc -s qdisc show dev calic577831ffc7 tells.",
        ),
        (
            "reply_dropped",
            {"dropped": "reply", "drop_reason": "QDISC_DROP"},
            {"egress": ("tc filter bpf pref 1", "tc qdisc tbf")},
            "Find out whose the queue of calic577831ffc7 is, and give it a larger limit.\n"
            "See what tc -s qdisc show dev calic577831ffc7 tells.",
        ),
        (
            "reply_dropped",
            {"dropped": "reply", "drop_reason": "QDISC_DROP"},
            {"egress": ("tc filter bpf pref 1", "tc qdisc pfifo")},
            "tc qdisc del dev calic577831ffc7 root",
        ),
        (
            "reply_dropped",
            {"dropped": "reply", "drop_reason": "TC_EGRESS"},
            {"egress": ("tc qdisc pfifo", "tcx prog 17")},
            "Find out whose the tc program at egress is that drops ARP (tcx prog 17), and correct "
            "it there: let ARP pass.\n"
            "See what tc -s filter show dev calic577831ffc7 egress and bpftool net show dev "
            "calic577831ffc7 tell.",
        ),
    ],
)
def test_the_mend(
    name: str, evidence: dict[str, Any], changes: dict[str, Any], remedy: str
) -> None:
    (cause,) = [cause for cause in CAUSES if cause.name == name]
    assert cause.remedy(replace(WHOLE, **changes), Seen(**evidence)).text == remedy


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
@pytest.mark.parametrize(
    "look", [WHOLE, Look(netns=1, ifindex=7, interface="cali1", sender_ip="", target_ip="1.2.3.4")]
)
def test_there_is_always_one_and_each_line_is_a_command_or_a_sentence(
    cause: Any, look: Look
) -> None:
    elsewhere = replace(look, interface="a;b", netns_path="/run/netns/n")
    for line in cause.remedy(elsewhere, Seen()).text.split("\n"):
        if line.endswith("."):
            continue
        assert line.startswith("nsenter --net=/run/netns/n ")
        assert "a;b" not in line.replace("'a;b'", "").replace("'net.ipv4.conf.a;b", "").replace(
            "'net.ipv4.neigh.a;b", ""
        )


@pytest.mark.parametrize("word", ["tc", "nft"])
def test_calicos_own_program_is_not_removed(word: str) -> None:
    look = replace(WHOLE, ingress=(f"{word} filter bpf pref 1 cali_entrypoint",))
    (cause,) = [cause for cause in CAUSES if cause.name == "dropped_before_arp"]
    assert " del " not in cause.remedy(look, Seen(dropped="request")).text


@pytest.mark.parametrize("text", ["", "ip link set dev cali1 up", "Leave it"])
def test_advice_is_whole_sentences(text: str) -> None:
    with pytest.raises(ValueError, match="sentences"):
        advise("Leave it.", text)


def test_no_cause_makes_a_command_past_the_check() -> None:
    """Only where it is asked what others would lose."""
    for path in Path(remedy.__file__).parent.glob("*.py"):
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        made = [call for call in calls if getattr(call.func, "id", "") == "Remedy"]
        assert not made or path.name == "remedy.py", path


BOTH = {"out_interface": "docker0", "out_ifindex": 5}


@pytest.mark.parametrize(
    ("changes", "touched", "advice"),
    [
        ({}, Refusal("route", "blackhole 169.254.1.1/32"), None),
        ({}, Refusal("route", "default proto bird", keeper="bird"), "it is from bird (proto)"),
        ({}, Refusal("rule", "from 10.0.0.0/8", serves="all of 10.0.0.0/8"), "all of 10.0.0.0/8"),
        ({}, Refusal("route", "x", without="no other route covers it"), "no other route covers"),
        # A rule for the sender, which is not the pod's own address.
        ({"sender_others": ("it is another's",)}, Refusal("rule", "from X"), "it is another's"),
        ({"sender_others": None}, Refusal("rule", "from X"), "could not be read"),
        ({}, Dropping("nft arp t c", 7, others=False, without=True), None),
        ({}, Dropping("nft arp t c", 7, others=False, without=False), "and another one after it"),
        ({}, Dropping("nft arp t c", 7, others=True, without=True), "handle 7 of nft arp t c"),
        ({}, Dropping("nft arp t c", others=True), "The policy of nft arp t c drops other"),
        ({}, Dropping("arptables INPUT", others=True), "arptables -L -n"),
        ({}, SendersRoute(), None),
        (
            {
                "sender_route": replace(LOCAL, type="broadcast", **BOTH),
                "sender_others": ("it is the broadcast address of 198.18.7.1/24 on docker0",),
            },
            SendersRoute(),
            "is the broadcast address of a network that the node has on docker0 (it is the",
        ),
        ({}, Queue(frozenset({"pfifo"})), None),
        ({}, Queue(frozenset({"netem"})), "Find out whose the queue"),
        ({}, Queue(frozenset()), "Find out whose the queue"),
        ({}, OwnLink(), None),
        ({"astray": True}, OwnLink(), "mended in network namespace 4026531833"),
    ],
)
def test_what_others_would_lose(
    changes: dict[str, Any], touched: remedy.Touched, advice: str | None
) -> None:
    said = propose(replace(WHOLE, **changes), Change("true", touched))
    if advice is None:
        assert said == Remedy("command", "true")
    else:
        assert said.kind == "advice" and advice in said.text


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_advice_has_no_line_to_paste(cause: Cause) -> None:
    """Sentences alone, or commands alone."""
    for _, lines in page.mends(cause):
        assert len({line.endswith(".") for line in lines}) == 1


def test_the_finding_tells_which_it_is() -> None:
    look = replace(HEALTHY, proxy_arp_interface=0)
    assert establish(look, Seen()).remedy_kind == "command"
    assert establish(replace(WHOLE, carrier=False, up=True), Seen()).remedy_kind == "advice"


def test_nothing_of_the_whole_node_is_changed_while_a_program_may_answer() -> None:
    listens = replace(HEALTHY, arp_listeners=("felix (pid 7)",))
    refusal = Refusal("route", "169.254.1.1/32 nhid 5", "EINVAL")
    of_the_node = (
        replace(listens, forwarding=0, ip_forward=0),
        replace(listens, route=refused(errno.EINVAL), refused_by=refusal),
    )
    for look in of_the_node:
        said = establish(look, Seen())
        assert said.remedy_kind == "advice" and "felix (pid 7)" in said.remedy
        assert establish(replace(look, arp_listeners=()), Seen()).remedy_kind == "command"
    assert establish(replace(listens, proxy_arp_interface=0), Seen()).remedy_kind == "command"
