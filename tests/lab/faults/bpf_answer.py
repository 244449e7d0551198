# SPDX-License-Identifier: Apache-2.0
"""A tc program that answers for the gateway, as Cilium's and Antrea's do: it makes the reply of
the request and sends it back. Written in instructions, as :mod:`lab.faults.xdp` is."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from .. import frames, links
from ..names import GATEWAY, HOST_MAC
from . import bpf

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_SCHED_CLS = 3  # BPF_PROG_TYPE_SCHED_CLS
_LOAD_BYTES, _STORE_BYTES, _REDIRECT = 26, 9, 23  # bpf_skb_load_bytes, ...; linux/bpf.h
_UNSPEC = -1  # TC_ACT_UNSPEC
_FRAME = 42
_BUFFER = -48  # the frame's copy on the stack, from the frame pointer
_PREFERENCE = 1


def _program(ifindex: int) -> bytes:
    op = bpf.instruction
    half = 0x69  # BPF_LDX | BPF_MEM | BPF_H

    def number(raw: bytes) -> int:
        """Bytes of a packet as a program on this machine reads them."""
        return int(struct.unpack("=H" if len(raw) == 2 else "=i", raw)[0])

    def copy(source: int, target: int, length: int) -> list[bytes]:
        moves = []
        for at in range(0, length, 2):
            moves.append(op(half, 1, 10, _BUFFER + source + at, 0))
            moves.append(op(0x6B, 10, 1, _BUFFER + target + at, 0))  # *(u16 *) = r1
        return moves

    def write(raw: bytes, target: int) -> list[bytes]:
        return [
            op(0x6A, 10, 0, _BUFFER + target + at, number(raw[at : at + 2]))
            for at in range(0, len(raw), 2)
        ]

    start = [
        op(0xBF, 6, 1, 0, 0),  # r6 = ctx
        op(0xB7, 2, 0, 0, 0),
        op(0xBF, 3, 10, 0, 0),
        op(0x07, 3, 0, 0, _BUFFER),
        op(0xB7, 4, 0, 0, _FRAME),
        op(0x85, 0, 0, 0, _LOAD_BYTES),
    ]
    own, gateway = frames.mac_bytes(HOST_MAC), socket.inet_aton(GATEWAY)
    # Destination is the sender; the sender of the reply is the gateway, its target who asked.
    answer = [
        *copy(6, 0, 6),
        *write(own, 6),
        *write(b"\0\2", 20),
        *copy(22, 32, 6),
        *copy(28, 38, 4),
        *write(own, 22),
        *write(gateway, 28),
        op(0xBF, 1, 6, 0, 0),
        op(0xB7, 2, 0, 0, 0),
        op(0xBF, 3, 10, 0, 0),
        op(0x07, 3, 0, 0, _BUFFER),
        op(0xB7, 4, 0, 0, _FRAME),
        op(0xB7, 5, 0, 0, 0),
        op(0x85, 0, 0, 0, _STORE_BYTES),
        op(0xB7, 1, 0, 0, ifindex),
        op(0xB7, 2, 0, 0, 0),
        op(0x85, 0, 0, 0, _REDIRECT),
        op(0x95, 0, 0, 0, 0),
    ]
    wanted = [(12, b"\x08\x06"), (20, b"\0\1"), (38, gateway[:2]), (40, gateway[2:])]
    tests = [test for at, raw in wanted for test in ((at, number(raw)),)]
    # From each test to the end of the answer, where all else is let pass.
    checks = [op(0x55, 0, 0, 2 * len(tests) + len(answer), 0)]  # if r0 != 0
    for place, (at, value) in enumerate(tests):
        left = 2 * (len(tests) - place - 1)
        checks += [op(half, 1, 10, _BUFFER + at, 0), op(0x55, 1, 0, left + len(answer), value)]
    end = [op(0xB7, 0, 0, 0, _UNSPEC), op(0x95, 0, 0, 0, 0)]
    return b"".join([*start, *checks, *answer, *end])


def attach(lab: Lab, pod: Pod) -> None:
    """Into the ingress of a clsact that this adds."""

    def inside(ipr: Any) -> None:
        number = links.index(ipr, pod.interface)
        with links.kind_may_lack("tc: clsact"):
            ipr.tc("add", "clsact", number)
        descriptor = bpf.load(_SCHED_CLS, _program(number), "GPL")
        try:
            ipr.tc(
                "add-filter",
                "bpf",
                number,
                fd=descriptor,
                name="answers",
                parent="ffff:fff2",
                prio=_PREFERENCE,
                protocol=3,
                direct_action=True,
                classid=1,
            )
        finally:
            os.close(descriptor)  # the filter holds the program

    try:
        lab.node.netlink(inside)
    except BaseException:
        lab.node.run(["tc", "qdisc", "del", "dev", pod.interface, "clsact"])
        raise


def detach(lab: Lab, pod: Pod) -> None:
    lab.node.tool(["tc", "qdisc", "del", "dev", pod.interface, "clsact"], package="iproute2")
