# SPDX-License-Identifier: Apache-2.0
"""The gateway's or the pod's address is one of the node's own, with the prefix length that it
really has, on a link that others live by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import links, routes
from ..names import GATEWAY
from .devices import add, delete, ip, name_for
from .registry import Saved, fault
from .routing import TO_TARGET
from .sender import TO_POD, replace_route
from .sysctls import CONF, change

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_TARGET = f"{GATEWAY}/32"
_STRICT = f"{CONF}/all/arp_ignore"
_REFUSE_ALL = 8  # arp_ignore: no local address is answered for (net/ipv4/arp.c, arp_ignore)


def _disown(lab: Lab, _: Pod, saved: Saved) -> None:
    """With its last address an interface loses all routes, the pod's /32 too
    (net/ipv4/fib_frontend.c, fib_disable_ip): they are put back at once, for who looks at the
    node meanwhile is right to miss them.
    """
    (address, length), interface = saved["owned"][0].split("/"), saved["owned"][1]

    def inside(ipr: Any) -> None:
        number = links.index(ipr, interface)
        ipr.addr("del", index=number, address=address, prefixlen=int(length))
        routes.add_missing(ipr, saved["routes"])

    lab.node.netlink(inside)
    lab.node.set_sysctls(saved["sysctls"], gone_ok=True)


def _own(lab: Lab, interface: str, sysctls: Saved, address: str = _TARGET) -> Saved:
    before = lab.node.netlink(routes.dump)
    ip(lab, "address", "add", address, "dev", interface)
    return {"owned": [address, interface], "routes": before, "sysctls": sysctls}


@fault(
    f"strict ARP (arp_ignore 1 of all), and {GATEWAY}/32 is on the node's uplink",
    undo=_disown,
    touches="arp_ignore",
    whole_node=True,
    reason="local_address_ignored",
    remedy="advice",
)
def target_on_uplink_strict(lab: Lab, pod: Pod) -> Saved:
    return _own(lab, lab.node.uplink, change(pod, _STRICT, 1))


@fault(
    f"strict ARP (arp_ignore 1 of all), and {GATEWAY}/32 is on the node's loopback",
    undo=_disown,
    touches="arp_ignore",
    whole_node=True,
    reason="local_address_ignored",
    remedy="advice",
)
def target_on_loopback_strict(lab: Lab, pod: Pod) -> Saved:
    return _own(lab, "lo", change(pod, _STRICT, 1))


@fault(
    "the node's side of the pod's link has an address out of 169.254.0.0/16, as zeroconf gives one",
    undo=_disown,
    touches=TO_TARGET,
    shared=True,
    reason="route_same_interface",
    remedy="advice",
)
def zeroconf_on_pods_interface(lab: Lab, pod: Pod) -> Saved:
    return _own(lab, pod.interface, {}, "169.254.77.3/16")


@fault(
    f"{GATEWAY} is an address of the pod's own interface, and its arp_ignore is 8",
    undo=_disown,
    reason="local_address_ignored",
)
def target_on_asking_interface(lab: Lab, pod: Pod) -> Saved:
    """As LXD, ptp and kube-vip have it: the address is right there."""
    saved = change(pod, f"{CONF}/{pod.interface}/arp_ignore", _REFUSE_ALL)
    return _own(lab, pod.interface, saved)


@fault(
    f"{GATEWAY} is an address of the pod's own interface, and arp_filter finds no way back",
    undo=_disown,
    touches=TO_POD,
    reason="local_address_ignored",
)
def target_on_asking_interface_filtered(lab: Lab, pod: Pod) -> Saved:
    conf = f"{CONF}/{pod.interface}"
    sysctls = {**change(pod, f"{conf}/rp_filter", 0), **change(pod, f"{conf}/arp_filter", 1)}
    saved = _own(lab, pod.interface, sysctls)
    replace_route(lab, pod)
    return saved


def _unbridge(lab: Lab, pod: Pod, saved: Saved) -> None:
    lab.node.set_sysctls(saved, gone_ok=True)
    delete(lab, name_for(pod, "docker"))


def _network(lab: Lab, pod: Pod, *address: str) -> None:
    name = name_for(pod, "docker")
    add(lab, name, "bridge")
    ip(lab, "address", "add", *address, "dev", name)


@fault(
    f"strict ARP (arp_ignore 1 of all), and the node is {GATEWAY}/24 in its rack's network",
    undo=_unbridge,
    touches="arp_ignore",
    whole_node=True,
    reason="local_address_ignored",
    remedy="advice",
)
def target_in_rack_network(lab: Lab, pod: Pod) -> Saved:
    _network(lab, pod, f"{GATEWAY}/24")
    return change(pod, _STRICT, 1)


@fault(
    "the pod's address is the node's own in docker's network, a /16",
    undo=_unbridge,
    touches="docker",
    reason="source_rejected",
    remedy="advice",
)
def pod_address_in_docker_network(lab: Lab, pod: Pod) -> Saved:
    _network(lab, pod, f"{pod.address}/16")
    return {}


@fault(
    f"{GATEWAY} is the broadcast address of a network of the node's",
    undo=_unbridge,
    touches=TO_TARGET,
    whole_node=True,
    reason="not_unicast_route",
    remedy="advice",
)
def target_is_broadcast(lab: Lab, pod: Pod) -> Saved:
    _network(lab, pod, "198.18.7.1/24", "broadcast", GATEWAY)
    return {}


@fault(
    "the pod's address is the broadcast address of a network of the node's",
    undo=_unbridge,
    touches="docker",
    reason="source_rejected",
    remedy="advice",
)
def pod_address_is_broadcast(lab: Lab, pod: Pod) -> Saved:
    _network(lab, pod, "198.18.7.1/24", "broadcast", pod.address)
    return {}
