# SPDX-License-Identifier: Apache-2.0
"""One interface as an RTM_NEWLINK message tells of it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracer.node import netlink

IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change
# linux/if_link.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_QDISC, _IFLA_MASTER = 1, 3, 6, 10
_IFLA_LINKINFO, _IFLA_STATS64, _IFLA_AF_SPEC, _IFLA_EXT_MASK, _IFLA_XDP = 18, 23, 26, 29, 43
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_INFO_SLAVE_KIND = 1, 2, 4
_IFLA_NETKIT_MODE, _NETKIT_L3 = 5, 1
_IFLA_INET_CONF = 1
_RTEXT_FILTER_SKIP_STATS = 1 << 3  # IPv6's; the interface's own come all the same
_RX_OTHERHOST_DROPPED = 24  # of struct rtnl_link_stats64's numbers; since Linux 5.19
_IFLA_XDP_ATTACHED = 2
_ETHERNET, _LOOPBACK = 1, 772  # ARPHRD_* of linux/if_arp.h
# linux/if.h
_IFF_UP, _IFF_LOOPBACK, _IFF_NOARP, _IFF_LOWER_UP = 0x1, 0x8, 0x80, 0x10000
_XDP = {1: "native", 2: "generic", 3: "offloaded", 4: "native"}  # XDP_ATTACHED_*
# Masters whose rx handler takes every packet of a port (net/core/dev.c, rx_handler). One of
# a VRF goes on to ARP.
_TAKES_ALL = frozenset({"bridge", "bond", "team", "openvswitch", "hsr"})
# Where in IFLA_INET_CONF a sysctl of net.ipv4.conf is: IPV4_DEVCONF_* of linux/ip.h, less 1
# (net/ipv4/devinet.c, inet_fill_link_af).
_DEVCONF = {
    "forwarding": 0,
    "proxy_arp": 2,
    "rp_filter": 7,
    "arp_filter": 12,
    "medium_id": 13,
    "arp_ignore": 18,
    "accept_local": 22,
    "proxy_arp_pvlan": 24,
    "route_localnet": 25,
}


@dataclass(frozen=True, slots=True)
class Link:
    """``master`` is an index, ``master_kind`` its kind as ``ip -d link`` names it.

    ``carrier`` is IFF_LOWER_UP, true at once; the operational state follows it later.
    ``xdp``: ``native``, ``generic`` or ``offloaded``, where a program is attached.
    ``kind`` is the interface's own (``veth``), ``qdisc`` its root queue's. ``conf``:
    sysctls of net.ipv4.conf by name; none where IPv4 is not on the interface.
    ``otherhost``: IP packets that came in for another MAC address and were dropped for that
    (net/ipv4/ip_input.c, ip_rcv_core); None before Linux 5.19. ``no_arp``: why its packets
    have no Ethernet header to be found by ARP; None: they have.
    """

    ifindex: int
    name: str
    up: bool
    carrier: bool
    noarp: bool
    mac: str | None
    master: int | None
    master_kind: str | None
    xdp: str | None
    kind: str | None = None
    qdisc: str | None = None
    conf: Mapping[str, int] = field(default_factory=dict)
    loopback: bool = False
    otherhost: int | None = None
    no_arp: str | None = None

    @property
    def blind(self) -> str | None:
        """Why no request can be seen on it (see :class:`tracer.events.LinkSeen`)."""
        if not self.up:
            return "down"
        if not self.carrier:
            return "no carrier"
        if self.master is not None and self.master_kind in _TAKES_ALL:
            try:
                return f"{self.master_kind} {socket.if_indextoname(self.master)}"
            except OSError:
                return f"{self.master_kind} {self.master}"
        return "native XDP" if self.xdp == "native" else None


def parse(body: bytes) -> Link:
    """The body of an RTM_NEWLINK message. Raises ValueError for a malformed one."""
    _, hardware, ifindex, flags, _ = IFINFOMSG.unpack_from(body)
    attributes = netlink.attributes(body, IFINFOMSG.size)
    info = netlink.attributes(attributes.get(_IFLA_LINKINFO, b""), 0)
    kind = netlink.text(info.get(_IFLA_INFO_KIND))
    xdp = netlink.attributes(attributes.get(_IFLA_XDP, b""), 0).get(_IFLA_XDP_ATTACHED, b"\0")
    return Link(
        ifindex=ifindex,
        name=netlink.text(attributes.get(_IFLA_IFNAME)) or "",
        up=bool(flags & _IFF_UP),
        carrier=bool(flags & _IFF_LOWER_UP),
        noarp=bool(flags & _IFF_NOARP),
        mac=attributes[_IFLA_ADDRESS].hex(":") if _IFLA_ADDRESS in attributes else None,
        master=netlink.number(attributes.get(_IFLA_MASTER)),
        master_kind=netlink.text(info.get(_IFLA_INFO_SLAVE_KIND)),
        xdp=_XDP.get(xdp[0]),
        qdisc=netlink.text(attributes.get(_IFLA_QDISC)),
        kind=kind,
        conf=_conf(attributes.get(_IFLA_AF_SPEC, b"")),
        loopback=bool(flags & _IFF_LOOPBACK),
        otherhost=_otherhost(attributes.get(_IFLA_STATS64, b"")),
        no_arp=_no_arp(kind, hardware, info.get(_IFLA_INFO_DATA, b"")),
    )


def question(ifindex: int = 0) -> bytes:
    """The body of RTM_GETLINK for that interface, or for a dump of all."""
    mask = netlink.attribute(_IFLA_EXT_MASK, struct.pack("=I", _RTEXT_FILTER_SKIP_STATS))
    return IFINFOMSG.pack(0, 0, ifindex, 0, 0) + mask


def _no_arp(kind: str | None, hardware: int, data: bytes) -> str | None:
    if hardware not in (_ETHERNET, _LOOPBACK):
        return f"{kind or 'link'} of no Ethernet"
    if kind == "netkit":
        mode = netlink.number(netlink.attributes(data, 0).get(_IFLA_NETKIT_MODE))
        return "netkit in mode l3" if mode == _NETKIT_L3 else None
    return None


def _otherhost(raw: bytes) -> int | None:
    numbers = struct.unpack(f"={len(raw) // 8}Q", raw)
    return numbers[_RX_OTHERHOST_DROPPED] if len(numbers) > _RX_OTHERHOST_DROPPED else None


def _conf(of_families: bytes) -> dict[str, int]:
    inet = netlink.attributes(of_families, 0).get(socket.AF_INET, b"")
    raw = netlink.attributes(inet, 0).get(_IFLA_INET_CONF, b"")
    values = struct.unpack(f"={len(raw) // 4}i", raw)
    return {name: values[at] for name, at in _DEVCONF.items() if at < len(values)}
