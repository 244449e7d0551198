# SPDX-License-Identifier: Apache-2.0
"""The route to the target leaves through the interface that asked."""

from __future__ import annotations

from tracer.causes import conditions
from tracer.causes.cause import Cause
from tracer.causes.remedy import Remedy, advise, propose, removal, see_on_node
from tracer.causes.target_route import target_route
from tracer.node.look import Look
from tracer.seen import Seen


def _observed(seen: Seen, look: Look) -> str | None:
    if not seen.refused:
        return None
    same = f"the route to {look.target_ip} leaves through {look.interface} itself"
    if seen.given_route == "unicast" and seen.given_out == look.ifindex:
        return same
    # net/ipv4/route.c, __mkroute_input: no route for what is not IP and would go back out.
    if seen.given_route != "none" or seen.target_lookup != "ok" or seen.target_out != look.ifindex:
        return None
    return same if _sender_is_valid(seen, look) else None


def _sender_is_valid(seen: Seen, look: Look) -> bool:
    """It is validated before the devices are compared."""
    way = look.sender_route
    if way is not None and way.ok and way.type == "local":
        return False
    if not seen.validates_way_back:
        return True
    return seen.source_lookup in (None, "ok") and seen.source_out in (None, look.ifindex)


def _holds(look: Look) -> str | None:
    route = target_route(look)
    if route is None or route.type != "unicast":
        return None
    # proxy_arp_pvlan allows it: __mkroute_input, and arp_fwd_pvlan (net/ipv4/arp.c).
    if route.out_ifindex != look.ifindex or look.proxy_arp_pvlan:
        return None
    return f"the route to {look.target_ip} leaves through {look.interface} itself"


def _remedy(look: Look, seen: Seen) -> Remedy:
    if look.refused_by is not None:
        if look.refused_by.name.startswith("default"):
            return advise(
                f"Delete the default route through {look.interface} once another one is there: "
                "without one, no pod of the node is answered."
            )
        return propose(look, removal(look.refused_by))
    return advise(
        f"Delete the route to {look.target_ip} through {look.interface}, or add a longer one "
        "through another interface.",
        see_on_node(look, f"ip route get fibmatch {look.target_ip}"),
    )


CAUSE = Cause(
    name="route_same_interface",
    condition=conditions.OTHER_INTERFACE,
    means=(
        "The route to the target leaves through the interface that asked: the kernel takes it "
        "that the target can answer for itself there."
    ),
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The lookup for the target gives the device that the request came in on, and the sender "
        "is valid. ip route get succeeds all the same: the kernel refuses such a route for ARP "
        "alone."
    ),
    lasting=(
        "Usually a default route or a link-local one (169.254.0.0/16, zeroconf's) on a cali* "
        "interface: written by a DHCP client or zeroconf that takes the interface for an uplink. "
        "Write NOZEROCONF=yes in /etc/sysconfig/network, denyinterfaces cali* in "
        "/etc/dhcpcd.conf, unmanaged-devices=interface-name:cali* below [keyfile] in "
        "/etc/NetworkManager/conf.d/calico.conf, or LinkLocalAddressing=no in the file of "
        "/etc/systemd/network that matches."
    ),
    field_reports=(),
    shown_by=("default_through_pod", "target_through_pod"),
)
