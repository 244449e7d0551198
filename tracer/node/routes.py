# SPDX-License-Identifier: Apache-2.0
"""The route questions: that which arp_process asks, and the node's own.

arp_process (net/ipv4/arp.c) calls ip_route_input_noref(target, sender, device);
RTM_GETROUTE with an input interface runs the same function (net/ipv4/route.c,
inet_rtm_getroute), so its answer is the kernel's, rules and source validation included.
"""

from __future__ import annotations

import shlex
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from tracer.node import netlink
from tracer.node.look import RouteAnswer
from tracer.node.netlink import Connection
from tracer.route_types import route_type

# linux/rtnetlink.h
UNICAST = 1
_RTMSG = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_SRC, _RTA_IIF, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 2, 3, 4, 5, 6
_RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA, _RTA_NH_ID = 9, 15, 18, 30
_RTNEXTHOP = struct.Struct("=HBBi")  # length, flags, weight, index
_RTM_F_LOOKUP_TABLE = 0x1000
_DEAD, _DEAD_NO_CARRIER = 0x1, 0x11  # RTNH_F_DEAD, and RTNH_F_LINKDOWN with it
_MAIN, _LOCAL = 254, 255
# RTPROT_*: linux/rtnetlink.h
_BOOT = 3
_BY_HAND = frozenset({0, _BOOT, 4})
_PROTOCOLS = {
    0: "unspec",
    1: "redirect",
    2: "kernel",
    _BOOT: "boot",
    4: "static",
    8: "gated",
    9: "ra",
    10: "mrt",
    11: "zebra",
    12: "bird",
    16: "dhcp",
    18: "keepalived",
    42: "babel",
    99: "openr",
    186: "bgp",
    187: "isis",
    188: "ospf",
    189: "rip",
    192: "eigrp",
}


def ask(connection: Connection, target: str, sender: str = "", ifindex: int = 0) -> RouteAnswer:
    """``ip route get TARGET [from SENDER iif INTERFACE]``. Raises OSError if not even asked."""
    attributes = netlink.attribute(_RTA_DST, IPv4Address(target).packed)
    if sender:
        attributes += netlink.attribute(_RTA_SRC, IPv4Address(sender).packed)
    if ifindex:
        attributes += netlink.attribute(_RTA_IIF, struct.pack("=I", ifindex))
    source_length = 32 if sender else 0
    fixed = _RTMSG.pack(socket.AF_INET, 32, source_length, 0, 0, 0, 0, 0, _RTM_F_LOOKUP_TABLE)
    try:
        body = connection.ask(netlink.RTM_GETROUTE, fixed + attributes)
    except TimeoutError:
        raise
    except OSError as error:
        return RouteAnswer(ok=False, errno=error.errno or 0)
    return answer(body)


def answer(body: bytes) -> RouteAnswer:
    """What the kernel answered to a route question."""
    found = _attributes(body)
    out = netlink.number(found.get(_RTA_OIF))
    gateway = found.get(_RTA_GATEWAY)
    return RouteAnswer(
        ok=True,
        out_interface=interface_name(out),
        out_ifindex=out,
        type=route_type(body[7]),
        table=netlink.number(found.get(_RTA_TABLE)),
        gateway=None if gateway is None else str(IPv4Address(gateway)),
    )


@dataclass(frozen=True, slots=True)
class Hop:
    """``dead``: the kernel passes over it; ``no_carrier``: for want of a carrier alone, because
    ignore_routes_with_linkdown is on (net/ipv4/fib_semantics.c, fib_nexthop_info).
    """

    ifindex: int
    gateway: str | None = None
    dead: bool = False
    no_carrier: bool = False

    @property
    def name(self) -> str:
        via = f"via {self.gateway} " if self.gateway else ""
        device = interface_name(self.ifindex) or str(self.ifindex)
        return f"{via}dev {shlex.quote(device)}"


@dataclass(frozen=True, slots=True)
class Route:
    """A route as it is in its table; ``hops``: none where it leads nowhere.

    ``protocol`` is who wrote it (RTPROT_*), ``nexthop`` the number of its next-hop object.
    """

    type: str
    network: IPv4Network
    table: int
    metric: int = 0
    hops: tuple[Hop, ...] = ()
    protocol: int = _BOOT
    nexthop: int = 0

    @property
    def ifindex(self) -> int:
        """0: none, or several next hops."""
        return self.hops[0].ifindex if len(self.hops) == 1 else 0

    @property
    def dead(self) -> bool:
        return bool(self.hops) and all(hop.dead for hop in self.hops)

    @property
    def keeper(self) -> str | None:
        """Who wrote it and may write it again; None: somebody by hand."""
        return None if self.protocol in _BY_HAND else protocol_name(self.protocol)

    @property
    def name(self) -> str:
        """As ``ip route del`` takes it."""
        # The kernel compares the kind in the table, and a blackhole object's is unicast there
        # (net/ipv4/fib_trie.c, fib_table_delete).
        words = [] if self.type == "unicast" or self.nexthop else [self.type]
        words.append(str(self.network) if self.network.prefixlen else "default")
        if self.nexthop:
            words.append(f"nhid {self.nexthop}")
        elif len(self.hops) == 1:
            words.append(self.hops[0].name)
        else:
            words += [f"nexthop {hop.name}" for hop in self.hops]
        words += [f"metric {self.metric}"] if self.metric else []
        # iproute2 takes those of some types to be in table local (ip-route(8)).
        usual = _LOCAL if self.type in ("local", "broadcast", "anycast") else _MAIN
        words += [f"table {self.table}"] if self.table != usual else []
        words += [f"proto {protocol_name(self.protocol)}"] if self.protocol != _BOOT else []
        return " ".join(words)


