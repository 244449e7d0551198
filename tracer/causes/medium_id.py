# SPDX-License-Identifier: Apache-2.0
"""The interface's medium_id forbids the proxy."""

from __future__ import annotations

from tracer.causes import conditions
from tracer.causes.cause import Cause
from tracer.causes.remedy import Remedy, propose, setting
from tracer.causes.target_route import target_route
from tracer.node.look import Look
from tracer.seen import Seen


def _observed(seen: Seen, look: Look) -> str | None:
    if not seen.refused or seen.medium_id is None:
        return None
    if not (seen.proxy_arp or seen.proxy_arp_all) or seen.given_out == look.ifindex:
        return None
    if seen.asked != "pneigh_lookup" and seen.given_route != "unicast":
        return None
    out = seen.medium_id_out if seen.medium_id_out is not None else look.medium_id_out
    return _forbids(look, seen.medium_id, out)


def _forbids(look: Look, own: int, out: int | None) -> str | None:
    """net/ipv4/arp.c, arp_fwd_proxy."""
    key = f"net.ipv4.conf.{look.interface}.medium_id"
    if own == 0:
        return None
    if own == -1:
        return f"{key} is -1: no proxy on this interface"
    if out == own:
        return f"{key} is {own}, as that of the interface to the target: the same medium"
    if out == -1:
        return f"{key} is {own}, and that of the interface to the target -1: it is no medium"
    return None


def _holds(look: Look) -> str | None:
    if (
        look.medium_id is None
        or look.proxy_entry
        or not (look.proxy_arp_interface or look.proxy_arp_all)
    ):
        return None
    route = target_route(look)
    if route is None or route.type != "unicast":
        return None
    if route.out_ifindex == look.ifindex:
        return None
    return _forbids(look, look.medium_id, look.medium_id_out)


def _remedy(look: Look, seen: Seen) -> Remedy:
    return propose(look, setting(look, "medium_id", 0))


CAUSE = Cause(
    name="medium_id",
    condition=conditions.MEDIUM_ID,
    means=(
        "The interface's medium_id forbids the proxy: it is -1, or says that the target is on the "
        "same medium."
    ),
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "As proxy_arp_off, but proxy_arp is on; medium_id of the interface and of the route's "
        "device are read in the same moment. 0, the default, allows the proxy to all."
    ),
    lasting=(
        "Calico never sets it. Somebody's net.ipv4.conf.*.medium_id (or conf.default's, which new "
        "interfaces inherit) in /etc/sysctl.d: take it out there, or write "
        "net.ipv4.conf.default.medium_id=0 and lines for the interfaces that are meant."
    ),
    field_reports=(),
    shown_by=("medium_id_minus_one", "medium_id_equal"),
)
