# SPDX-License-Identifier: Apache-2.0
"""Whose an IPv4 address is: the node's own, a neighbour's, or one to be proxied for."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from tracer.node import netlink
from tracer.node.netlink import Connection
from tracer.nud import nud_name

_IFADDRMSG = struct.Struct("=BBBBI")
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_NO_BROADCAST = 31  # a network of two has none (RFC 3021)
# linux/neighbour.h
_NDMSG = struct.Struct("=BxxxiHBB")
_NDA_DST, _NDA_LLADDR = 1, 2
_NTF_PROXY = 0x08


def owners(connection: Connection) -> dict[str, int]:
    """The node's own addresses, each with the index of its interface. Raises OSError."""
    question = _IFADDRMSG.pack(socket.AF_INET, 0, 0, 0, 0)
    found = {}
    for body in connection.dump(netlink.RTM_GETADDR, question):
        attributes = netlink.attributes(body, _IFADDRMSG.size)
        raw = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
        if raw is not None:
            found[str(IPv4Address(raw))] = _IFADDRMSG.unpack_from(body)[4]
    return found


def networks(connection: Connection) -> Iterator[tuple[int, IPv4Interface]]:
    """(interface's index, address) of the node's own, each with its real prefix length; of a
    point-to-point one the peer's network too. Raises OSError.
    """
    question = _IFADDRMSG.pack(socket.AF_INET, 0, 0, 0, 0)
    for body in connection.dump(netlink.RTM_GETADDR, question):
        _, length, _, _, ifindex = _IFADDRMSG.unpack_from(body)
        attributes = netlink.attributes(body, _IFADDRMSG.size)
        local, peer = attributes.get(_IFA_LOCAL), attributes.get(_IFA_ADDRESS)
        if local is not None and local != peer:
            yield ifindex, IPv4Interface((local, 32))
        if peer is not None:
            yield ifindex, IPv4Interface((peer, length))


def broadcasts(connection: Connection) -> Iterator[tuple[int, IPv4Interface, IPv4Address]]:
    """(interface's index, address, broadcast address) of the node's own that have one: written
    with the address, or the network's last (net/ipv4/fib_frontend.c, fib_add_ifaddr). Raises
    OSError.
    """
    question = _IFADDRMSG.pack(socket.AF_INET, 0, 0, 0, 0)
    for body in connection.dump(netlink.RTM_GETADDR, question):
        _, length, _, _, ifindex = _IFADDRMSG.unpack_from(body)
        attributes = netlink.attributes(body, _IFADDRMSG.size)
        local, written = attributes.get(_IFA_LOCAL), attributes.get(_IFA_BROADCAST)
        if local is None:
            continue
        address = IPv4Interface((local, length))
        if written is not None:
            yield ifindex, address, IPv4Address(written)
        if length < _NO_BROADCAST:
            yield ifindex, address, address.network.broadcast_address


@dataclass(frozen=True, slots=True)
class Neighbour:
    """``state`` is the kernel's NUD name in lower case; ``mac`` None: it was not heard."""

    ifindex: int
    ip: str
    mac: str | None
    state: str


def neighbours(connection: Connection) -> Iterator[Neighbour]:
    """What the node has in its IPv4 table. Raises OSError."""
    for body in connection.dump(netlink.RTM_GETNEIGH, _NDMSG.pack(socket.AF_INET, 0, 0, 0, 0)):
        _, ifindex, state, _, _ = _NDMSG.unpack_from(body)
        attributes = netlink.attributes(body, _NDMSG.size)
        to, mac = attributes.get(_NDA_DST), attributes.get(_NDA_LLADDR, b"")
        if to is not None:
            heard = mac.hex(":") if any(mac) else None
            yield Neighbour(ifindex, str(IPv4Address(to)), heard, nud_name(state))


def proxied(connection: Connection) -> set[tuple[int, str]]:
    """(interface's index, address) of ``ip neigh show proxy``; index 0: on all of them."""
    question = _NDMSG.pack(socket.AF_INET, 0, 0, _NTF_PROXY, 0)
    found = set()
    for body in connection.dump(netlink.RTM_GETNEIGH, question):
        _, ifindex, _, flags, _ = _NDMSG.unpack_from(body)
        raw = netlink.attributes(body, _NDMSG.size).get(_NDA_DST)
        if flags & _NTF_PROXY and raw is not None:
            found.add((ifindex, str(IPv4Address(raw))))
    return found
