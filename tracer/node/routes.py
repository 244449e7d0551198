# SPDX-License-Identifier: Apache-2.0
"""The route questions: that which arp_process asks, and the node's own.

arp_process (net/ipv4/arp.c) calls ip_route_input_noref(target, sender, device);
RTM_GETROUTE with an input interface runs the same function (net/ipv4/route.c,
inet_rtm_getroute), so its answer is the kernel's, rules and source validation included.
"""

from __future__ import annotations

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
_RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA = 9, 15, 18
_RTNEXTHOP = struct.Struct("=HBBi")  # length, flags, weight, index
_RTM_F_LOOKUP_TABLE = 0x1000
_MAIN, _LOCAL = 254, 255


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
class Route:
    """A route as it is in its table; ``ifindex`` 0: none, or several next hops."""

    type: str
    network: IPv4Network
    ifindex: int
    table: int
    metric: int

    @property
    def name(self) -> str:
        """As ``ip route del`` takes it, without a device."""
        kind = "" if self.type == "unicast" else f"{self.type} "
        name = f"{kind}{self.network if self.network.prefixlen else 'default'}"
        name += f" metric {self.metric}" if self.metric else ""
        # iproute2 takes those of some types to be in table local (ip-route(8)).
        usual = _LOCAL if self.type in ("local", "broadcast", "anycast") else _MAIN
        return name + (f" table {self.table}" if self.table != usual else "")


def of_type(
    connection: Connection,
    kind: int,
    *,
    ifindex: int = 0,
    lengths: frozenset[int] | None = None,
) -> Iterator[Route]:
    """The node's routes of that type (RTN_*), of all tables; only those through that
    interface, only of these prefix lengths.

    Filtered by type and interface in the kernel: a node may carry the routes of the whole
    Internet. Raises OSError.
    """
    question = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, kind, 0)
    if ifindex:
        question += netlink.attribute(_RTA_OIF, struct.pack("=I", ifindex))
    for body in connection.dump(netlink.RTM_GETROUTE, question):
        length, found = body[1], body[7]
        if found != kind or (lengths is not None and length not in lengths):
            continue
        attributes = _attributes(body)
        out = netlink.number(attributes.get(_RTA_OIF)) or 0
        if ifindex and out != ifindex:
            continue
        yield Route(
            type=route_type(kind),
            network=IPv4Network((attributes.get(_RTA_DST, bytes(4)), length)),
            ifindex=out,
            table=netlink.number(attributes.get(_RTA_TABLE)) or body[4],
            metric=netlink.number(attributes.get(_RTA_PRIORITY)) or 0,
        )


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
        rest = attributes.get(_RTA_MULTIPATH, b"")
        while len(rest) >= _RTNEXTHOP.size:
            length, _, _, index = _RTNEXTHOP.unpack_from(rest)
            hops.append((index, netlink.attributes(rest[:length], _RTNEXTHOP.size)))
            rest = rest[max(length, _RTNEXTHOP.size) :]
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
