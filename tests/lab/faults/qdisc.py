# SPDX-License-Identifier: Apache-2.0
"""Queues that drop what the node sends to the pod. Both are built in where any qdisc is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod


def _tc(lab: Lab, *args: str) -> None:
    lab.node.tool(["tc", "qdisc", *args], package="iproute2")


def _replace(lab: Lab, pod: Pod, *qdisc: str) -> Saved:
    """veth has none of its own (noqueue), which comes back when this one goes."""
    _tc(lab, "add", "dev", pod.interface, "root", *qdisc)
    return {}


def _remove(lab: Lab, pod: Pod, _: Saved) -> None:
    _tc(lab, "del", "dev", pod.interface, "root")


@fault("a queue without room drops the reply", undo=_remove, touches="root qdisc")
def qdisc_drops(lab: Lab, pod: Pod) -> Saved:
    return _replace(lab, pod, "pfifo", "limit", "0")


@fault("a blackhole qdisc drops the reply", undo=_remove, touches="root qdisc")
def qdisc_blackhole(lab: Lab, pod: Pod) -> Saved:
    return _replace(lab, pod, "blackhole")
