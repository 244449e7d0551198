# SPDX-License-Identifier: Apache-2.0
"""Routes and rules under which the target is not where it should be."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from .. import links, routes
from ..names import GATEWAY
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

# RTN_* and RT_SCOPE_* of linux/rtnetlink.h
_UNICAST, _BROADCAST, _ANYCAST, _MULTICAST = 1, 3, 4, 5
_BLACKHOLE, _UNREACHABLE, _PROHIBIT, _THROW = 6, 7, 8, 9
BIRD = 12  # RTPROT_BIRD of linux/rtnetlink.h
_LINK_SCOPE = 253
_LOCAL_TABLE = 255
_RULE_PRIORITY = 100
DEFAULT = "default route"
TO_TARGET = "route to the target"


def swap(lab: Lab, remove: list[routes.Route], add: list[routes.Route]) -> Saved:
    """Take routes away and put others there."""

    def inside(ipr: Any) -> None:
        for route in remove:
            routes.change(ipr, "del", route)
        for route in add:
            routes.change(ipr, "add", route)

    lab.node.netlink(inside)
    return {"removed": remove, "added": add}


def swap_back(lab: Lab, _: Pod, saved: Saved) -> None:
    """What undoes :func:`swap`."""
    swap(lab, saved["added"], saved["removed"])


def dead_end(kind: int, **where: Any) -> routes.Route:
    """A route without a device: blackhole and the like."""
    return {"type": kind, "table": routes.MAIN_TABLE, "proto": 3, "scope": 0, **where}


def on_link(lab: Lab, interface: str, kind: int = _UNICAST, **where: Any) -> routes.Route:
    """A route straight out of the interface."""
    number = lab.node.netlink(lambda ipr: links.index(ipr, interface))
    return {
        **dead_end(kind, oif=number, **where),
        "scope": _LINK_SCOPE,
    }


def no_default_but(lab: Lab, *add: routes.Route) -> Saved:
    return swap(lab, lab.node.netlink(routes.default_routes), list(add))


@fault("no default route", undo=swap_back, touches=DEFAULT, whole_node=True)
def no_default_route(lab: Lab, _: Pod) -> Saved:
    return no_default_but(lab)


@fault(
    "the default route is of type unreachable",
    undo=swap_back,
    touches=DEFAULT,
    whole_node=True,
)
def unreachable_default(lab: Lab, _: Pod) -> Saved:
    return no_default_but(lab, dead_end(_UNREACHABLE, dst_len=0))


@fault("the default route is of type throw", undo=swap_back, touches=DEFAULT, whole_node=True)
def throw_default(lab: Lab, _: Pod) -> Saved:
    """The lookup leaves the main table, and the next one, default, is empty."""
    return no_default_but(lab, dead_end(_THROW, dst_len=0))


@fault(
    "the default route leaves through the pod's interface",
    undo=swap_back,
    touches=DEFAULT,
    shared=True,
)
def default_through_pod(lab: Lab, pod: Pod) -> Saved:
    return no_default_but(lab, on_link(lab, pod.interface, dst_len=0))


@fault(f"a blackhole route to {GATEWAY}", undo=swap_back, touches=TO_TARGET, whole_node=True)
def blackhole_target(lab: Lab, _: Pod) -> Saved:
    return swap(lab, [], [dead_end(_BLACKHOLE, dst=GATEWAY, dst_len=32)])


@fault(
    f"a routing daemon's blackhole route to {GATEWAY}",
    undo=swap_back,
    touches=TO_TARGET,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def blackhole_target_of_daemon(lab: Lab, _: Pod) -> Saved:
    return swap(lab, [], [{**dead_end(_BLACKHOLE, dst=GATEWAY, dst_len=32), "proto": BIRD}])


@fault(
    "a blackhole route to all link-local addresses, to keep pods from metadata services",
    undo=swap_back,
    touches=TO_TARGET,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def blackhole_link_local(lab: Lab, _: Pod) -> Saved:
    return swap(lab, [], [dead_end(_BLACKHOLE, dst="169.254.0.0", dst_len=16)])


@fault(f"a prohibit route to {GATEWAY}", undo=swap_back, touches=TO_TARGET, whole_node=True)
def prohibit_target_route(lab: Lab, _: Pod) -> Saved:
    return swap(lab, [], [dead_end(_PROHIBIT, dst=GATEWAY, dst_len=32)])


@fault(
    f"a route to {GATEWAY} leaves through the pod's interface",
    undo=swap_back,
    touches=TO_TARGET,
    shared=True,
)
def target_through_pod(lab: Lab, pod: Pod) -> Saved:
    return swap(lab, [], [on_link(lab, pod.interface, dst=GATEWAY, dst_len=32)])


@fault(
    f"{GATEWAY} is a broadcast address of the node's",
    undo=swap_back,
    touches=TO_TARGET,
    whole_node=True,
)
def broadcast_target(lab: Lab, _: Pod) -> Saved:
    """As an address with ``broadcast 169.254.1.1`` brings it."""
    route = on_link(lab, lab.node.uplink, _BROADCAST, dst=GATEWAY, dst_len=32)
    return swap(lab, [], [{**route, "table": _LOCAL_TABLE}])


@fault(f"a multicast route to {GATEWAY}", undo=swap_back, touches=TO_TARGET, whole_node=True)
def multicast_target(lab: Lab, _: Pod) -> Saved:
    return swap(lab, [], [on_link(lab, lab.node.uplink, _MULTICAST, dst=GATEWAY, dst_len=32)])


@fault(f"an anycast route to {GATEWAY}", undo=swap_back, touches=TO_TARGET, whole_node=True)
def anycast_target(lab: Lab, _: Pod) -> Saved:
    return swap(lab, [], [on_link(lab, lab.node.uplink, _ANYCAST, dst=GATEWAY, dst_len=32)])


def _rule(lab: Lab, command: str, interface: str, action: str) -> None:
    def inside(ipr: Any) -> None:
        ipr.rule(
            command,
            family=socket.AF_INET,
            priority=_RULE_PRIORITY,
            iifname=interface,
            dst=GATEWAY,
            dst_len=32,
            action=action,
        )

    lab.node.netlink(inside)


def _no_rule(lab: Lab, pod: Pod, saved: Saved) -> None:
    _rule(lab, "del", pod.interface, saved["action"])


def _refuse(lab: Lab, pod: Pod, action: str) -> Saved:
    _rule(lab, "add", pod.interface, action)
    return {"action": action}


@fault(f"an ip rule prohibits {GATEWAY} from the pod's interface", undo=_no_rule, touches="ip rule")
def prohibit_rule(lab: Lab, pod: Pod) -> Saved:
    return _refuse(lab, pod, "FR_ACT_PROHIBIT")


@fault(
    f"by an ip rule {GATEWAY} is unreachable from the pod's interface",
    undo=_no_rule,
    touches="ip rule",
)
def unreachable_rule(lab: Lab, pod: Pod) -> Saved:
    return _refuse(lab, pod, "FR_ACT_UNREACHABLE")
