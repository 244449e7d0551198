# SPDX-License-Identifier: Apache-2.0
"""The target is the node's own address, and arp_ignore or arp_filter refused it."""

from __future__ import annotations

import shlex

from tracer.causes.cause import Cause, Sample, command
from tracer.causes.seen import Seen
from tracer.causes.target_route import target_route
from tracer.node import sysctl
from tracer.node.look import Look


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


def _remedy(look: Look, seen: Seen) -> str:
    # On a device other than lo the node may live by the address, whatever its length.
    if look.target_owner not in (None, "lo"):
        return (
            f"The node has {look.target_ip} on {look.target_owner}: leave it there. What refuses "
            f"is arp_ignore or arp_filter of {look.interface} or of all, which others may need."
        )
    if look.target_owner is not None:
        owner = shlex.quote(look.target_owner)
        return command(look, f"ip address del {look.target_ip}/32 dev {owner}")
    ignore, filter_ = _effective(seen)
    names = []
    if look.arp_ignore_interface or look.arp_ignore_all or ignore:
        names.append(("arp_ignore", look.arp_ignore_all))
    if look.arp_filter_interface or look.arp_filter_all or filter_:
        names.append(("arp_filter", look.arp_filter_all))
    lines = []
    for name, of_all in names:
        lines.append(f"sysctl -w {sysctl.setting(look.interface, name, 0)}")
        if of_all:
            lines.append(f"sysctl -w net.ipv4.conf.all.{name}=0")
    if not lines:
        return f"Take {look.target_ip} off the node (ip route show table local)."
    return "\n".join(command(look, line) for line in lines)


CAUSE = Cause(
    name="local_address_ignored",
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
        Sample(when="the address is on OWNER", look={"target_owner": "OWNER"}),
        Sample(when="otherwise, by arp_ignore", look={"arp_ignore_interface": 1}),
        Sample(when="otherwise, by arp_filter", look={"arp_filter_interface": 1}),
    ),
)
