# SPDX-License-Identifier: Apache-2.0
"""The pod's /32 leads to another interface, with reason: to another pod's, to the pod's own
second one, or to another node, by a routing daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import links, wiring
from .devices import delete, ip, name_for
from .registry import Saved, fault
from .routing import BIRD, dead_end, on_link, swap_back
from .sender import TO_POD, replace_route

if TYPE_CHECKING:
    from ..bench import Lab
    from ..netns import Netns
    from ..pod import Pod

_HIGHER = 20  # a metric


def twin(pod: Pod) -> str:
    """Named as Calico names a pod's interface."""
    return name_for(pod, "cali")


def _second_link(lab: Lab, pod: Pod, other: Netns) -> Saved:
    """Another pod's link with the same address, whose /32 has taken the place."""
    end = name_for(pod, "tw")
    ip(lab, "link", "add", twin(pod), "type", "veth", "peer", "name", end, "netns", other.netns)
    lab.node.set_sysctls(wiring.pod_sysctls(twin(pod), pod.rp_filter))
    ip(lab, "link", "set", twin(pod), "up")

    def inside(ipr: Any) -> None:
        ipr.link("set", index=links.index(ipr, end), state="up")
        links.wait_up(ipr, end)

    other.netlink(inside)
    lab.node.netlink(lambda ipr: links.wait_up(ipr, twin(pod)))
    return replace_route(lab, pod, on_link(lab, twin(pod), dst=pod.address, dst_len=32))


def _one_link(lab: Lab, pod: Pod, saved: Saved) -> None:
    swap_back(lab, pod, saved)
    delete(lab, twin(pod))


@fault(
    "two pods have the pod's address; the /32 leads to the other one",
    undo=_one_link,
    touches=TO_POD,
    reason="source_rejected",
    remedy="advice",
)
def twin_address(lab: Lab, pod: Pod) -> Saved:
    return _second_link(lab, pod, lab.fabric)


@fault(
    "the pod has two interfaces of Calico's; the /32 leads to the other one",
    undo=_one_link,
    touches=TO_POD,
    reason="source_rejected",
    remedy="advice",
)
def second_interface(lab: Lab, pod: Pod) -> Saved:
    return _second_link(lab, pod, pod)


@fault(
    "a routing daemon has learnt the pod's /32 from another node",
    undo=swap_back,
    touches=TO_POD,
    reason="source_rejected",
    remedy="advice",
)
def learnt_from_another_node(lab: Lab, pod: Pod) -> Saved:
    learnt = dead_end(1, dst=pod.address, dst_len=32, gateway=wiring.ROUTER_ADDRESS)
    oif = lab.node.netlink(lambda ipr: links.index(ipr, lab.node.uplink))
    return replace_route(lab, pod, {**learnt, "proto": BIRD, "oif": oif})


@fault(
    "the node's /32 route to the pod leaves through the uplink, with a metric",
    undo=swap_back,
    touches=TO_POD,
    reason="source_rejected",
)
def stale_route_with_metric(lab: Lab, pod: Pod) -> Saved:
    astray = on_link(lab, lab.node.uplink, dst=pod.address, dst_len=32, priority=_HIGHER)
    return replace_route(lab, pod, astray)
