# SPDX-License-Identifier: Apache-2.0
"""The target is the node's own address, and arp_ignore or arp_filter refused it."""

from __future__ import annotations

from dataclasses import replace

from tracer.causes import conditions
from tracer.causes.cause import EXAMPLE, Cause, Sample
from tracer.causes.remedy import Remedy, advise, propose, see_on_node, setting
from tracer.causes.target_route import target_route
from tracer.node.look import Look
from tracer.seen import Seen


def _observed(seen: Seen, look: Look) -> str | None:
    if not seen.refused or not (seen.given_route == "local" or seen.asked == "arp_ignore"):
        return None
    if seen.asked == "neigh_event_ns":
        return None  # It was past both: there was no room for a neighbour entry.
    ignore, filter_ = _effective(seen)
    if ignore == 0 and filter_ == 0:
        return None
    return f"{look.target_ip} is the node's own address, {_refusal(ignore, filter_)}"


def _effective(seen: Seen) -> tuple[int | None, int | None]:
    """arp_ignore and arp_filter in force (include/linux/inetdevice.h); None: not seen."""
    ignore = filter_ = None
    if seen.arp_ignore is not None and seen.arp_ignore_all is not None:
        ignore = max(seen.arp_ignore, seen.arp_ignore_all)
    if seen.arp_filter is not None and seen.arp_filter_all is not None:
        filter_ = int(bool(seen.arp_filter or seen.arp_filter_all))
    return ignore, filter_


def _refusal(ignore: int | None, filter_: int | None) -> str:
    if ignore is None or filter_ is None:
        return "refused by arp_ignore or arp_filter"
    if ignore and filter_:
        return f"refused by arp_ignore ({ignore}) or arp_filter"
    return f"and arp_ignore is {ignore}" if ignore else "and arp_filter is on"


def _holds(look: Look) -> str | None:
    route = target_route(look)
    if route is None or route.type != "local":
        return None
    if ignored := _ignored(look):
        return f"{look.target_ip} is the node's own address, {ignored}"
    if filtered := _filtered(look):
        return f"{look.target_ip} is the node's own address, {filtered}"
    return None


def _ignored(look: Look) -> str | None:
    """net/ipv4/arp.c, arp_ignore: 1 and 2 answer only for the interface's own addresses, 2
    only in the sender's subnet, 3 not for those of host scope, 8 for none. What is not
    known here (subnet, scope) is left to observation.
    """
    if look.arp_ignore_interface is None or look.arp_ignore_all is None:
        return None
    level = max(look.arp_ignore_interface, look.arp_ignore_all)
    if level == 8:
        return "and arp_ignore is 8: none is answered for"
    if level in (1, 2) and look.target_owner not in (None, look.interface):
        return f"on {look.target_owner}, and arp_ignore is {level}: only the interface's own are"
    return None


def _filtered(look: Look) -> str | None:
    """net/ipv4/arp.c, arp_filter: the way back to the sender must be this interface."""
    if not (look.arp_filter_interface or look.arp_filter_all):
        return None
    way = look.sender_route
    if way is None or (way.ok and way.out_ifindex == look.ifindex):
        return None
    to = f"leaves through {way.out_interface}" if way.ok else f"fails ({way.error})"
    return f"and arp_filter is on: the route to {look.sender_ip} {to}"


def _remedy(look: Look, seen: Seen) -> Remedy:
    """The node may live by the address, wherever it is. Of the sysctls only the interface's own
    are the pod's; all's serve whoever has them there, as strict ARP does kube-proxy.
    """
    on = f" on {look.target_owner}" if look.target_owner else ""
    settings = (
        (
            "arp_ignore",
            _larger(look.arp_ignore_interface, seen.arp_ignore),
            _larger(look.arp_ignore_all, seen.arp_ignore_all),
        ),
        (
            "arp_filter",
            _larger(look.arp_filter_interface, seen.arp_filter),
            _larger(look.arp_filter_all, seen.arp_filter_all),
        ),
    )
    refusing = [each for each in settings if each[1] or each[2]]
    if refusing and all(of_all == 0 for _, _, of_all in refusing):
        return propose(look, *(setting(look, name, 0) for name, _, _ in refusing))
    what = " and ".join(
        f"net.ipv4.conf.all.{name}={of_all}" for name, _, of_all in refusing if of_all
    )
    return advise(
        f"The node has {look.target_ip}{on}: leave it there. What refuses is "
        f"{what or 'arp_ignore or arp_filter'}, which others may need: find out who wrote it, or "
        "give the pods another gateway.",
        see_on_node(look, "sysctl -a --pattern 'arp_(ignore|filter)'", "ip route show table local"),
    )


def _larger(*values: int | None) -> int | None:
    return max((value for value in values if value is not None), default=None)


CAUSE = Cause(
    name="local_address_ignored",
    condition=conditions.ROUTE,
    means=(
        "The target is a local address of the node, and arp_ignore or arp_filter refused it on "
        "this interface."
    ),
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The kernel gives the request a route of type local, or is seen to call arp_ignore, which "
        "it does for nothing else, and gets no further. The sysctls are read with it; in force "
        "are the larger arp_ignore and either arp_filter of the interface and all."
    ),
    lasting=(
        "Usually something on the node took an address of 169.254.1.0/24 (a metadata proxy, a "
        "node-local service), on a node whose load balancer set-up wrote arp_ignore=1 "
        "(net.ipv4.conf.all.arp_ignore in /etc/sysctl.d; kube-proxy's --ipvs-strict-arp writes "
        "it too). Give that service another address; Calico's gateway cannot be moved. Or take "
        "arp_ignore out of /etc/sysctl.d, and strictARP out of kube-proxy's configuration."
    ),
    field_reports=("projectcalico/calico#7840",),
    shown_by=("target_local_arp_ignore", "target_local_arp_filter"),
    samples=(
        Sample(
            when="by arp_ignore of the interface",
            look=replace(EXAMPLE, arp_ignore_interface=1, arp_ignore_all=0),
        ),
        Sample(
            when="by arp_filter of the interface",
            look=replace(EXAMPLE, arp_filter_interface=1, arp_filter_all=0),
        ),
        Sample(
            when="by arp_ignore of all, and the address is on OWNER",
            look=replace(EXAMPLE, target_owner="OWNER", arp_ignore_all=1),
        ),
    ),
)
