# SPDX-License-Identifier: Apache-2.0
"""Sysctls that something wrote after Felix did."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

CONF = "net/ipv4/conf"
PROXY_DELAY = 20  # USER_HZ ticks of 10 ms: replies come up to 200 ms late


def change(pod: Pod, key: str, value: int) -> Saved:
    """Write a sysctl of the node's; what it was."""
    old = pod.lab.node.sysctl(key)
    pod.lab.node.set_sysctls({key: value})
    return {key: old}


def _restore(lab: Lab, _: Pod, saved: Saved) -> None:
    lab.node.set_sysctls(saved, gone_ok=True)


@fault("proxy_arp is 0 on the pod's interface", undo=_restore, touches="proxy_arp")
def proxy_arp_off(_: Lab, pod: Pod) -> Saved:
    return change(pod, f"{CONF}/{pod.interface}/proxy_arp", 0)


@fault(
    "proxy_arp is 0 on every interface of the node",
    undo=_restore,
    touches="proxy_arp",
    whole_node=True,
)
def proxy_arp_off_everywhere(lab: Lab, _: Pod) -> Saved:
    saved = lab.node.sysctls(f"{CONF}/*/proxy_arp")
    lab.node.set_sysctls(dict.fromkeys(saved, 0))
    return saved


@fault("medium_id is -1 on the pod's interface", undo=_restore, touches="medium_id")
def medium_id_minus_one(_: Lab, pod: Pod) -> Saved:
    return change(pod, f"{CONF}/{pod.interface}/medium_id", -1)


@fault(
    "medium_id is the same on the pod's interface and the uplink",
    undo=_restore,
    touches="medium_id",
    shared=True,
)
def medium_id_equal(lab: Lab, pod: Pod) -> Saved:
    uplink = change(pod, f"{CONF}/{lab.node.uplink}/medium_id", 7)
    return {**uplink, **change(pod, f"{CONF}/{pod.interface}/medium_id", 7)}


@fault("forwarding is 0 on the pod's interface", undo=_restore, touches="forwarding")
def forwarding_off(_: Lab, pod: Pod) -> Saved:
    return change(pod, f"{CONF}/{pod.interface}/forwarding", 0)


@fault("ip_forward is 0 on the node", undo=_restore, touches="forwarding", whole_node=True)
def forwarding_off_all(lab: Lab, _: Pod) -> Saved:
    """Writing ip_forward rewrites every interface's forwarding, and all's accept_redirects
    (net/ipv4/devinet.c, inet_forward_change): all of them are saved, ip_forward first."""
    keys = ("net/ipv4/ip_forward", f"{CONF}/*/forwarding", f"{CONF}/all/accept_redirects")
    saved = {key: value for pattern in keys for key, value in lab.node.sysctls(pattern).items()}
    lab.node.set_sysctls({"net/ipv4/ip_forward": 0})
    return saved


def _prompt_again(lab: Lab, pod: Pod, saved: Saved) -> None:
    # Old kernels divide by zero when proxy_delay becomes 0 under a proxied request
    # (net/core/neighbour.c, pneigh_enqueue): stop those while it changes.
    proxy_arp = f"{CONF}/{pod.interface}/proxy_arp"
    old = lab.node.sysctl(proxy_arp)
    lab.node.set_sysctls({proxy_arp: 0})
    time.sleep(0.01)
    lab.node.set_sysctls({**saved, proxy_arp: old})


@fault(
    f"proxy_delay is {PROXY_DELAY}: replies come up to {PROXY_DELAY * 10} ms late",
    undo=_prompt_again,
    touches="proxy queue",
    delays=True,
)
def proxy_delay(_: Lab, pod: Pod) -> Saved:
    return change(pod, f"net/ipv4/neigh/{pod.interface}/proxy_delay", PROXY_DELAY)
