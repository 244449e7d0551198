# SPDX-License-Identifier: Apache-2.0
"""Sysctls that something wrote after Felix did."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .. import links
from ..names import GATEWAY
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

CONF = "net/ipv4/conf"
PROXY_DELAY = 20  # USER_HZ ticks of 10 ms: replies come up to 200 ms late


def _change(pod: Pod, key: str, value: int) -> Saved:
    old = pod.lab.node.sysctl(key)
    pod.lab.node.set_sysctls({key: value})
    return {key: old}


def _restore(lab: Lab, _: Pod, saved: Saved) -> None:
    lab.node.set_sysctls(saved, gone_ok=True)


@fault("proxy_arp is 0 on the pod's interface", undo=_restore)
def proxy_arp_off(_: Lab, pod: Pod) -> Saved:
    return _change(pod, f"{CONF}/{pod.interface}/proxy_arp", 0)


@fault("forwarding is 0 on the pod's interface", undo=_restore, touches="forwarding")
def forwarding_off(_: Lab, pod: Pod) -> Saved:
    return _change(pod, f"{CONF}/{pod.interface}/forwarding", 0)


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
    delays=True,
)
def proxy_delay(_: Lab, pod: Pod) -> Saved:
    return _change(pod, f"net/ipv4/neigh/{pod.interface}/proxy_delay", PROXY_DELAY)


def _others(lab: Lab, pod: Pod) -> list[Saved]:
    return [
        record["saved"]
        for record in lab.state.faults
        if record["fault"] == "target_local_arp_ignore" and record["pod"] != pod.name
    ]


def _disown_target(lab: Lab, pod: Pod, saved: Saved) -> None:
    lab.node.set_sysctls(saved["sysctls"], gone_ok=True)

    def remove(ipr: Any) -> None:
        ipr.addr("del", index=links.index(ipr, "lo"), address=GATEWAY, prefixlen=32)

    if saved["added"] and not _others(lab, pod):
        lab.node.netlink(remove)


@fault(f"the node owns {GATEWAY} elsewhere, and arp_ignore is 1", undo=_disown_target)
def target_local_arp_ignore(lab: Lab, pod: Pod) -> Saved:
    """On several pods at a time the address is there once, and goes with the last mend."""
    others = _others(lab, pod)

    def add(ipr: Any) -> bool:
        lo = links.index(ipr, "lo")
        if any(a.get_attr("IFA_ADDRESS") == GATEWAY for a in ipr.get_addr(index=lo)):
            return False
        ipr.addr("add", index=lo, address=GATEWAY, prefixlen=32)
        return True

    saved = _change(pod, f"{CONF}/{pod.interface}/arp_ignore", 1)
    added = others[0]["added"] if others else lab.node.netlink(add)
    return {"sysctls": saved, "added": added}
