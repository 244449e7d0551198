# SPDX-License-Identifier: Apache-2.0
"""One interface as an RTM_NEWLINK message tells of it."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from tracer.node import netlink

IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change
# linux/if_link.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER = 1, 3, 10
_IFLA_LINKINFO, _IFLA_XDP = 18, 43
_IFLA_INFO_SLAVE_KIND = 4
_IFLA_XDP_ATTACHED = 2
# linux/if.h
_IFF_UP, _IFF_NOARP, _IFF_LOWER_UP = 0x1, 0x80, 0x10000
_XDP = {1: "native", 2: "generic", 3: "offloaded", 4: "native"}  # XDP_ATTACHED_*
# Masters whose rx handler takes every packet of a port (net/core/dev.c, rx_handler). One of
# a VRF goes on to ARP.
_TAKES_ALL = frozenset({"bridge", "bond", "team", "openvswitch", "hsr"})


@dataclass(frozen=True, slots=True)
class Link:
    """``master`` is an index, ``master_kind`` its kind as ``ip -d link`` names it.

    ``carrier`` is IFF_LOWER_UP, true at once; the operational state follows it later.
    ``xdp``: ``native``, ``generic`` or ``offloaded``, where a program is attached.
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
    _, _, ifindex, flags, _ = IFINFOMSG.unpack_from(body)
    attributes = netlink.attributes(body, IFINFOMSG.size)
    info = netlink.attributes(attributes.get(_IFLA_LINKINFO, b""), 0)
    xdp = netlink.attributes(attributes.get(_IFLA_XDP, b""), 0).get(_IFLA_XDP_ATTACHED, b"\0")
    master = attributes.get(_IFLA_MASTER)
    return Link(
        ifindex=ifindex,
        name=_text(attributes.get(_IFLA_IFNAME)) or "",
        up=bool(flags & _IFF_UP),
        carrier=bool(flags & _IFF_LOWER_UP),
        noarp=bool(flags & _IFF_NOARP),
        mac=attributes[_IFLA_ADDRESS].hex(":") if _IFLA_ADDRESS in attributes else None,
        master=struct.unpack("=I", master)[0] if master else None,
        master_kind=_text(info.get(_IFLA_INFO_SLAVE_KIND)),
        xdp=_XDP.get(xdp[0]),
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.rstrip(b"\0").decode("utf-8", "surrogateescape")
