# SPDX-License-Identifier: Apache-2.0
"""Bystanders that take a copy of what passes the pod's interface and have no room for it: the
copy is dropped, the request is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .devices import add, delete, ip, name_for, tc
from .limits import FULL, redirect
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod


def monitor(pod: Pod) -> str:
    return name_for(pod, "mon")


def _mirror_nothing(lab: Lab, pod: Pod, _: Saved) -> None:
    tc(lab, "qdisc", "del", "dev", pod.interface, "clsact")
    delete(lab, monitor(pod))


def _add_monitor(lab: Lab, pod: Pod) -> None:
    add(lab, monitor(pod), "ifb")
    try:
        tc(lab, "qdisc", "add", "dev", monitor(pod), "root", *FULL)
        tc(lab, "qdisc", "add", "dev", pod.interface, "clsact")
    except BaseException:
        delete(lab, monitor(pod))
        raise


@fault(
    "what comes in from the pod is mirrored to a monitor without room",
    undo=_mirror_nothing,
    touches="tc ingress",
    answers=1,
)
def mirror_full(lab: Lab, pod: Pod) -> Saved:
    _add_monitor(lab, pod)
    try:
        redirect(lab, pod, monitor(pod), "mirror")
    except BaseException:
        _mirror_nothing(lab, pod, {})
        raise
    return {}


@fault(
    "what goes out to the pod is mirrored to a monitor without room",
    undo=_mirror_nothing,
    touches="tc ingress",
    answers=1,
)
def mirror_full_of_replies(lab: Lab, pod: Pod) -> Saved:
    _add_monitor(lab, pod)
    try:
        everything = ("protocol", "all", "prio", "1", "u32", "match", "u32", "0", "0")
        mirror = ("action", "mirred", "egress", "mirror", "dev", monitor(pod))
        tc(lab, "filter", "add", "dev", pod.interface, "egress", *everything, *mirror)
    except BaseException:
        _mirror_nothing(lab, pod, {})
        raise
    return {}


def _without_child(lab: Lab, pod: Pod, _: Saved) -> None:
    delete(lab, name_for(pod, "mv"))


@fault(
    "a macvlan on the pod's interface has no room in its broadcast queue",
    undo=_without_child,
    answers=1,
)
def macvlan_full(lab: Lab, pod: Pod) -> Saved:
    """Its copy of each broadcast waits in a queue of no length (drivers/net/macvlan.c,
    macvlan_broadcast_enqueue)."""
    child = name_for(pod, "mv")
    kind = ("type", "macvlan", "mode", "bridge", "bcqueuelen", "0")
    ip(lab, "link", "add", "link", pod.interface, "name", child, *kind)
    ip(lab, "link", "set", child, "up")
    return {}
