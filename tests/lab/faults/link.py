# SPDX-License-Identifier: Apache-2.0
"""Link states under which requests do not arrive, or are not taken."""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import TYPE_CHECKING, Any

from .. import links, routes
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..netns import Netns
    from ..pod import Pod

_IFF_NOARP = 0x80
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914


def _arp_flag(lab: Lab, pod: Pod, flag: int) -> None:
    def inside(ipr: Any) -> None:
        ipr.link("set", index=links.index(ipr, pod.interface), flags=flag, change=_IFF_NOARP)

    lab.node.netlink(inside)


def _arp_on(lab: Lab, pod: Pod, _: Saved) -> None:
    _arp_flag(lab, pod, 0)


@fault("the pod's interface is NOARP", undo=_arp_on, touches="IFF_NOARP")
def noarp(lab: Lab, pod: Pod) -> Saved:
    """As ``ip link set arp off``."""
    _arp_flag(lab, pod, _IFF_NOARP)
    return {}


@fault("the pod's interface is NOARP, by the old ioctl", undo=_arp_on, touches="IFF_NOARP")
def noarp_by_ioctl(lab: Lab, pod: Pod) -> Saved:
    """As ``ifconfig -arp``."""

    def inside() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            ask = struct.pack("16sH22x", pod.interface.encode(), 0)  # struct ifreq
            (flags,) = struct.unpack_from("H", fcntl.ioctl(sock, _SIOCGIFFLAGS, ask), 16)
            tell = struct.pack("16sH22x", pod.interface.encode(), flags | _IFF_NOARP)
            fcntl.ioctl(sock, _SIOCSIFFLAGS, tell)

    lab.node.call(inside)
    return {}


def take_down(netns: Netns, interface: str) -> Saved:
    """The interface's routes go with it: they are saved."""

    def inside(ipr: Any) -> Saved:
        number = links.index(ipr, interface)
        saved = {"routes": [r for r in routes.dump(ipr) if r.get("oif") == number]}
        ipr.link("set", index=number, state="down")
        return saved

    return netns.netlink(inside)


def bring_up(netns: Netns, interface: str, saved: Saved) -> None:
    def inside(ipr: Any) -> None:
        ipr.link("set", index=links.index(ipr, interface), state="up")
        links.wait_up(ipr, interface)
        routes.add_missing(ipr, saved["routes"])

    netns.netlink(inside)


def _link_up(lab: Lab, pod: Pod, saved: Saved) -> None:
    bring_up(pod, "eth0", saved)
    lab.node.netlink(lambda ipr: links.wait_up(ipr, pod.interface))


@fault(
    "the pod's eth0 is down: its interface on the node has no carrier",
    undo=_link_up,
    touches="link",
)
def link_down(_: Lab, pod: Pod) -> Saved:
    """Takes the pod's own routes with it; they are put back."""
    return take_down(pod, "eth0")


def _host_link_up(lab: Lab, pod: Pod, saved: Saved) -> None:
    bring_up(lab.node, pod.interface, saved)
    pod.netlink(lambda ipr: links.wait_up(ipr, "eth0"))


@fault("the pod's interface on the node is down", undo=_host_link_up, touches="link")
def host_link_down(lab: Lab, pod: Pod) -> Saved:
    """Takes the node's /32 route to the pod with it; it is put back."""
    return take_down(lab.node, pod.interface)


def _bridge_name(pod: Pod) -> str:
    return f"br{pod.interface}"[:15]


def _unbridge(lab: Lab, pod: Pod, _: Saved) -> None:
    def inside(ipr: Any) -> None:
        ipr.link("set", index=links.index(ipr, pod.interface), master=0)
        ipr.link("del", index=links.index(ipr, _bridge_name(pod)))

    lab.node.netlink(inside)


@fault("the pod's interface is a port of a bridge", undo=_unbridge)
def bridge_port(lab: Lab, pod: Pod) -> Saved:
    """The bridge's rx handler takes all frames: what is asked, the bridge is asked."""
    name = _bridge_name(pod)

    def inside(ipr: Any) -> None:
        with links.kind_may_lack(f"bridge_port: {name}"):
            ipr.link("add", kind="bridge", ifname=name)
        number = links.index(ipr, name)
        ipr.link("set", index=number, state="up")
        ipr.link("set", index=links.index(ipr, pod.interface), master=number)

    lab.node.netlink(inside)
    return {}
