# SPDX-License-Identifier: Apache-2.0
"""The sender's address failed source validation."""

from __future__ import annotations

import errno
from dataclasses import replace

from tracer.causes import conditions
from tracer.causes.cause import EXAMPLE, Cause, Sample
from tracer.causes.martian import martian_sender
from tracer.causes.remedy import Remedy, advise, propose, removal, senders_route
from tracer.node.look import Look, Refusal, RouteAnswer
from tracer.seen import Seen

_MAIN = 254
# What RTM_GETROUTE says of it: the kernel's own EXDEV (rp_filter) or EINVAL (the node's own
# address, a martian); newer kernels, 6.18 for one, say EINVAL of both.
_REFUSED = frozenset({errno.EXDEV, errno.EINVAL})


def _observed(seen: Seen, look: Look) -> str | None:
    """net/ipv4/fib_frontend.c, fib_validate_source; its callers in net/ipv4/route.c."""
    if not seen.refused or seen.given_route != "none":
        return None
    problem = _not_looked_up(seen, look) if seen.source_lookup is None else _looked_up(seen, look)
    return None if problem is None else f"source validation: {problem}"


def _looked_up(seen: Seen, look: Look) -> str | None:
    if not seen.validates_way_back and not _is_local(look):
        return None
    if seen.source_lookup != "ok":
        return f"the route lookup for {look.sender_ip} {_failed(seen, look)}"
    if odd := _not_unicast(look):
        return odd
    if seen.source_out is not None and seen.source_out != look.ifindex:
        to = _leads_to(seen, look)
        return f"the route to {look.sender_ip} {to}, not to {look.interface}"
    return None


def _not_looked_up(seen: Seen, look: Look) -> str | None:
    martian = martian_sender(look)
    if martian and seen.target_lookup is None:
        return f"{look.sender_ip} is {martian}"
    # With rp_filter 0 the node's own addresses alone are asked about, without a lookup.
    if seen.target_lookup == "ok" and _is_local(look):
        return _local(look)
    return None


def _failed(seen: Seen, look: Look) -> str:
    if seen.source_lookup == "EINVAL" or look.sender_refused_by is not None:
        by = f": {look.sender_refused_by}" if look.sender_refused_by else ": a blackhole"
        return f"failed ({seen.source_lookup}){by}"
    return f"failed ({seen.source_lookup}): there is none"


def _leads_to(seen: Seen, look: Look) -> str:
    way = look.sender_route
    if _is_local(look):
        return f"is local ({_local(look)})"
    if way is not None and way.out_ifindex == seen.source_out and way.out_interface:
        return f"leads to {way.out_interface}"
    return f"leads to interface {seen.source_out}"


def _is_local(look: Look) -> bool:
    way = look.sender_route
    return way is not None and way.ok and way.type == "local"


def _local(look: Look) -> str:
    on = f" on {look.sender_owner}" if look.sender_owner else ""
    return f"the node itself has {look.sender_ip}{on}"


def _holds(look: Look) -> str | None:
    route, alone = look.route, look.route_from_node
    if route is None or route.ok or route.errno not in _REFUSED or not look.sender_ip:
        return None
    if martian := martian_sender(look):
        return f"{look.sender_ip} is {martian}"
    if route.errno == errno.EXDEV:
        return _flavour(look) or f"the kernel refuses {look.sender_ip} on {look.interface} (EXDEV)"
    # EINVAL has other causes: the target must be known to have a route that could be taken.
    if alone is None or not alone.ok or alone.type not in ("unicast", "local"):
        return None
    return _flavour(look)


def _flavour(look: Look) -> str | None:
    """What is wrong with the node's way to the sender."""
    if odd := _local(look) if _is_local(look) else _not_unicast(look):
        return odd
    way = look.sender_route
    if way is None or not max(look.rp_filter_interface or 0, look.rp_filter_all or 0):
        return None  # Without rp_filter the way does not matter.
    if not way.ok:
        by = f": {look.sender_refused_by}" if look.sender_refused_by else ""
        return f"rp_filter: the route lookup for {look.sender_ip} fails ({way.error}){by}"
    if way.out_ifindex == look.ifindex:
        return None
    if _follows_default(look):
        return (
            f"rp_filter: there is no /32 for {look.sender_ip}, which the node would send "
            f"through {way.out_interface}"
        )
    return f"rp_filter: the route to {look.sender_ip} leads to {way.out_interface}"


