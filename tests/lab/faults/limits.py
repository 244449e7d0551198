# SPDX-License-Identifier: Apache-2.0
"""Bandwidth limits as Calico's QoS controls and the CNI bandwidth plugin make them: what the
pod sends goes through an IFB and comes in again; what it gets waits in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .devices import add, delete, name_for, tc
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

WIDE = ("tbf", "rate", "10mbit", "burst", "64kb", "latency", "25ms")
# No ARP frame fits into the bucket: each is dropped at once (net/sched/sch_tbf.c, tbf_enqueue).
FULL = ("tbf", "rate", "8kbit", "burst", "20", "limit", "20")


def ifb(pod: Pod) -> str:
    """As Calico calls it."""
    return name_for(pod, "bwcali")


def redirect(lab: Lab, pod: Pod, device: str, how: str = "redirect") -> None:
    """All that comes in on the pod's interface goes to the device: itself, or (mirror) a copy."""
    everything = ("protocol", "all", "prio", "1", "u32", "match", "u32", "0", "0")
    where = ("dev", pod.interface, "ingress")
    tc(lab, "filter", "add", *where, *everything, "action", "mirred", "egress", how, "dev", device)


def _limit_egress(lab: Lab, pod: Pod, queue: tuple[str, ...]) -> Saved:
    add(lab, ifb(pod), "ifb")
    try:
        tc(lab, "qdisc", "add", "dev", ifb(pod), "root", *queue)
        tc(lab, "qdisc", "add", "dev", pod.interface, "ingress")
        redirect(lab, pod, ifb(pod))
    except BaseException:
        delete(lab, ifb(pod))
        raise
    return {}


def _unlimit_egress(lab: Lab, pod: Pod, _: Saved) -> None:
    tc(lab, "qdisc", "del", "dev", pod.interface, "ingress")
    delete(lab, ifb(pod))


@fault(
    "what the pod sends is limited, to more than it sends",
    undo=_unlimit_egress,
    touches="tc ingress",
    answers=1,
)
def egress_limit(lab: Lab, pod: Pod) -> Saved:
    return _limit_egress(lab, pod, WIDE)


@fault(
    "the limit of what the pod sends is used up",
    undo=_unlimit_egress,
    touches="tc ingress",
    reason="rate_limited",
    remedy="advice",
)
def egress_limit_full(lab: Lab, pod: Pod) -> Saved:
    return _limit_egress(lab, pod, FULL)


def _limit_ingress(lab: Lab, pod: Pod, *queue: str) -> Saved:
    tc(lab, "qdisc", "add", "dev", pod.interface, "root", *queue)
    return {}


def _unlimit_ingress(lab: Lab, pod: Pod, _: Saved) -> None:
    tc(lab, "qdisc", "del", "dev", pod.interface, "root")


@fault(
    "what the pod receives is limited, to more than it receives",
    undo=_unlimit_ingress,
    touches="root qdisc",
    answers=1,
)
def ingress_limit(lab: Lab, pod: Pod) -> Saved:
    return _limit_ingress(lab, pod, *WIDE)


@fault(
    "the limit of what the pod receives is used up",
    undo=_unlimit_ingress,
    touches="root qdisc",
    reason="rate_limited",
    remedy="advice",
)
def ingress_limit_full(lab: Lab, pod: Pod) -> Saved:
    return _limit_ingress(lab, pod, *FULL)


@fault(
    "the limit of what the pod receives, a class of htb, is used up",
    undo=_unlimit_ingress,
    touches="root qdisc",
    reason="rate_limited",
    remedy="advice",
)
def ingress_limit_full_class(lab: Lab, pod: Pod) -> Saved:
    saved = _limit_ingress(lab, pod, "handle", "7:", "htb", "default", "1")
    try:
        where = ("dev", pod.interface, "parent")
        tc(lab, "class", "add", *where, "7:", "classid", "7:1", "htb", "rate", "8kbit")
        tc(lab, "qdisc", "add", *where, "7:1", "pfifo", "limit", "0")
    except BaseException:
        _unlimit_ingress(lab, pod, saved)
        raise
    return saved
