# SPDX-License-Identifier: Apache-2.0
"""The node's way back to the sender is not the pod's interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import links
from ..errors import Unavailable
from ..wiring import pod_routes
from .registry import Saved, fault
from .routing import dead_end, on_link, swap, swap_back

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

TO_POD = "route to the pod"
_BLACKHOLE = 6  # RTN_BLACKHOLE of linux/rtnetlink.h


def _needs_rp_filter(lab: Lab, pod: Pod, fault_name: str) -> None:
    values = [lab.node.sysctl(f"net/ipv4/conf/{name}/rp_filter") for name in ("all", pod.interface)]
    if max(map(int, values)) == 0:
        raise Unavailable(f"{fault_name}: rp_filter is 0 on {pod.interface}")


def replace_route(lab: Lab, pod: Pod, *others: dict[str, Any]) -> Saved:
    """Others in the place of the node's /32 to the pod."""
    return swap(lab, lab.node.netlink(lambda ipr: pod_routes(ipr, pod)), list(others))


@fault("the node has no /32 route to the pod (and rp_filter is on)", undo=swap_back, touches=TO_POD)
def source_route_missing(lab: Lab, pod: Pod) -> Saved:
    _needs_rp_filter(lab, pod, "source_route_missing")
    return replace_route(lab, pod)


def _strict_again(lab: Lab, pod: Pod, saved: Saved) -> None:
    swap_back(lab, pod, saved["routes"])
    lab.node.set_sysctls(saved["sysctls"], gone_ok=True)


@fault(
    "the node has no /32 route to the pod, and rp_filter is loose",
    undo=_strict_again,
    touches=TO_POD,
)
def source_route_missing_loose(lab: Lab, pod: Pod) -> Saved:
    """Loose is no help on an interface without an address of its own
    (net/ipv4/fib_frontend.c, __fib_validate_source: no_addr)."""
    key = f"net/ipv4/conf/{pod.interface}/rp_filter"
    old = lab.node.sysctl(key)
    lab.node.set_sysctls({key: 2})
    return {"sysctls": {key: old}, "routes": replace_route(lab, pod)}


@fault("the node's /32 route to the pod leaves through the uplink", undo=swap_back, touches=TO_POD)
def source_route_foreign(lab: Lab, pod: Pod) -> Saved:
    """As a stale route, or an address that two pods have, brings it."""
    _needs_rp_filter(lab, pod, "source_route_foreign")
    return replace_route(lab, pod, on_link(lab, lab.node.uplink, dst=pod.address, dst_len=32))


@fault("the node's route to the pod is a blackhole", undo=swap_back, touches=TO_POD)
def source_route_blackhole(lab: Lab, pod: Pod) -> Saved:
    """As Calico's own blackhole of a node's block, when the /32 in it is gone. Refused
    whatever rp_filter is: net/ipv4/fib_frontend.c, __fib_validate_source (not RTN_UNICAST)."""
    return replace_route(lab, pod, dead_end(_BLACKHOLE, dst=pod.address, dst_len=32))


def _disown_sender(lab: Lab, pod: Pod, _: Saved) -> None:
    def remove(ipr: Any) -> None:
        ipr.addr("del", index=links.index(ipr, "lo"), address=pod.address, prefixlen=32)

    lab.node.netlink(remove)


@fault("the node itself has the pod's address", undo=_disown_sender)
def source_local(lab: Lab, pod: Pod) -> Saved:
    def add(ipr: Any) -> None:
        ipr.addr("add", index=links.index(ipr, "lo"), address=pod.address, prefixlen=32)

    lab.node.netlink(add)
    return {}