def _not_unicast(look: Look) -> str | None:
    """Refused whatever rp_filter is, once the sender is looked up: net/ipv4/fib_frontend.c,
    __fib_validate_source.
    """
    way = look.sender_route
    if way is None or not way.ok or way.type in ("unicast", "local"):
        return None
    if way.type == "broadcast":
        on = f" on {way.out_interface}" if way.out_interface else ""
        return f"{look.sender_ip} is the broadcast address of a network that the node has{on}"
    return f"the route to {look.sender_ip} is of type {way.type}"


def _follows_default(look: Look) -> bool:
    """Does the sender's route leave as the target's does, which is no pod's?"""
    way, alone = look.sender_route, look.route_from_node
    if way is None or alone is None or way.gateway is None:
        return False
    return (way.out_ifindex, way.gateway) == (alone.out_ifindex, alone.gateway)


def _remedy(look: Look, seen: Seen) -> Remedy:
    refused = look.sender_refused_by
    if refused is not None and refused.kind == "rule":
        return propose(look, removal(refused))
    if refused is not None and refused.keeper is not None:
        return advise(
            f"The route {refused.name}, from {refused.keeper} (proto), stands for the pod's /32: "
            "correct what wrote it, and have Felix write the /32 again (restart calico-node)."
        )
    # Replaces a blackhole for the /32 itself; wins over a shorter route.
    return propose(look, senders_route(look, _table(look)))


def _table(look: Look) -> str:
    """The table that decided on the sender, where that is not main."""
    way, refused = look.sender_route, look.sender_refused_by
    table = way.table if way is not None and way.ok else refused.table if refused else None
    return "" if table in (None, _MAIN) else f" table {table}"


CAUSE = Cause(
    name="source_rejected",
    condition=conditions.SOURCE,
    means=(
        "The sender's address failed source validation (rp_filter, or martian): the node's /32 "
        "route to the pod is missing, blackholed or leads to another interface, or the address "
        "is the node's own."
    ),
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The lookup for the target succeeds, that for the sender fails or leads to another "
        "device, and the kernel gives no route. rp_filter 2 is no help: a cali* interface has no "
        "address of its own. Inferred: ip route get TARGET from SENDER iif INTERFACE fails "
        "(EXDEV; EINVAL on newer kernels) where ip route get TARGET succeeds."
    ),
    lasting=(
        "Usually Felix's /32 was removed (networkd, NetworkManager, a routing daemon), or an "
        "endpoint is stale: two pods with one address, an interface left behind. Compare "
        "kubectl get pods -A -o wide and calicoctl get workloadendpoints -A; delete the stale one "
        "before you take the route from the other. Restarting calico-node on the node writes all "
        "/32 again; Felix itself checks every routeRefreshInterval (FELIX_ROUTEREFRESHINTERVAL, "
        "90 s) unless it is 0. Against networkd: ManageForeignRoutes=no below [Network] in "
        "/etc/systemd/networkd.conf.d/calico.conf; against NetworkManager: "
        "unmanaged-devices=interface-name:cali* below [keyfile] in "
        "/etc/NetworkManager/conf.d/calico.conf. rp_filter itself is Felix's (that of "
        "conf.default when it started; 0 where workloadSourceSpoofing is Any)."
    ),
    field_reports=(
        "projectcalico/calico#11161",
        "projectcalico/calico#10723",
        "projectcalico/calico#1253",
        "projectcalico/calico#2471",
        "projectcalico/calico#4779",
    ),
    shown_by=(
        "source_route_missing",
        "source_route_missing_loose",
        "source_route_foreign",
        "source_route_blackhole",
        "source_local",
    ),
    samples=(
        Sample(when="the /32 is missing or blackholed", look=replace(EXAMPLE, sender_others=())),
        Sample(
            when="the address is not the pod's, or leads elsewhere",
            look=replace(EXAMPLE, sender_others=("a route to it leads to OUT",)),
        ),
        Sample(
            when="the node has the address, on OWNER",
            look=replace(
                EXAMPLE, sender_route=RouteAnswer(ok=True, type="local"), sender_owner="OWNER"
            ),
        ),
        Sample(
            when="a rule refuses it",
            look=replace(
                EXAMPLE,
                sender_refused_by=Refusal("rule", "from all to POD_IP prohibit pref PREF"),
                sender_others=(),
            ),
        ),
    ),
)