def protocol_name(number: int) -> str:
    """As iproute2 names it (/etc/iproute2/rt_protos)."""
    return _PROTOCOLS.get(number, str(number))


def of_type(
    connection: Connection,
    kind: int = 0,
    *,
    ifindex: int = 0,
    lengths: frozenset[int] | None = None,
    covering: IPv4Address | None = None,
) -> Iterator[Route]:
    """The node's routes of that type (RTN_*; 0: of any), of all tables; only those through that
    interface, only of these prefix lengths, only those that cover an address.

    Filtered by type and interface in the kernel: a node may carry the routes of the whole
    Internet. Raises OSError.
    """
    question = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, kind, 0)
    if ifindex:
        question += netlink.attribute(_RTA_OIF, struct.pack("=I", ifindex))
    address = 0 if covering is None else int(covering)
    for body in connection.dump(netlink.RTM_GETROUTE, question):
        length, found = body[1], body[7]
        if kind not in (0, found) or (lengths is not None and length not in lengths):
            continue
        attributes = _attributes(body)
        destination = attributes.get(_RTA_DST, bytes(4))
        if covering is not None and (int.from_bytes(destination) ^ address) >> (32 - length):
            continue
        route = _parse(body, attributes, destination)
        if not ifindex or route.ifindex == ifindex:
            yield route


def _parse(body: bytes, attributes: dict[int, bytes], destination: bytes) -> Route:
    flags = _RTMSG.unpack_from(body)[8]
    hops = [_hop(netlink.number(attributes.get(_RTA_OIF)) or 0, flags, attributes)]
    hops += [_hop(index, each, hop) for index, each, hop in _multipath(attributes)]
    return Route(
        type=route_type(body[7]),
        network=IPv4Network((destination, body[1])),
        table=netlink.number(attributes.get(_RTA_TABLE)) or body[4],
        metric=netlink.number(attributes.get(_RTA_PRIORITY)) or 0,
        hops=tuple(hop for hop in hops if hop.ifindex),
        protocol=body[5],
        nexthop=netlink.number(attributes.get(_RTA_NH_ID)) or 0,
    )


def _hop(ifindex: int, flags: int, attributes: dict[int, bytes]) -> Hop:
    gateway = attributes.get(_RTA_GATEWAY)
    return Hop(
        ifindex,
        None if gateway is None else str(IPv4Address(gateway)),
        dead=bool(flags & _DEAD),
        no_carrier=flags & _DEAD_NO_CARRIER == _DEAD_NO_CARRIER,
    )


def _multipath(attributes: dict[int, bytes]) -> Iterator[tuple[int, int, dict[int, bytes]]]:
    """(interface's index, flags, attributes) of each of several next hops."""
    rest = attributes.get(_RTA_MULTIPATH, b"")
    while len(rest) >= _RTNEXTHOP.size:
        length, flags, _, index = _RTNEXTHOP.unpack_from(rest)
        yield index, flags, netlink.attributes(rest[:length], _RTNEXTHOP.size)
        rest = rest[max((length + 3) & ~3, _RTNEXTHOP.size) :]


def gateways(connection: Connection) -> frozenset[int]:
    """The indexes of the interfaces by which a default route with a gateway leaves, of
    whatever table. Raises OSError.
    """
    found = set()
    question = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, UNICAST, 0)
    for body in connection.dump(netlink.RTM_GETROUTE, question):
        if body[1] or body[7] != UNICAST:
            continue
        attributes = _attributes(body)
        hops = [(netlink.number(attributes.get(_RTA_OIF)) or 0, attributes)]
        hops += [(index, hop) for index, _, hop in _multipath(attributes)]
        found |= {index for index, hop in hops if index and hop.keys() & {_RTA_GATEWAY, _RTA_VIA}}
    return frozenset(found)


def interface_name(index: int | None) -> str | None:
    """None for an interface that is gone."""
    try:
        return None if index is None else socket.if_indextoname(index)
    except OSError:
        return None


def _attributes(body: bytes) -> dict[int, bytes]:
    return netlink.attributes(body, _RTMSG.size)
