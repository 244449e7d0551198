# SPDX-License-Identifier: Apache-2.0
"""The node has a default route, and no lookup of the gateway gets to it; or one by policy that
leads nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import links
from ..names import GATEWAY, POD_NETWORK
from ..wiring import UPLINK
from .devices import ip
from .link import bring_up, take_down
from .registry import Saved, fault
from .routing import DEFAULT, TO_TARGET, no_default_but, swap_back
from .sysctls import CONF, change

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_MAIN = ("from", "all", "lookup", "main", "pref", "32766")
_TABLE = "77"
_NEXTHOP = "77"
_RULES = "rules"


def _run(lab: Lab, *commands: str) -> Saved:
    for command in commands:
        ip(lab, *command.split())
    return {}


def _main_again(lab: Lab, _pod: Pod, saved: Saved) -> None:
    for rule in saved["rules"]:
        ip(lab, "rule", "del", *rule.split())
    ip(lab, "rule", "add", *_MAIN)


@fault(
    "table main is asked for all but default routes, as VPN set-ups write it",
    undo=_main_again,
    touches=_RULES,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def suppressed_default(lab: Lab, _: Pod) -> Saved:
    rule = "pref 99 table main suppress_prefixlength 0"
    _run(lab, f"rule add {rule}", "rule del pref 32766")
    return {"rules": [rule]}


@fault(
    "the rule for table main is lost, and with it the default route",
    undo=_main_again,
    touches=_RULES,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def main_rule_missing(lab: Lab, _: Pod) -> Saved:
    _run(lab, "rule del pref 32766")
    return {"rules": []}


def _carrier_again(lab: Lab, _: Pod, saved: Saved) -> None:
    bring_up(lab.fabric, UPLINK, saved["fabric"])
    lab.node.netlink(lambda ipr: links.wait_up(ipr, UPLINK))
    lab.node.set_sysctls(saved["sysctls"], gone_ok=True)


@fault(
    "the uplink has no carrier, and routes with a dead link are ignored",
    undo=_carrier_again,
    touches=DEFAULT,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def default_ignored_with_linkdown(lab: Lab, pod: Pod) -> Saved:
    """The default route is there, marked ``dead linkdown``. Without the sysctl it would do."""
    key = f"{CONF}/{lab.node.uplink}/ignore_routes_with_linkdown"
    saved = {"sysctls": change(pod, key, 1), "fabric": take_down(lab.fabric, UPLINK)}
    lab.node.netlink(_no_carrier)
    return saved


def _no_carrier(ipr: Any) -> None:
    links.wait_down(ipr, UPLINK)


def _uplink_again(lab: Lab, _: Pod, saved: Saved) -> None:
    bring_up(lab.node, UPLINK, saved)


@fault(
    "the uplink is down, and its routes are gone with it",
    undo=_uplink_again,
    touches=DEFAULT,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def uplink_down(lab: Lab, _: Pod) -> Saved:
    return take_down(lab.node, lab.node.uplink)


def _unruled(lab: Lab, _: Pod, saved: Saved) -> None:
    _run(lab, *saved["undo"])


def _refuse(lab: Lab, undo: str, *commands: str) -> Saved:
    _run(lab, *commands)
    return {"undo": undo.split("; ")}


@fault(
    "a rule leads all pods to a table whose default is a blackhole",
    undo=_unruled,
    touches=_RULES,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def blackhole_table_for_pods(lab: Lab, _: Pod) -> Saved:
    """A kill switch, as VPNs and egress gateways have one."""
    rule = f"pref 50 from {POD_NETWORK} lookup {_TABLE}"
    route = f"blackhole default table {_TABLE}"
    undo = f"rule del {rule}; route del {route}"
    return _refuse(lab, undo, f"route add {route}", f"rule add {rule}")


@fault(
    "a blackhole rule for what comes from any pod",
    undo=_unruled,
    touches=_RULES,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def blackhole_rule_for_pods(lab: Lab, _: Pod) -> Saved:
    rule = f"pref 50 from {POD_NETWORK} blackhole"
    return _refuse(lab, f"rule del {rule}", f"rule add {rule}")


@fault(
    "a blackhole rule for what comes from this pod's address",
    undo=_unruled,
    touches="ip rule",
    reason="no_route",
    remedy="command",
)
def blackhole_rule_for_pod(lab: Lab, pod: Pod) -> Saved:
    rule = f"pref 51 from {pod.address}/32 blackhole"
    return _refuse(lab, f"rule del {rule}", f"rule add {rule}")


def _not(lab: Lab, but: str) -> Saved:
    """All but what is left to main lead to a table that is a blackhole, as wg-quick does it."""
    rules = ["pref 49 table main suppress_prefixlength 0", f"pref 50 not {but} lookup {_TABLE}"]
    route = f"blackhole default table {_TABLE}"
    undo = "; ".join([*(f"rule del {rule}" for rule in rules), f"route del {route}"])
    return _refuse(lab, undo, f"route add {route}", *(f"rule add {rule}" for rule in rules))


@fault(
    "a rule leads all that has not a certain mark to a table whose default is a blackhole",
    undo=_unruled,
    touches=_RULES,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def blackhole_table_not_marked(lab: Lab, _: Pod) -> Saved:
    return _not(lab, "fwmark 0xca6c")


@fault(
    "a rule leads all that does not come from the node to a table whose default is a blackhole",
    undo=_unruled,
    touches=_RULES,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def blackhole_table_not_from(lab: Lab, _: Pod) -> Saved:
    return _not(lab, "from 10.0.0.0/8")


@fault(
    "a blackhole rule for what comes in from the pod without a mark",
    undo=_unruled,
    touches="ip rule",
    reason="no_route",
    remedy="command",
)
def blackhole_rule_unmarked(lab: Lab, pod: Pod) -> Saved:
    rule = f"pref 53 fwmark 0/0x10 iif {pod.interface} blackhole"
    return _refuse(lab, f"rule del {rule}", f"rule add {rule}")


@fault(
    f"a route to {GATEWAY} by a next-hop object that is a blackhole",
    undo=_unruled,
    touches=TO_TARGET,
    whole_node=True,
    reason="no_route",
    remedy="command",
)
def blackhole_nexthop(lab: Lab, _: Pod) -> Saved:
    made = f"nexthop add id {_NEXTHOP} blackhole"
    return _refuse(
        lab, f"nexthop del id {_NEXTHOP}", made, f"route add {GATEWAY}/32 nhid {_NEXTHOP}"
    )


def _default_again(lab: Lab, pod: Pod, saved: Saved) -> None:
    _unruled(lab, pod, saved)
    swap_back(lab, pod, saved)


@fault(
    "the default route is by a next-hop object that is a blackhole",
    undo=_default_again,
    touches=DEFAULT,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def blackhole_default_nexthop(lab: Lab, _: Pod) -> Saved:
    saved = no_default_but(lab)
    made = f"nexthop add id {_NEXTHOP} blackhole"
    _run(lab, made, f"route add default nhid {_NEXTHOP}")
    return {**saved, "undo": [f"nexthop del id {_NEXTHOP}"]}
