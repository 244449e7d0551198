# SPDX-License-Identifier: Apache-2.0
"""Link states under which requests do not arrive, or are not taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import links, routes
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_IFF_NOARP = 0x80


def _arp_flag(lab: Lab, pod: Pod, flag: int) -> None:
    def inside(ipr: Any) -> None:
        ipr.link("set", index=links.index(ipr, pod.interface), flags=flag, change=_IFF_NOARP)

    lab.node.netlink(inside)


def _arp_on(lab: Lab, pod: Pod, _: Saved) -> None:
    _arp_flag(lab, pod, 0)


@fault("the pod's interface is NOARP", undo=_arp_on)
def noarp(lab: Lab, pod: Pod) -> Saved:
    _arp_flag(lab, pod, _IFF_NOARP)
    return {}


def _link_up(lab: Lab, pod: Pod, saved: Saved) -> None:
    def inside(ipr: Any) -> None:
        ipr.link("set", index=links.index(ipr, "eth0"), state="up")
        links.wait_up(ipr, "eth0")
        routes.add_missing(ipr, saved["routes"])

    pod.netlink(inside)
    lab.node.netlink(lambda ipr: links.wait_up(ipr, pod.interface))


@fault("the pod's eth0 is down: its interface on the node has no carrier", undo=_link_up)
def link_down(_: Lab, pod: Pod) -> Saved:
    """Takes the pod's own routes with it; they are put back."""

    def inside(ipr: Any) -> Saved:
        saved = {"routes": routes.dump(ipr)}
        ipr.link("set", index=links.index(ipr, "eth0"), state="down")
        return saved

    return pod.netlink(inside)
