# SPDX-License-Identifier: Apache-2.0
"""The node answers, and the pod does not take it, or does not even ask: what is wrong is in the
pod's own namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import frames
from ..names import GATEWAY
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_OTHER_MAC = "0a:58:0a:4d:00:0a"  # as a CNI plugin writes it, of an address that the pod had
_STALE_MAC = "46:a9:d3:46:96:82"
_TABLE = "lab_in_the_pod"


def _filter(pod: Pod, family: str, hook: str) -> Saved:
    text = (
        f"table {family} {_TABLE} {{\nchain drops {{\n"
        f"type filter hook {hook} priority 0; policy drop;\n}}\n}}\n"
    )
    pod.tool(["nft", "-f", "-"], package="nftables", stdin=text)
    return {"family": family}


def _unfilter(_: Lab, pod: Pod, saved: Saved) -> None:
    pod.tool(["nft", "delete", "table", saved["family"], _TABLE], package="nftables")


@fault(
    "a chain in the pod drops all ARP",
    undo=_unfilter,
    touches="the pod's filter",
    answers=1,
    reason="reply_not_taken",
    remedy="advice",
)
def pod_filters_arp(_: Lab, pod: Pod) -> Saved:
    return _filter(pod, "arp", "input")


@fault(
    "a chain in the pod drops all that comes in on its eth0",
    undo=_unfilter,
    touches="the pod's filter",
    answers=1,
    reason="reply_not_taken",
    remedy="advice",
)
def pod_filters_all(_: Lab, pod: Pod) -> Saved:
    return _filter(pod, "netdev", 'ingress device "eth0"')


def _nothing(_lab: Lab, _pod: Pod, _saved: Saved) -> None:
    pass


def _from_mac(mac: str, frame: bytes) -> bytes:
    raw = frames.mac_bytes(mac)
    return frame[:6] + raw + frame[12:22] + raw + frame[28:]


@fault(
    "the pod asks from a MAC address that is not its eth0's, and so gets what is not for it",
    undo=_nothing,
    frame=lambda request: _from_mac(_OTHER_MAC, request),
    answers=1,
    reason="reply_not_taken",
    remedy="advice",
)
def asks_from_another_mac(_lab: Lab, _pod: Pod) -> Saved:
    return {}


def _forget_entry(_: Lab, pod: Pod, _saved: Saved) -> None:
    pod.tool(["ip", "neigh", "del", GATEWAY, "dev", "eth0"], package="iproute2")


@fault(
    "the pod's entry for its gateway is permanent and wrong: it never asks",
    undo=_forget_entry,
    answers=1,
)
def permanent_gateway_entry(_: Lab, pod: Pod) -> Saved:
    entry = ("lladdr", _STALE_MAC, "nud", "permanent")
    pod.tool(["ip", "neigh", "replace", GATEWAY, *entry, "dev", "eth0"], package="iproute2")
    return {}
