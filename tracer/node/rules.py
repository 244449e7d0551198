# SPDX-License-Identifier: Apache-2.0
"""The policy rules that come before the routing tables (``ip rule``)."""

from __future__ import annotations

import shlex
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from tracer.node import netlink
from tracer.node.netlink import Connection
from tracer.node.routes import protocol_name

# linux/fib_rules.h: FR_ACT_*, FIB_RULE_INVERT.
TO_TABLE, GOTO = 1, 2
REFUSING = {6: "blackhole", 7: "unreachable", 8: "prohibit"}
_INVERT = 0x2
_TABLES = {253: "default", 254: "main", 255: "local"}
# struct fib_rule_hdr, FRA_*.
_RULE = struct.Struct("=BBBBBBBBI")
_FRA_DST, _FRA_SRC, _FRA_IIFNAME, _FRA_GOTO, _FRA_PRIORITY = 1, 2, 3, 4, 6
_FRA_FWMARK, _FRA_SUPPRESS_IFGROUP, _FRA_SUPPRESS_PREFIXLEN = 10, 13, 14
_FRA_TABLE, _FRA_FWMASK, _FRA_OIFNAME, _FRA_PAD, _FRA_L3MDEV = 15, 16, 17, 18, 19
_FRA_PROTOCOL, _FRA_IP_PROTO, _FRA_SPORT, _FRA_DPORT = 21, 22, 23, 24
# What a request never meets: it goes out nowhere yet, and ARP has neither a protocol of IP's
# nor ports. A rule for VRFs is met by the interfaces in them alone.
_NEVER = frozenset({_FRA_OIFNAME, _FRA_IP_PROTO, _FRA_SPORT, _FRA_DPORT, _FRA_L3MDEV})
_UNDERSTOOD = _NEVER | {
    *(_FRA_DST, _FRA_SRC, _FRA_IIFNAME, _FRA_GOTO, _FRA_PRIORITY, _FRA_FWMARK, _FRA_FWMASK),
    *(_FRA_SUPPRESS_IFGROUP, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_PAD, _FRA_PROTOCOL),
}
_BY_HAND = frozenset({0, 2, 3, 4})  # RTPROT_*; the kernel's own are of no other use here
_NONE = 0xFFFFFFFF
_ANY = IPv4Network("0.0.0.0/0")


@dataclass(frozen=True, slots=True)
class Rule:
    """``action`` is FR_ACT_*. ``understood``: no selector but those that are here; ``never``:
    one that no request meets. ``suppress``: routes of that prefix length or a shorter one do
    not count in its table; -1: all count.
    """

    action: int
    priority: int
    table: int = 0
    goto: int = 0
    source: IPv4Network = _ANY
    destination: IPv4Network = _ANY
    interface: str | None = None
    mark: int = 0
    mask: int = 0
    inverted: bool = False
    suppress: int = -1
    protocol: int = 0
    understood: bool = True
    never: bool = False

    def met(self, target: str, sender: str, interface: str) -> bool | None:
        """By a packet without a mark (net/core/fib_rules.c, fib_rule_match). ``sender`` "":
        0.0.0.0, as where the node itself asks. None: not known.
        """
        if not self.understood:
            return None
        met = (
            not self.never
            and IPv4Address(target) in self.destination
            and IPv4Address(sender or "0.0.0.0") in self.source
            and self.interface in (None, interface)
            and not self.mark & self.mask
        )
        return met != self.inverted

    def alone_for(self, sender: str, interface: str) -> bool:
        """No packet of another's meets it."""
        own = self.source.prefixlen == 32 and str(self.source.network_address) == sender
        return not self.inverted and (own or self.interface == interface)

    @property
    def keeper(self) -> str | None:
        """Who wrote it and may write it again; None: somebody by hand."""
        return None if self.protocol in _BY_HAND else protocol_name(self.protocol)

    @property
    def name(self) -> str:
        """As ``ip rule del`` takes it."""
        words = ["not"] if self.inverted else []
        words.append(f"from {self.source if self.source.prefixlen else 'all'}")
        words += [f"to {self.destination}"] if self.destination.prefixlen else []
        words += [f"fwmark {self.mark:#x}/{self.mask:#x}"] if self.mask else []
        words += [f"iif {shlex.quote(self.interface)}"] if self.interface else []
        if self.action == TO_TABLE:
            words.append(f"lookup {_TABLES.get(self.table, self.table)}")
        elif self.action == GOTO:
            words.append(f"goto {self.goto}")
        else:
            words.append(REFUSING.get(self.action, "nop"))
        words += [f"suppress_prefixlength {self.suppress}"] if self.suppress >= 0 else []
        return " ".join((*words, f"pref {self.priority}"))


def parse(body: bytes) -> Rule:
    """The body of an RTM_NEWRULE message."""
    _, to, source, tos, table, _, _, action, flags = _RULE.unpack_from(body)
    attributes = netlink.attributes(body, _RULE.size)
    suppress = netlink.number(attributes.get(_FRA_SUPPRESS_PREFIXLEN))
    group = netlink.number(attributes.get(_FRA_SUPPRESS_IFGROUP))
    mark = netlink.number(attributes.get(_FRA_FWMARK)) or 0
    mask = netlink.number(attributes.get(_FRA_FWMASK))
    return Rule(
        action=action,
        priority=netlink.number(attributes.get(_FRA_PRIORITY)) or 0,
        table=netlink.number(attributes.get(_FRA_TABLE)) or table,
        goto=netlink.number(attributes.get(_FRA_GOTO)) or 0,
        source=IPv4Network((attributes.get(_FRA_SRC, bytes(4)), source), strict=False),
        destination=IPv4Network((attributes.get(_FRA_DST, bytes(4)), to), strict=False),
        interface=netlink.text(attributes.get(_FRA_IIFNAME)),
        mark=mark,
        mask=(_NONE if mark else 0) if mask is None else mask,
        inverted=bool(flags & _INVERT),
        suppress=-1 if suppress in (None, _NONE) else int(suppress or 0),
        protocol=attributes.get(_FRA_PROTOCOL, b"\0")[0],
        understood=_UNDERSTOOD.issuperset(attributes) and group in (None, _NONE),
        never=bool(tos) or not _NEVER.isdisjoint(attributes),
    )


def read(connection: Connection) -> list[Rule]:
    """The node's, in the order in which they are asked. Raises OSError."""
    question = _RULE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    return [parse(each) for each in connection.dump(netlink.RTM_GETRULE, question)]
