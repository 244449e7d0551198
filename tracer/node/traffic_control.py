# SPDX-License-Identifier: Apache-2.0
"""Queues, and filters of traffic control, in an ARP packet's way."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from tracer.node import netlink
from tracer.node.netlink import Connection

_TCMSG = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_BPF_NAME = 7  # linux/pkt_cls.h: of an eBPF program, none of a classic one
_ROOT = 0xFFFFFFFF  # TC_H_ROOT of linux/pkt_sched.h
# clsact's, of linux/pkt_sched.h. They serve the ingress qdisc too.
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


@dataclass(frozen=True, slots=True)
class Qdiscs:
    """``clsact``: there is one. ``drops``: the root drops whatever is sent, for certain."""

    clsact: bool = False
    drops: bool = False


def qdiscs(connection: Connection) -> dict[int, Qdiscs]:
    """Those of all interfaces, by index. Raises OSError.

    RTM_GETQDISC of one alone is answered to everybody who listens to changes
    (net/sched/sch_api.c, qdisc_get_notify): so not that.
    """
    found: dict[int, Qdiscs] = {}
    question = _TCMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    for body in connection.dump(netlink.RTM_GETQDISC, question):
        _, ifindex, _, parent, _ = _TCMSG.unpack_from(body)
        before = found.get(ifindex, Qdiscs())
        found[ifindex] = Qdiscs(
            before.clsact or _kind(body) == "clsact",
            before.drops or (parent == _ROOT and _drops(body)),
        )
    return found


def _drops(body: bytes) -> bool:
    """net/sched: sch_blackhole.c; sch_fifo.c, a limit of 0; sch_netem.c, a loss of 100%."""
    kind = _kind(body)
    options = netlink.attributes(body, _TCMSG.size).get(_TCA_OPTIONS, b"")
    if kind in ("pfifo", "bfifo"):  # struct tc_fifo_qopt: the limit
        return options[:4] == bytes(4)
    if kind == "netem":  # struct tc_netem_qopt: latency, limit, loss
        return options[8:12] == b"\xff\xff\xff\xff"
    return kind == "blackhole"


def filters(connection: Connection, ifindex: int, direction: str) -> tuple[str, ...]:
    """Those at ``ingress`` or ``egress`` that ARP meets: ``tc filter bpf pref 100``, and
    behind that the name of an eBPF program. Raises OSError.
    """
    question = _TCMSG.pack(socket.AF_UNSPEC, ifindex, 0, _PARENTS[direction], 0)
    return names(connection.dump(netlink.RTM_GETTFILTER, question))


def names(bodies: Iterable[bytes]) -> tuple[str, ...]:
    """Of RTM_NEWTFILTER messages: one a preference, those for another protocol left out."""
    found: dict[int, str] = {}
    for body in bodies:
        info = _TCMSG.unpack_from(body)[4]
        if socket.ntohs(info & 0xFFFF) not in (_ETH_P_ALL, _ETH_P_ARP):
            continue
        name = f"tc filter {_kind(body)} pref {info >> 16}"
        program = _program(body)
        # The preference itself is told of before its filters.
        if program is not None or info >> 16 not in found:
            found[info >> 16] = name if program is None else f"{name} {program}"
    return tuple(found.values())


def _program(body: bytes) -> str | None:
    if _kind(body) != "bpf":
        return None
    options = netlink.attributes(body, _TCMSG.size).get(_TCA_OPTIONS, b"")
    return netlink.text(netlink.attributes(options, 0).get(_TCA_BPF_NAME))


def _kind(body: bytes) -> str:
    return netlink.text(netlink.attributes(body, _TCMSG.size).get(_TCA_KIND)) or "?"
