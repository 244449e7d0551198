# SPDX-License-Identifier: Apache-2.0
"""Requests of a virtual machine that sets 802.1p: they carry VLAN tag 0, which the kernel takes
off (net/core/dev.c, __netif_receive_skb_core) and answers as any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_PRIORITY_5 = b"\x81\x00\xa0\x00"


def _nothing(_lab: Lab, _pod: Pod, _saved: Saved) -> None:
    pass


@fault(
    "the pod's requests carry VLAN tag 0, with a priority",
    undo=_nothing,
    frame=lambda request: request[:12] + _PRIORITY_5 + request[12:],
    answers=1,
)
def priority_tagged(_lab: Lab, _pod: Pod) -> Saved:
    return {}
