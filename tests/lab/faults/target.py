# SPDX-License-Identifier: Apache-2.0
"""The node owns the target, and the interface that is asked may not say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import links
from ..names import GATEWAY
from .registry import Saved, fault
from .routing import swap_back
from .sender import TO_POD, replace_route
from .sysctls import CONF, change

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_OWNS = "the node owns the target"


def _others(lab: Lab, pod: Pod) -> list[Saved]:
    return [
        record["saved"]
        for record in lab.state.faults
        if "owned" in record["saved"] and record["pod"] != pod.name
    ]


def _own(lab: Lab, pod: Pod) -> bool:
    """On several pods at a time the address is there once, and goes with the last mend."""
    others = _others(lab, pod)

    def add(ipr: Any) -> bool:
        lo = links.index(ipr, "lo")
        if any(a.get_attr("IFA_ADDRESS") == GATEWAY for a in ipr.get_addr(index=lo)):
            return False
        ipr.addr("add", index=lo, address=GATEWAY, prefixlen=32)
        return True

    return bool(others[0]["owned"]) if others else lab.node.netlink(add)


def _disown(lab: Lab, pod: Pod, saved: Saved) -> None:
    lab.node.set_sysctls(saved["sysctls"], gone_ok=True)
    if "routes" in saved:
        swap_back(lab, pod, saved["routes"])

    def remove(ipr: Any) -> None:
        ipr.addr("del", index=links.index(ipr, "lo"), address=GATEWAY, prefixlen=32)

    if saved["owned"] and not _others(lab, pod):
        lab.node.netlink(remove)


@fault(f"the node owns {GATEWAY} elsewhere, and arp_ignore is 1", undo=_disown)
def target_local_arp_ignore(lab: Lab, pod: Pod) -> Saved:
    saved = change(pod, f"{CONF}/{pod.interface}/arp_ignore", 1)
    return {"sysctls": saved, "owned": _own(lab, pod)}


@fault(
    f"the node owns {GATEWAY}, arp_filter is 1, and its way to the pod is another interface",
    undo=_disown,
    touches=TO_POD,
)
def target_local_arp_filter(lab: Lab, pod: Pod) -> Saved:
    """arp_filter asks for the way back to the sender (net/ipv4/arp.c, arp_filter): only
    with rp_filter off does a request get there whose sender is not behind the interface."""
    conf = f"{CONF}/{pod.interface}"
    saved = {**change(pod, f"{conf}/rp_filter", 0), **change(pod, f"{conf}/arp_filter", 1)}
    return {"sysctls": saved, "routes": replace_route(lab, pod), "owned": _own(lab, pod)}
