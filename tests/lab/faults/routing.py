# SPDX-License-Identifier: Apache-2.0
"""Routes and rules under which the target, or the sender, is not where it should be."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from .. import routes
from ..errors import Unavailable
from ..names import GATEWAY
from ..wiring import pod_routes
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_UNREACHABLE, _BLACKHOLE, _PROHIBIT = 7, 6, 8  # RTN_* of linux/rtnetlink.h
_RULE_PRIORITY = 100


def _swap(lab: Lab, remove: list[routes.Route], add: list[routes.Route]) -> Saved:
    def inside(ipr: Any) -> None:
        for route in remove:
            routes.change(ipr, "del", route)
        for route in add:
            routes.change(ipr, "add", route)

    lab.node.netlink(inside)
    return {"removed": remove, "added": add}


def _swap_back(lab: Lab, _: Pod, saved: Saved) -> None:
    _swap(lab, saved["added"], saved["removed"])


def _dead_end(kind: int, **where: Any) -> routes.Route:
    return {"type": kind, "table": routes.MAIN_TABLE, "proto": 3, "scope": 0, **where}


@fault("no default route", undo=_swap_back, touches="default route", whole_node=True)
def no_default_route(lab: Lab, _: Pod) -> Saved:
    return _swap(lab, lab.node.netlink(routes.default_routes), [])


@fault(
    "the default route is of type unreachable",
    undo=_swap_back,
    touches="default route",
    whole_node=True,
)
def unreachable_default(lab: Lab, _: Pod) -> Saved:
    dead = _dead_end(_UNREACHABLE, dst_len=0)
    return _swap(lab, lab.node.netlink(routes.default_routes), [dead])


@fault(
    f"a blackhole route to {GATEWAY}",
    undo=_swap_back,
    touches="route to the target",
    whole_node=True,
)
def blackhole_target(lab: Lab, _: Pod) -> Saved:
    return _swap(lab, [], [_dead_end(_BLACKHOLE, dst=GATEWAY, dst_len=32)])


@fault(
    f"a prohibit route to {GATEWAY}",
    undo=_swap_back,
    touches="route to the target",
    whole_node=True,
)
def prohibit_target_route(lab: Lab, _: Pod) -> Saved:
    return _swap(lab, [], [_dead_end(_PROHIBIT, dst=GATEWAY, dst_len=32)])


def _rule(lab: Lab, command: str, interface: str) -> None:
    def inside(ipr: Any) -> None:
        ipr.rule(
            command,
            family=socket.AF_INET,
            priority=_RULE_PRIORITY,
            iifname=interface,
            dst=GATEWAY,
            dst_len=32,
            action="FR_ACT_PROHIBIT",
        )

    lab.node.netlink(inside)


def _no_rule(lab: Lab, pod: Pod, _: Saved) -> None:
    _rule(lab, "del", pod.interface)


@fault(f"an ip rule prohibits {GATEWAY} from the pod's interface", undo=_no_rule)
def prohibit_rule(lab: Lab, pod: Pod) -> Saved:
    _rule(lab, "add", pod.interface)
    return {}


@fault("the node has no /32 route to the pod (and rp_filter is on)", undo=_swap_back)
def source_route_missing(lab: Lab, pod: Pod) -> Saved:
    values = [lab.node.sysctl(f"net/ipv4/conf/{name}/rp_filter") for name in ("all", pod.interface)]
    if max(map(int, values)) == 0:
        raise Unavailable(f"source_route_missing: rp_filter is 0 on {pod.interface}")
    return _swap(lab, lab.node.netlink(lambda ipr: pod_routes(ipr, pod)), [])
