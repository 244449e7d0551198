# SPDX-License-Identifier: Apache-2.0
"""The pod asks from an address that is not the one its /32 leads to: what it writes there is
its own choice (multus, a VIP, a failed DHCP, spoofing), and no reason to route it there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ..errors import Unavailable
from ..wiring import NODE_ADDRESS, ROUTER_ADDRESS
from .devices import add, delete, ip, name_for
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_NEIGHBOUR = "10.65.0.77"  # an address of the node's network that nobody has
_SERVICE = "10.96.0.1"
_VIP = "10.96.0.10"
_AUTOIP = "169.254.77.3"
_SENDER = 28  # offset of the sender's address in a frame


def _from(address: str, frame: bytes) -> bytes:
    return frame[:_SENDER] + socket.inet_aton(address) + frame[_SENDER + 4 :]


def _nothing(_lab: Lab, _pod: Pod, _saved: Saved) -> None:
    pass


def _asks_as(name: str, who: str, address: str) -> None:
    def apply(_lab: Lab, _pod: Pod) -> Saved:
        return {}

    apply.__name__ = name
    fault(
        f"the pod asks as {who}, {address}",
        undo=_nothing,
        frame=lambda request: _from(address, request),
        reason="source_rejected",
        remedy="advice",
    )(apply)


_asks_as("asks_as_router", "the node's router", ROUTER_ADDRESS)
_asks_as("asks_as_node", "the node itself", NODE_ADDRESS)
_asks_as("asks_as_neighbour", "another of the node's network", _NEIGHBOUR)
_asks_as("asks_as_service", "a service", _SERVICE)
_asks_as("asks_as_autoip", "one whose DHCP failed", _AUTOIP)


def _without_services(lab: Lab, pod: Pod, _: Saved) -> None:
    delete(lab, name_for(pod, "ipvs"))


@fault(
    f"the pod asks as {_VIP}, which the node has, as kube-ipvs0 has each service's",
    undo=_without_services,
    frame=lambda request: _from(_VIP, request),
    touches="service",
    reason="source_rejected",
    remedy="advice",
)
def asks_as_local_service(lab: Lab, pod: Pod) -> Saved:
    """On a dummy, as kube-proxy makes it; where there is none, a bridge: the address matters."""
    name = name_for(pod, "ipvs")
    try:
        add(lab, name, "dummy")
    except Unavailable:
        add(lab, name, "bridge")
    ip(lab, "address", "add", f"{_VIP}/32", "dev", name)
    return {}
