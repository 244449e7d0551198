# SPDX-License-Identifier: Apache-2.0
"""The node, its uplink and the pods, wired as Calico does (docs/lab.md has the picture)."""

from __future__ import annotations

from typing import Any

from . import links, routes
from .names import GATEWAY, HOST_MAC, POD_NETWORK
from .netns import Netns
from .pod import OUTSIDE, Pod

UPLINK = "eth0"
NODE_ADDRESS = "10.65.0.2"
ROUTER_ADDRESS = "10.65.0.1"

# RTPROT_BOOT: what Felix and the CNI plugin give their routes; pyroute2 would say static.
_BOOT = 3


def _up(ipr: Any, name: str) -> int:
    number = links.index(ipr, name)
    ipr.link("set", index=number, state="up")
    return number


def set_node_sysctls(node: Netns, rp_filter: int) -> None:
    """What makes a router of it, as Calico does.

    A new namespace inherits conf/all and conf/default from the machine
    (net/ipv4/devinet.c, devinet_init_net): what bears on ARP is written, not assumed.
    """
    conf = "net/ipv4/conf"
    neutral = ("proxy_arp", "proxy_arp_pvlan", "arp_ignore", "arp_filter", "arp_announce")
    node.set_sysctls(
        {
            "net/ipv4/ip_forward": 1,
            f"{conf}/all/rp_filter": 0,
            f"{conf}/default/rp_filter": rp_filter,
            **{f"{conf}/{scope}/{key}": 0 for scope in ("all", "default") for key in neutral},
        }
    )


def wire_uplink(node: Netns, fabric: Netns) -> None:
    """An uplink to a router that has the outside world."""

    def on_node(ipr: Any) -> None:
        ipr.link(
            "add",
            kind="veth",
            ifname=UPLINK,
            peer={"ifname": UPLINK, "net_ns_fd": str(fabric.path)},
        )
        _up(ipr, "lo")
        number = _up(ipr, UPLINK)
        ipr.addr("add", index=number, address=NODE_ADDRESS, prefixlen=24)

    def on_fabric(ipr: Any) -> None:
        lo = _up(ipr, "lo")
        ipr.addr("add", index=lo, address=OUTSIDE, prefixlen=32)
        number = _up(ipr, UPLINK)
        ipr.addr("add", index=number, address=ROUTER_ADDRESS, prefixlen=24)
        ipr.route("add", dst=str(POD_NETWORK), gateway=NODE_ADDRESS, proto=_BOOT)

    def default_route(ipr: Any) -> None:
        links.wait_up(ipr, UPLINK)
        ipr.route("add", dst="0.0.0.0/0", gateway=ROUTER_ADDRESS, proto=_BOOT)

    node.netlink(on_node)
    fabric.netlink(on_fabric)
    node.netlink(default_route)


def pod_sysctls(interface: str, rp_filter: int) -> dict[str, int]:
    """What Felix writes for a workload's interface, in an order that is safe.

    proxy_delay before proxy_arp: with proxy_arp on, old kernels divide by zero when
    proxy_delay becomes 0 under a request (net/core/neighbour.c, pneigh_enqueue).
    """
    conf = f"net/ipv4/conf/{interface}"
    return {
        f"{conf}/route_localnet": 1,
        f"net/ipv4/neigh/{interface}/proxy_delay": 0,
        f"{conf}/proxy_arp": 1,
        f"{conf}/forwarding": 1,
        f"{conf}/rp_filter": rp_filter,
    }


def wire_pod(node: Netns, pod: Pod) -> None:
    """The veth pair, both ends configured and up, and the pod's /32 on the node."""

    def make(ipr: Any) -> None:
        ipr.link(
            "add",
            kind="veth",
            ifname=pod.interface,
            address=HOST_MAC,
            peer={"ifname": "eth0", "net_ns_fd": str(pod.path)},
        )

    def on_pod(ipr: Any) -> None:
        _up(ipr, "lo")
        number = _up(ipr, "eth0")
        ipr.addr("add", index=number, address=pod.address, prefixlen=32)
        ipr.route("add", dst=f"{GATEWAY}/32", oif=number, scope="link", proto=_BOOT)
        ipr.route("add", dst="0.0.0.0/0", gateway=GATEWAY, oif=number, proto=_BOOT)
        links.wait_up(ipr, "eth0")

    def on_node(ipr: Any) -> None:
        number = _up(ipr, pod.interface)
        ipr.route("add", dst=f"{pod.address}/32", oif=number, scope="link", proto=_BOOT)

    node.netlink(make)
    node.set_sysctls(pod_sysctls(pod.interface, pod.rp_filter))
    node.netlink(on_node)
    pod.netlink(on_pod)
    node.netlink(lambda ipr: links.wait_up(ipr, pod.interface))


def unwire_pod(node: Netns, pod: Pod) -> None:
    """Delete the pair at once (the kernel takes the routes with it)."""

    def on_node(ipr: Any) -> None:
        for number in ipr.link_lookup(ifname=pod.interface):
            ipr.link("del", index=number)

    node.netlink(on_node)


def pod_routes(ipr: Any, pod: Pod) -> list[routes.Route]:
    """The node's /32 routes to the pod."""
    return [
        route
        for route in routes.dump(ipr)
        if route["dst_len"] == 32 and route.get("dst") == pod.address
    ]
