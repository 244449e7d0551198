# SPDX-License-Identifier: Apache-2.0
"""The pod's end of a link: whose MAC address it has, and which neighbours it knows."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracer.node import addresses, link, netlink, netns
from tracer.node.link import IFINFOMSG
from tracer.node.netlink import Connection

# linux/if_link.h, linux/net_namespace.h
_IFLA_LINK, _IFLA_LINK_NETNSID = 5, 37
_NETNSA_NSID, _NETNSA_FD = 1, 3
_NUMBER = struct.Struct("=i")
# Of others (vlan, macvlan) the link is the device below.
_PAIRS = frozenset({"veth", "netkit"})


@dataclass(frozen=True, slots=True)
class Peer:
    """``netns_path`` is a file to enter its namespace by, None if that is the node's own.

    ``macs``: of all interfaces there. ``enslaved``: another one of them takes its packets.
    ``neighbours``: by address, the state (the kernel's NUD name in lower case) and the MAC
    address of each entry.
    """

    name: str
    mac: str | None
    up: bool
    enslaved: bool
    macs: frozenset[str]
    neighbours: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    netns_path: str | None = None


def peer_of(
    connection: Connection, ifindex: int, known: dict[int, tuple[str, int]] | None = None
) -> Peer | str:
    """The other end of the interface, or why it cannot be looked at: words after "it".

    ``connection`` is the calling thread's namespace's, in which the interface is; ``known``
    keeps for the next call which namespaces were found. Takes CAP_SYS_ADMIN, and a file of
    the pod's namespace: /run/netns, or a process's (CAP_SYS_PTRACE).
    """
    try:
        body = connection.ask(netlink.RTM_GETLINK, link.question(ifindex))
        attributes = netlink.attributes(body, IFINFOMSG.size)
        other = netlink.number(attributes.get(_IFLA_LINK))
        kind = link.parse(body).kind
        if not other or kind not in _PAIRS:
            return f"is no end of a pair, but a {kind or 'device'}"
        if _IFLA_LINK_NETNSID not in attributes:
            return _read(other, None)
        (number,) = _NUMBER.unpack(attributes[_IFLA_LINK_NETNSID])
        found = _find(connection, number, {} if known is None else known)
        if found is None:
            return "has its other end in a namespace to which no file or process leads"
        path, inode = found
        with netns.entered(path, inode):
            return _read(other, path)
    except OSError as error:
        return f"could not be looked into: {error.strerror or error}"


def _find(
    connection: Connection, number: int, known: dict[int, tuple[str, int]]
) -> tuple[str, int] | None:
    """A file of the namespace that has this number in ours, and its inode."""
    for path, inode in netns.each() if number not in known else ():
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # A process that ended.
        try:
            # net/core/net_namespace.c, rtnl_net_getid; struct rtgenmsg is one byte.
            question = bytes(4) + netlink.attribute(_NETNSA_FD, _NUMBER.pack(file))
            answer = connection.ask(netlink.RTM_GETNSID, question)
        except OSError:
            continue
        finally:
            os.close(file)
        raw = netlink.attributes(answer, 4).get(_NETNSA_NSID)
        if raw is not None:
            known[_NUMBER.unpack(raw)[0]] = (path, inode)
        if number in known:
            break
    return known.get(number)


def _read(ifindex: int, path: str | None) -> Peer:
    with Connection() as there:
        links = [link.parse(body) for body in there.dump(netlink.RTM_GETLINK, link.question())]
        own = next((each for each in links if each.ifindex == ifindex), None)
        if own is None:
            raise FileNotFoundError("its other end is gone")
        return Peer(
            name=own.name,
            mac=own.mac,
            up=own.up,
            enslaved=own.master is not None,
            macs=frozenset(each.mac for each in links if each.mac is not None),
            neighbours=_neighbours(there, ifindex),
            netns_path=path,
        )


def _neighbours(there: Connection, ifindex: int) -> dict[str, tuple[str, str | None]]:
    entries = addresses.neighbours(there)
    return {each.ip: (each.state, each.mac) for each in entries if each.ifindex == ifindex}
