# SPDX-License-Identifier: Apache-2.0
"""Queues, and filters of traffic control, in an ARP packet's way."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from tracer.node import netlink
from tracer.node.netlink import Connection

_TCMSG = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info
_TCA_KIND = 1
# clsact's, of linux/pkt_sched.h. An ingress qdisc has filters at ingress alone, and shows
# them at both (net/sched/sch_ingress.c, ingress_tcf_block).
_PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
# What the kernel or the distribution gives an interface by itself, and what keeps order among
# packets without refusing any.
_DEFAULTS = frozenset({"noqueue", "pfifo_fast", "fq_codel", "fq", "mq"})
_ETH_P_ALL, _ETH_P_ARP = 0x0003, 0x0806


def queue(root: str | None) -> tuple[str, ...]:
    """An interface's root queue (:attr:`tracer.node.link.Link.qdisc`), if it is not one of
    those that are there by default: ``tc qdisc netem``.
    """
    return () if root is None or root in _DEFAULTS else (f"tc qdisc {root}",)


def with_clsact(connection: Connection) -> frozenset[int]:
    """The indexes of the interfaces that have it. Raises OSError.

    By a dump: RTM_GETQDISC of one interface's is answered to everybody who listens to
    changes (net/sched/sch_api.c, qdisc_get_notify).
    """
    bodies = connection.dump(netlink.RTM_GETQDISC, _TCMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
    return frozenset(_TCMSG.unpack_from(body)[1] for body in bodies if _kind(body) == "clsact")


def filters(connection: Connection, ifindex: int, direction: str) -> tuple[str, ...]:
    """Those at ``ingress`` or ``egress`` that ARP meets: ``tc filter bpf pref 100``.

    Raises OSError.
    """
    question = _TCMSG.pack(socket.AF_UNSPEC, ifindex, 0, _PARENTS[direction], 0)
    return names(connection.dump(netlink.RTM_GETTFILTER, question))


def names(bodies: Iterable[bytes]) -> tuple[str, ...]:
    """Of RTM_NEWTFILTER messages: one a preference, those for another protocol left out."""
    found: dict[str, None] = {}
    for body in bodies:
        info = _TCMSG.unpack_from(body)[4]
        if socket.ntohs(info & 0xFFFF) in (_ETH_P_ALL, _ETH_P_ARP):
            found[f"tc filter {_kind(body)} pref {info >> 16}"] = None
    return tuple(found)


def _kind(body: bytes) -> str:
    return netlink.text(netlink.attributes(body, _TCMSG.size).get(_TCA_KIND)) or "?"
