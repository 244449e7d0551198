# SPDX-License-Identifier: Apache-2.0
"""The mend of each cause: real names and values, to be pasted."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest
from looks import HEALTHY, LOCAL, TO_POD, UNICAST, WHOLE, refused

from tracer.causes import CAUSES, Cause, establish, page
from tracer.causes.remedy import Remedy
from tracer.causes.seen import Seen
from tracer.node import sysctl
from tracer.node.look import Look


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
            "ip link set dev eth0 up.",
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
            {"ingress": ("tc filter bpf pref 100", "nft netdev t c")},
            "nft insert rule netdev t c 'iifname \"calic577831ffc7\" ether type arp accept'",
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
            {"arp_input": ("nft arp t input", "arptables INPUT")},
            "nft insert rule arp t input 'iifname \"calic577831ffc7\" accept'\n"
            "arptables -I INPUT -i calic577831ffc7 -j ACCEPT",
        ),
        (
            "filtered_in",
            {},
            {"arp_input": ("nft arp a b", "nft arp c d"), "arp_input_drops": "nft arp c d"},
            "nft insert rule arp c d 'iifname \"calic577831ffc7\" accept'",
        ),
        (
            "filtered_in",
            {},
            {},
            "Find the rule of netfilter that drops ARP of calic577831ffc7.\n"
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
            {"target_owner": "lo"},
            "ip address del 169.254.1.1/32 dev lo",
        ),
        (
            "local_address_ignored",
            {"given_route": "local"},
            {"arp_ignore_interface": 1, "arp_ignore_all": 2},
            "sysctl -w net.ipv4.conf.calic577831ffc7.arp_ignore=0\n"
            "sysctl -w net.ipv4.conf.all.arp_ignore=0",
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
            {"route_from_node": replace(UNICAST, type="broadcast", table=255)},
            "ip route del broadcast 169.254.1.1 dev eth0 table local",
        ),
        (
            "not_unicast_route",
            {},
            {"refused_by": "route multicast 169.254.0.0/16 dev eth0"},
            "ip route del multicast 169.254.0.0/16 dev eth0",
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
                "sender_refused_by": "route blackhole 192.168.156.177/32",
            },
            REPLACE,
        ),
        (
            "source_rejected",
            {},
            {
                "sender_route": refused(errno.EINVAL),
                "sender_refused_by": "route blackhole 192.168.0.0/16 table 7",
            },
            f"{REPLACE} table 7",
        ),
        (
            "source_rejected",
            {},
            {"sender_route": refused(errno.EACCES), "sender_refused_by": "rule prohibit pref 5"},
            "ip rule del prohibit pref 5",
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
            {"route": TO_POD, "refused_by": "route default dev calic577831ffc7"},
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
            {"arp_output": ("nft arp t out",), "egress": ("nft netdev t c",)},
            "nft insert rule arp t out 'oifname \"calic577831ffc7\" accept'",
        ),
        (
            "filtered_out",
            {"dropped": "reply", "dropped_in": "__dev_queue_xmit"},
            {"arp_output": ("nft arp t out",), "egress": ("nft netdev t c",)},
            "nft insert rule netdev t c 'oifname \"calic577831ffc7\" ether type arp accept'",
        ),
        (
            "filtered_out",
            {"dropped": "reply", "dropped_in": "arp_xmit"},
            {"arp_output": ("nft arp calico-arp out", "arptables OUTPUT")},
            "arptables -I OUTPUT -o calic577831ffc7 -j ACCEPT",
        ),
        (
            "rate_limited",
            {"dropped": "request", "redirected": True, "dropped_on": "bwcali0"},
            {"ingress": ("tc filter u32 pref 1",)},
            "The limit in the queue of bwcali0, through which what calic577831ffc7's pod sends is "
            "led, is used up: raise it where it is written, the pod's annotations, or find what "
            "sends so much. Leave queue and filter as they are.\nSee what tc -s filter show dev "
            "calic577831ffc7 ingress and tc -s qdisc show tells.",
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
            "calic577831ffc7 tells.",
        ),
    ],
)
def test_the_mend(
    name: str, evidence: dict[str, Any], changes: dict[str, Any], remedy: str
) -> None:
    (cause,) = [cause for cause in CAUSES if cause.name == name]
    assert cause.remedy(replace(WHOLE, **changes), Seen.of(evidence)) == remedy


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
@pytest.mark.parametrize(
    "look", [WHOLE, Look(netns=1, ifindex=7, interface="cali1", sender_ip="", target_ip="1.2.3.4")]
)
def test_there_is_always_one_and_each_line_is_a_command_or_a_sentence(
    cause: Any, look: Look
) -> None:
    elsewhere = replace(look, interface="a;b", netns_path="/run/netns/n")
    for line in cause.remedy(elsewhere, Seen()).split("\n"):
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
    assert " del " not in cause.remedy(look, Seen(dropped="request"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ip link set dev cali1 up", "command"),
        ("sysctl -w a=1\nsysctl -w b=1", "command"),
        ("Leave it.", "advice"),
        ("", "advice"),
    ],
)
def test_a_command_is_what_can_be_pasted_as_it_is(text: str, kind: str) -> None:
    assert Remedy.of(text) == Remedy(kind, text)  # type: ignore[arg-type]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_advice_has_no_line_to_paste(cause: Cause) -> None:
    """Sentences alone, or commands alone."""
    for _, lines in page.mends(cause):
        assert len({line.endswith(".") for line in lines}) == 1
        assert Remedy.of("\n".join(lines)).kind == ("advice" if lines[0][-1] == "." else "command")


def test_the_finding_tells_which_it_is() -> None:
    look = replace(HEALTHY, proxy_arp_interface=0)
    assert establish(look, {}).remedy_kind == "command"
    assert establish(replace(WHOLE, carrier=False, up=True), {}).remedy_kind == "advice"
