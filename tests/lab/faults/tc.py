# SPDX-License-Identifier: Apache-2.0
"""Traffic control programs that drop the request or the reply, or take it.

Classic BPF in direct-action mode: cls_bpf is there wherever Calico's own programs could
be; matchall, flower and the drop action are modules that many kernels lack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_PREFERENCE = "100"
_FAULTS = ("tc_ingress_drop", "tc_ingress_stolen", "tc_egress_drop", "tc_egress_stolen")
_SHOT, _STOLEN = 2, 4  # TC_ACT_* of linux/pkt_cls.h


def _tc(lab: Lab, *args: str) -> str:
    return lab.node.tool(["tc", *args], package="iproute2")


def _program(operation: int, action: int) -> str:
    """Load the ARP operation; equal: return the action, else TC_ACT_UNSPEC (-1)."""
    return f"4,40 0 0 20,21 0 1 {operation},6 0 0 {action},6 0 0 4294967295"


def _add(lab: Lab, pod: Pod, direction: str, operation: int, action: int) -> Saved:
    device = ("dev", pod.interface)
    added = "clsact" not in _tc(lab, "qdisc", "show", *device)
    if added:
        _tc(lab, "qdisc", "add", *device, "clsact")
    else:
        # The other direction's fault may have added it: then the last mend removes it.
        added = any(
            record["saved"]["clsact"]
            for record in lab.state.faults
            if record["fault"] in _FAULTS and record["pod"] == pod.name
        )
    try:
        _tc(
            lab,
            *("filter", "add", *device, direction, "protocol", "arp", "pref", _PREFERENCE),
            *("bpf", "bytecode", _program(operation, action), "direct-action"),
        )
    except BaseException:
        _remove_clsact(lab, pod, added)
        raise
    return {"clsact": added, "direction": direction}


def _remove_clsact(lab: Lab, pod: Pod, added: bool) -> None:
    filters = [_tc(lab, "filter", "show", "dev", pod.interface, d) for d in ("ingress", "egress")]
    if added and not any(filters):
        _tc(lab, "qdisc", "del", "dev", pod.interface, "clsact")


def _delete(lab: Lab, pod: Pod, saved: Saved) -> None:
    _tc(lab, "filter", "del", "dev", pod.interface, saved["direction"], "pref", _PREFERENCE)
    _remove_clsact(lab, pod, saved["clsact"])


@fault("tc ingress drops the request", undo=_delete, touches="tc ingress")
def tc_ingress_drop(lab: Lab, pod: Pod) -> Saved:
    return _add(lab, pod, "ingress", 1, _SHOT)


@fault("tc ingress takes the request and passes it to nobody", undo=_delete, touches="tc ingress")
def tc_ingress_stolen(lab: Lab, pod: Pod) -> Saved:
    """The kernel consumes it: no drop is reported."""
    return _add(lab, pod, "ingress", 1, _STOLEN)


@fault("tc egress drops the reply", undo=_delete, touches="tc egress")
def tc_egress_drop(lab: Lab, pod: Pod) -> Saved:
    return _add(lab, pod, "egress", 2, _SHOT)


@fault("tc egress takes the reply and passes it to nobody", undo=_delete, touches="tc egress")
def tc_egress_stolen(lab: Lab, pod: Pod) -> Saved:
    return _add(lab, pod, "egress", 2, _STOLEN)
