# SPDX-License-Identifier: Apache-2.0
"""Requests that the pod sends wrongly: to another's MAC, or with a header nobody takes.

Nothing on the node is broken, except by moved_mac.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from .. import frames, links
from ..names import HOST_MAC
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_OTHER_MAC = "02:00:5e:00:53:01"  # locally administered; no interface of a lab has it
_HARDWARE, _PROTOCOL, _HARDWARE_LENGTH, _PROTOCOL_LENGTH = 14, 16, 18, 19  # offsets in a frame
_INFINIBAND = 32  # ARPHRD_INFINIBAND of linux/if_arp.h


def _nothing(_lab: Lab, _pod: Pod, _saved: Saved) -> None:
    pass


def _addressed_to(mac: str, frame: bytes) -> bytes:
    return frames.mac_bytes(mac) + frame[6:]


def _with_number(frame: bytes, offset: int, number: int) -> bytes:
    return frame[:offset] + struct.pack("!H", number) + frame[offset + 2 :]


def _with_byte(frame: bytes, offset: int, number: int) -> bytes:
    return frame[:offset] + bytes([number]) + frame[offset + 1 :]


@fault(
    "the pod asks by unicast at a MAC address that is not the node's",
    undo=_nothing,
    frame=lambda request: _addressed_to(_OTHER_MAC, request),
)
def other_mac_request(_lab: Lab, _pod: Pod) -> Saved:
    """As with a wrong permanent neighbour entry in the pod."""
    return {}


def _set_mac(lab: Lab, pod: Pod, mac: str) -> None:
    def inside(ipr: Any) -> None:
        ipr.link("set", index=links.index(ipr, pod.interface), address=mac)

    lab.node.netlink(inside)


def _move_back(lab: Lab, pod: Pod, _: Saved) -> None:
    _set_mac(lab, pod, HOST_MAC)


@fault(
    "the MAC address of the pod's interface changed; the pod asks by unicast at the old one",
    undo=_move_back,
    frame=lambda request: _addressed_to(HOST_MAC, request),
)
def moved_mac(lab: Lab, pod: Pod) -> Saved:
    _set_mac(lab, pod, _OTHER_MAC)
    return {}


@fault(
    "the pod's requests say that its hardware is InfiniBand",
    undo=_nothing,
    frame=lambda request: _with_number(request, _HARDWARE, _INFINIBAND),
)
def malformed_hardware(_lab: Lab, _pod: Pod) -> Saved:
    return {}


@fault(
    "the pod's requests ask for the address of another protocol than IPv4",
    undo=_nothing,
    frame=lambda request: _with_number(request, _PROTOCOL, 0x86DD),
)
def malformed_protocol(_lab: Lab, _pod: Pod) -> Saved:
    return {}


@fault(
    "the pod's requests say that a hardware address has 8 bytes; it has 6",
    undo=_nothing,
    frame=lambda request: _with_byte(request, _HARDWARE_LENGTH, 8),
)
def malformed_lengths(_lab: Lab, _pod: Pod) -> Saved:
    return {}


@fault(
    "the pod's requests say that a protocol address has 16 bytes; it has 4",
    undo=_nothing,
    frame=lambda request: _with_byte(request, _PROTOCOL_LENGTH, 16),
)
def malformed_protocol_length(_lab: Lab, _pod: Pod) -> Saved:
    return {}
