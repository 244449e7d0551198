# SPDX-License-Identifier: Apache-2.0
"""An XDP program that drops ARP: in the driver, or in the kernel's generic code after it.

See :mod:`lab.faults.bpf` for how it is made.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from .. import links
from . import bpf
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

# linux/bpf.h, linux/if_link.h
_XDP = 6  # BPF_PROG_TYPE_XDP
_GENERIC, _NATIVE = 2, 4  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE
# pyroute2 before 0.9 gives them two bytes, in network order, which the kernel refuses.
ifinfmsg.xdp.xdp_flags.fields = [("value", "I")]


# ETH_P_ARP as a program on this machine reads it: no byte swap is then needed.
(_ARP,) = struct.unpack("=H", b"\x08\x06")
_DROP_ARP = b"".join(
    (
        bpf.instruction(0x61, 2, 1, 0, 0),  # r2 = ctx->data
        bpf.instruction(0x61, 3, 1, 4, 0),  # r3 = ctx->data_end
        bpf.instruction(0xBF, 4, 2, 0, 0),  # r4 = r2
        bpf.instruction(0x07, 4, 0, 0, 14),  # r4 += 14
        bpf.instruction(0x2D, 4, 3, 4, 0),  # if r4 > r3: pass
        bpf.instruction(0x69, 5, 2, 12, 0),  # r5 = the EtherType
        bpf.instruction(0x55, 5, 0, 2, _ARP),  # if r5 != ARP: pass
        bpf.instruction(0xB7, 0, 0, 0, 1),  # XDP_DROP
        bpf.instruction(0x95, 0, 0, 0, 0),
        bpf.instruction(0xB7, 0, 0, 0, 2),  # pass: XDP_PASS
        bpf.instruction(0x95, 0, 0, 0, 0),
    )
)


def _set_program(lab: Lab, pod: Pod, descriptor: int, mode: int) -> None:
    def inside(ipr: Any) -> None:
        ipr.link(
            "set",
            index=links.index(ipr, pod.interface),
            xdp={
                "attrs": [
                    ("IFLA_XDP_FD", descriptor),
                    ("IFLA_XDP_FLAGS", mode),
                ]
            },
        )

    lab.node.netlink(inside)


def _attach(lab: Lab, pod: Pod, mode: int) -> Saved:
    descriptor = bpf.load(_XDP, _DROP_ARP)
    try:
        _set_program(lab, pod, descriptor, mode)
    finally:
        os.close(descriptor)  # the interface holds the program
    return {"mode": mode}


def _detach(lab: Lab, pod: Pod, saved: Saved) -> None:
    _set_program(lab, pod, -1, saved["mode"])


@fault("an XDP program drops the request, in generic mode", undo=_detach, touches="XDP")
def xdp_generic_drop(lab: Lab, pod: Pod) -> Saved:
    return _attach(lab, pod, _GENERIC)


@fault("an XDP program drops the request, in the driver", undo=_detach, touches="XDP")
def xdp_native_drop(lab: Lab, pod: Pod) -> Saved:
    """On hardware no skb is ever made of what such a program drops. On veth there is one
    already, which veth_xdp_rcv_skb frees (drivers/net/veth.c)."""
    return _attach(lab, pod, _NATIVE)
