# SPDX-License-Identifier: Apache-2.0
"""What the kernel answers, parsed: real bytes of Linux 6.18, captured in a lab."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from tracer.node import arptables, link, listeners, nftables, routes, rules, traffic_control
from tracer.node.listeners import ArpSocket
from tracer.node.routes import Hop, Route
from tracer.node.rules import Rule

CALI = "calice0906292e2"


def unpacked(text: str) -> bytes:
    """Hex, in which ``*40`` is forty zeros."""
    words = (
        bytes(int(word[1:])) if word[0] == "*" else bytes.fromhex(word) for word in text.split()
    )
    return b"".join(words)


# veth, up, pfifo; medium_id -1, arp_ignore 2, and what Calico sets.
LINK = unpacked(
    "000001000300000043100100000000001400030063616c6963653039303632393265320008000d00 "
    "e803000005001000060000000500110000000000050043000000000008000400dc05000008003200 "
    "4400000008003300ffff000008001b000000000008001e000000000008003d000000000008001f00 "
    "0200000008002800ffff0000080029000000010008003a000000010008003f000000010008004000 "
    "0000010008003b00f8ff070008003c00ffff00000800420000000000080020000200000005002100 "
    "01000000080023000200000008002f00010000000800300001000000060044000000000006004500 "
    "0000000005002700000000000a000100eeeeeeeeeeee00000a000200ffffffffffff0000cc0017 *201 "
    "640007 *97 "
    "0c002b00050002000000000010001200090001007665746800000000080025000100000008000500 "
    "020000000a000600706669666f000000c0011a008c0002008800010001 *7 "
    "01000000010000000100000001000000010000000100000001 *19 ffffffff *16 02 *27 "
    "0100000010270000e803 *18 "
    "0100000030010a00080001000000000014000500ffff000048ba0500688d0000e8030000f4000200 "
    "0000000040000000dc05000001000000010000000100000001000000ffffffffa00f0000e803 *6 "
    "803a090080510100030000005802000010 *7 01000000010000000100000060ea *22 0100000001 *11 "
    "10270000e803000001 *11 01 *11 01 *19 80ee36 *9 01 *24 04 *6 ffff0000ffffffff01 *15 "
    "140007 *17 050008000000000024000e *33 04003e8004004180 "
)
RULES = [
    unpacked(text)
    for text in (
        "02000000ff0000010000000008000f00ff00000008000e00ffffffff0500150002000000",
        "02101000000000080000000008000f000000000008000e00ffffffff050015000000000014000300"
        "63616c69636530393036323932653200080006000500000008000100a9fe000008000200c0a80000",
        "02000000000000070000000008000f000000000008000e00ffffffff050015000000000008000600"
        "0b00000008000a000700000008001000ffffffff",
        "02000000fe0000010000000008000f00fe00000008000e00ffffffff050015000200000008000600fe7f0000",
        "02000000fd0000010000000008000f00fd00000008000e00ffffffff050015000200000008000600ff7f0000",
    )
]
CHAIN_INPUT = unpacked(
    "03000002060001007400000006000300610000000c0002 *8 "
    "01140004000800010000000000080002000000000008000500000000000b00070066696c74657200 "
    "0008000a00000000010800060000000002 "
)
CHAIN_OUTPUT = unpacked(
    "03000002060001007400000006000300620000000c0002 *8 "
    "02140004000800010000000001080002000000000008000500000000010b00070066696c74657200 "
    "0008000a00000000010800060000000001 "
)
CHAIN_WITHOUT_HOOK = unpacked(
    "0300000206000100740000000a000300706c61696e0000000c0002 *8 030800060000000001 "
)
# iifname != "cali*" accept
RULE_OTHERS = unpacked(
    "03000002060001007400000006000200610000000c0003 *8 "
    "048400040024000100090001006d6574610000000014000200080002000000000608000100000000 "
    "012c00010008000100636d700020000200080001000000000108000200000000010c000300080001 "
    "0063616c69300001000e000100696d6d6564696174650000001c0002000800010000000000100002 "
    "000c0002000800010000000001 "
)
# iifname "calice0906292e2" arp operation request counter drop
RULE_REQUEST = unpacked(
    "03000002060001007400000006000200610000000c0003 *8 050c0006 *8 "
    "041c01040024000100090001006d6574610000000014000200080002000000000608000100000000 "
    "013800010008000100636d70002c0002000800010000000001080002000000000018000300140001 "
    "0063616c69636530393036323932653200340001000c0001007061796c6f61640024000200080001 "
    "00000000010800020000000001080003000000000608000400000000022c00010008000100636d70 "
    "0020000200080001000000000108000200000000000c00030006000100000100002c0001000c0001 "
    "00636f756e746572001c0002000c0001 *9 0c0002 *9 "
    "300001000e000100696d6d6564696174650000001c0002000800010000000000100002000c000200 "
    "0800010000000000 "
)
# arp saddr ip 10.0.0.1 drop
RULE_SENDER = unpacked(
    "03000002060001007400000006000200620000000c0003 *8 "
    "0694000400340001000c0001007061796c6f61640024000200080001000000000108000200000000 "
    "01080003000000000e08000400000000042c00010008000100636d70002000020008000100000000 "
    "0108000200000000000c000300080001000a000001300001000e000100696d6d6564696174650000 "
    "001c0002000800010000000000100002000c0002000800010000000000 "
)
CHAIN_OF_ONE_DEVICE = unpacked(
    "05000002060001006e00000006000300630000000c0002 *8 "
    "014000040008000100000000000800020000000000180004001400010063616c6963653039303632 "
    "39326532001400030063616c6963653039303632393265320008000500000000010b00070066696c "
    "746572000008000a00000000010800060000000001 "
)
CHAIN_OF_DEVICES = unpacked(
    "05000002060001006e00000006000300640000000c0002 *8 "
    "02380004000800010000000000080002000000000524000400090001006574683000000000140001 "
    "0063616c6963653039303632393265320008000500000000010b00070066696c746572000008000a "
    "00000000010800060000000000 "
)
# netdev: arp operation request drop
RULE_NETDEV = unpacked(
    "05000002060001006e00000006000200630000000c0003 *8 "
    "03e400040024000100090001006d6574610000000014000200080002000000000108000100000000 "
    "012c00010008000100636d700020000200080001000000000108000200000000000c000300060001 "
    "0008060000340001000c0001007061796c6f61640024000200080001000000000108000200000000 "
    "01080003000000000608000400000000022c00010008000100636d70002000020008000100000000 "
    "0108000200000000000c0003000600010000010000300001000e000100696d6d6564696174650000 "
    "001c0002000800010000000000100002000c0002000800010000000000 "
)
FILTERS = [
    unpacked("0000000003 *7 f2ffffff00030700080001006270660008000b0000000000 "),
    unpacked(
        "000000000300000001000000f2ffffff00030700080001006270660008000b000000000028000200 "
        "06000400010000000c00050006000000ffffffff08000800010000000800090008000000 "
    ),
    unpacked("0000000003 *7 f2ffffff08000900080001006270660008000b0000000000 "),
    unpacked(
        "000000000300000001000000f2ffffff08000900080001006270660008000b000000000028000200 "
        "06000400010000000c00050006000000ffffffff08000800010000000800090008000000 "
    ),
    unpacked("0000000003 *7 f2ffffff08066400080001006270660008000b0000000000 "),
    unpacked(
        "000000000300000001000000f2ffffff08066400080001006270660008000b000000000028000200 "
        "06000400010000000c00050006000000ffffffff08000800010000000800090008000000 "
    ),
]
ROUTE = unpacked("021800004d0300060000000008000f004d00000008000100c63364000800060007000000 ")
ANSWER = unpacked(
    "02200000fe0000010002000008000f00fe00000008000100a9fe0101080004000200000008000700 "
    "0a410002080005000a410001080019000000000024000c0002 *31 "
)
PFIFO_0 = unpacked(
    "000000000300000000001c80ffffffff030000000a000100706669666f0000000800020000000000"
)
# -A INPUT -i calice0906292e2 --opcode 1 -j DROP; -A INPUT -s 10.0.0.1 -j ACCEPT; -P OUTPUT DROP
ARPT_INFO = unpacked(
    "66696c746572 *26 07 *7 b8020000a0030000d0010000b8020000a00300000600000088050000 "
)
ARPT_ENTRIES = unpacked(
    "66696c746572 *26 8805 *89 01ffff *8 63616c696365303930363239326532 *17 "
    "ffffffffffffffffffffffffffffffff *22 c000e80001 *23 28 *31 "
    "ffffffff000000000a00000100000000ffffffff *152 c000e80001 *23 28 *31 feffffff *168 "
    "c000e80001 *23 28 *31 feffffff *168 c000e80002 *23 28 *31 ffffffff *168 c000e80004 *23 "
    "28 *31 feffffff *168 c0000001 *24 40004552524f52 *25 4552524f52 *27 "
)


def test_link() -> None:
    parsed = link.parse(LINK)
    assert (parsed.ifindex, parsed.name, parsed.kind) == (3, CALI, "veth")
    assert (parsed.up, parsed.carrier, parsed.noarp, parsed.xdp) == (True, True, False, None)
    assert (parsed.mac, parsed.qdisc) == ("ee:ee:ee:ee:ee:ee", "pfifo")
    assert (parsed.master, parsed.master_kind) == (None, None)
    assert parsed.conf == {
        "forwarding": 1,
        "proxy_arp": 1,
        "rp_filter": 1,
        "arp_filter": 0,
        "medium_id": -1,
        "arp_ignore": 2,
        "accept_local": 0,
        "proxy_arp_pvlan": 0,
        "route_localnet": 1,
    }


def test_link_cut_short() -> None:
    with pytest.raises(ValueError, match="truncated"):
        link.parse(LINK[:-11])


def test_rules() -> None:
    assert [rules.parse(body) for body in RULES] == [
        Rule(1, 0, table=255, protocol=2),
        Rule(
            8,
            5,
            source=IPv4Network("192.168.0.0/16"),
            destination=IPv4Network("169.254.0.0/16"),
            interface=CALI,
        ),
        Rule(7, 11, mark=7, mask=0xFFFFFFFF),
        Rule(1, 32766, table=254, protocol=2),
        Rule(1, 32767, table=253, protocol=2),
    ]


@pytest.mark.parametrize(
    ("target", "sender", "interface", "met"),
    [
        ("169.254.1.1", "192.168.156.1", CALI, True),
        ("169.253.1.1", "192.168.156.1", CALI, False),
        ("169.254.1.1", "192.169.156.1", CALI, False),
        ("169.254.1.1", "192.168.156.1", "cali7", False),
        ("169.254.1.1", "", CALI, False),  # the node's own question
    ],
)
def test_whom_a_rule_is_for(target: str, sender: str, interface: str, met: bool) -> None:
    rule = rules.parse(RULES[1])
    assert rule.met(target, sender, interface) is met
    assert replace(rule, inverted=True).met(target, sender, interface) is not met
    assert replace(rule, never=True).met(target, sender, interface) is False
    assert replace(rule, understood=False).met(target, sender, interface) is None


def test_a_request_has_no_mark() -> None:
    rule = rules.parse(RULES[2])
    assert rule.met("169.254.1.1", "192.168.156.1", CALI) is False
    assert replace(rule, inverted=True).met("169.254.1.1", "192.168.156.1", CALI) is True
    assert replace(rule, mark=0).met("169.254.1.1", "192.168.156.1", CALI) is True


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (
            rules.parse(RULES[1]),
            f"from 192.168.0.0/16 to 169.254.0.0/16 iif {CALI} prohibit pref 5",
        ),
        (rules.parse(RULES[2]), "from all fwmark 0x7/0xffffffff unreachable pref 11"),
        (rules.parse(RULES[3]), "from all lookup main pref 32766"),
        (
            Rule(1, 99, table=77, mark=1, mask=1, inverted=True, suppress=0),
            "not from all fwmark 0x1/0x1 lookup 77 suppress_prefixlength 0 pref 99",
        ),
        (Rule(2, 7, goto=100, interface="a b"), "from all iif 'a b' goto 100 pref 7"),
    ],
)
def test_a_rules_name_is_what_ip_rule_del_takes(rule: Rule, name: str) -> None:
    assert rule.name == name


def test_whom_alone_a_rule_is_for() -> None:
    assert Rule(6, 1, source=IPv4Network("10.0.0.1/32")).alone_for("10.0.0.1", CALI)
    assert Rule(6, 1, interface=CALI).alone_for("10.0.0.1", CALI)
    assert not Rule(6, 1, source=IPv4Network("10.0.0.0/31")).alone_for("10.0.0.1", CALI)
    assert not Rule(6, 1, interface=CALI, inverted=True).alone_for("10.0.0.1", CALI)
    assert not Rule(6, 1).alone_for("10.0.0.1", CALI)


def test_route_answer() -> None:
    answer = routes.answer(ANSWER)
    assert (answer.ok, answer.errno, answer.error) == (True, 0, None)
    assert (answer.type, answer.out_ifindex) == ("unicast", 2)
    assert (answer.table, answer.gateway) == (254, "10.65.0.1")


@pytest.mark.parametrize(
    ("kind", "network", "table", "metric", "name"),
    [
        ("unicast", "0.0.0.0/0", 254, 0, "default"),
        ("unicast", "169.254.1.1/32", 254, 7, "169.254.1.1/32 metric 7"),
        ("blackhole", "198.51.100.0/24", 77, 7, "blackhole 198.51.100.0/24 metric 7 table 77"),
        ("unreachable", "0.0.0.0/0", 254, 0, "unreachable default"),
        # iproute2 looks for these in table local, unless it is told otherwise.
        ("broadcast", "169.254.1.1/32", 255, 0, "broadcast 169.254.1.1/32"),
        ("anycast", "169.254.1.1/32", 254, 0, "anycast 169.254.1.1/32 table 254"),
        ("multicast", "169.254.1.1/32", 254, 0, "multicast 169.254.1.1/32"),
    ],
)
def test_a_routes_name_is_what_ip_route_del_takes(
    kind: str, network: str, table: int, metric: int, name: str
) -> None:
    assert Route(kind, IPv4Network(network), table, metric).name == name


def test_a_routes_name_has_its_next_hops_and_who_wrote_it() -> None:
    target = IPv4Network("169.254.1.1/32")
    # An interface that is gone has no name but its number.
    hops = (Hop(1 << 30, "192.0.2.1"), Hop(2 << 29 | 1))
    one = Route("unicast", target, 254, hops=hops[:1], protocol=12)
    assert (one.name, one.keeper) == (
        "169.254.1.1/32 via 192.0.2.1 dev 1073741824 proto bird",
        "bird",
    )
    several = Route("unicast", target, 254, hops=hops, protocol=4)
    assert several.keeper is None and several.ifindex == 0
    assert several.name.startswith("169.254.1.1/32 nexthop via 192.0.2.1 dev 1073741824 nexthop ")
    # The table's own kind of what a next-hop object refuses is unicast.
    assert Route("blackhole", target, 254, nexthop=5).name == "169.254.1.1/32 nhid 5"


def test_nft_chains() -> None:
    request = nftables.parse_chain(CHAIN_INPUT)
    reply = nftables.parse_chain(CHAIN_OUTPUT)
    assert request is not None and reply is not None
    assert (str(request), request.hook, request.drops) == ("nft arp t a", "input", True)
    assert (str(reply), reply.hook, reply.drops) == ("nft arp t b", "output", False)
    assert nftables.parse_chain(CHAIN_WITHOUT_HOOK) is None


def test_nft_chains_of_devices() -> None:
    one = nftables.parse_chain(CHAIN_OF_ONE_DEVICE)
    several = nftables.parse_chain(CHAIN_OF_DEVICES)
    assert one is not None and several is not None
    assert (str(one), one.hook, one.devices) == ("nft netdev n c", "ingress", (CALI,))
    assert set(several.devices) == {"eth0", CALI}
    assert one.on(CALI) and several.on("eth0")
    assert not one.on("eth0") and not several.on("eth01")


def test_a_device_of_a_chain_may_be_a_prefix() -> None:
    chain = nftables.Chain(nftables.NETDEV, "n", "c", "ingress", False, ("cali*",))
    assert chain.on(CALI) and not chain.on("eth0")


def drops(chain: bytes, interface: str, *of_family: bytes) -> bool | None:
    parsed = nftables.parse_chain(chain)
    assert parsed is not None
    return nftables.verdict(parsed, tuple(map(nftables.parse_rule, of_family)), interface)[0]


def test_what_an_nft_chain_certainly_drops() -> None:
    # Its policy, for whom no rule is met.
    assert drops(CHAIN_INPUT, "eth0") is True
    assert drops(CHAIN_OUTPUT, CALI) is False
    # iifname != "cali*" accept
    assert drops(CHAIN_INPUT, "eth0", RULE_OTHERS) is False
    assert drops(CHAIN_INPUT, "cali7", RULE_OTHERS) is True
    # iifname and arp operation request
    assert drops(CHAIN_INPUT, CALI, RULE_REQUEST) is True
    # A rule for certain senders leaves it open, unless another has decided before.
    assert drops(CHAIN_OUTPUT, CALI, RULE_SENDER) is None
    assert drops(CHAIN_INPUT, "eth0", RULE_OTHERS, RULE_SENDER) is False
    assert drops(CHAIN_OF_ONE_DEVICE, CALI, RULE_NETDEV) is True


def test_the_rule_that_decides_has_a_handle() -> None:
    chain, rule = nftables.parse_chain(CHAIN_INPUT), nftables.parse_rule(RULE_REQUEST)
    assert chain is not None and rule.handle
    assert nftables.verdict(chain, (rule,), CALI) == (True, rule.handle)
    assert nftables.verdict(chain, (), CALI) == (True, None)


def test_rules_of_other_chains_do_not_count() -> None:
    assert drops(CHAIN_OUTPUT, CALI, RULE_REQUEST) is False


def test_arptables() -> None:
    request, reply = arptables.parse(ARPT_INFO, ARPT_ENTRIES[40:])
    assert (str(request), len(request.rules), request.drops) == ("arptables INPUT", 2, False)
    assert (str(reply), reply.rules, reply.drops) == ("arptables OUTPUT", (), True)
    assert request.drops_on(CALI) is True
    assert request.drops_on("eth0") is None  # by the rule for a sender
    assert reply.drops_on("eth0") is True


def test_tc_filters_that_arp_meets() -> None:
    """One a preference; that for IPv4 is not met."""
    assert traffic_control.names(FILTERS) == ("tc filter bpf pref 7", "tc filter bpf pref 100")


def tc_filter(pref: int, program: str | None) -> bytes:
    """RTM_NEWTFILTER of kind bpf for all protocols (linux/rtnetlink.h, linux/pkt_cls.h)."""

    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    body = struct.pack("=BxxxiIII", 0, 7, 0, 0xFFFFFFF2, pref << 16 | socket.htons(0x0003))
    body += attribute(1, b"bpf\0")
    return body if program is None else body + attribute(2, attribute(7, program.encode() + b"\0"))


def test_a_program_with_a_name_is_told_from_others() -> None:
    told = [tc_filter(100, None), tc_filter(100, "cali_from_wep"), tc_filter(7, None)]
    assert traffic_control.names(told) == (
        "tc filter bpf pref 100 cali_from_wep",
        "tc filter bpf pref 7",
    )


@pytest.mark.parametrize("kind", ["noqueue", "pfifo_fast", "fq_codel", "fq", "mq", None])
def test_queues_that_are_there_by_default(kind: str | None) -> None:
    assert traffic_control.queue(kind) == ()


def test_other_queues_are_named() -> None:
    assert traffic_control.queue("netem") == ("tc qdisc netem",)


def qdisc(kind: str, options: bytes) -> bytes:
    def attribute(number: int, value: bytes) -> bytes:
        padded = value + bytes(-len(value) % 4)
        return struct.pack("=HH", 4 + len(value), number) + padded

    return PFIFO_0[:20] + attribute(1, kind.encode() + b"\0") + attribute(2, options)


@pytest.mark.parametrize(
    ("body", "certain"),
    [
        (PFIFO_0, True),
        (qdisc("pfifo", struct.pack("=I", 1000)), False),
        (qdisc("blackhole", b""), True),
        # struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter
        (qdisc("netem", struct.pack("=6I", 0, 1000, 0xFFFFFFFF, 0, 0, 0)), True),
        (qdisc("netem", struct.pack("=6I", 0, 1000, 0x7FFFFFFF, 0, 0, 0)), False),
    ],
)
def test_queues_that_certainly_drop(body: bytes, certain: bool) -> None:
    assert traffic_control._drops(body) is certain


def test_packet_sockets_that_receive_arp_alone() -> None:
    lines = [
        "0000000000000000 3      3    0806   7     1      0      0      1001  ",
        "0000000000000000 3      2    0806   0     1      0      0      1002  ",
        "0000000000000000 3      3    0003   7     1      0      0      1003  ",  # tcpdump
        "0000000000000000 3      3    0806   7     0      0      0      1004  ",  # not bound yet
    ]
    found = list(listeners.parse(lines))
    assert found == [ArpSocket(7, 1001), ArpSocket(0, 1002)]
    assert [each.hears(8) for each in found] == [False, True]
