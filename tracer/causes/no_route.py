# SPDX-License-Identifier: Apache-2.0
"""The route lookup for the target failed."""

from __future__ import annotations

import errno

from tracer.causes.cause import Cause, command
from tracer.causes.seen import Seen
from tracer.node.look import Look

# What ip_route_input_noref leaves in the route's error for a failed lookup of the target
# (net/ipv4/route.c, ip_route_input_slow). With forwarding off every error is EHOSTUNREACH.
_FAILED = {
    errno.ENETUNREACH: "no route covers it, or a throw route or an unreachable rule does",
    errno.EHOSTUNREACH: "an unreachable route covers it",
    errno.EACCES: "a prohibit route or rule covers it",
    errno.EINVAL: "a blackhole route or rule covers it",
}


def _observed(seen: Seen, look: Look) -> str | None:
    return None


def _holds(look: Look) -> str | None:
    route = look.route
    if route is None or route.ok or route.errno not in _FAILED:
        return None
    if route.errno == errno.EHOSTUNREACH and not look.forwarding:
        return None
    if route.errno == errno.EINVAL:
        # Also what a sender that fails source validation gives (EXDEV before Linux 6.x).
        # Without a sender only the target is looked up.
        alone = look.route_from_node
        if alone is None or alone.ok or alone.errno != errno.EINVAL:
            return None
    return f"the route lookup for {look.target_ip} fails ({route.error}): {_FAILED[route.errno]}"


def _remedy(look: Look, seen: Seen) -> str:
    if look.refused_by is not None:
        kind, rest = look.refused_by.split(" ", 1)
        return command(look, f"ip {kind} del {rest}")
    if look.route is not None and look.route.errno == errno.ENETUNREACH:
        return command(look, "ip route add default via GATEWAY")
    return (
        f"Remove the route or rule that refuses {look.target_ip} "
        f"(ip route show table all; ip rule), or add a route that covers it."
    )


CAUSE = Cause(
    name="no_route",
    means=(
        "The route lookup for the target failed: no default route, or an unreachable, blackhole "
        "or prohibit route or rule. The kernel proxies only for what it could forward to."
    ),
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised="",
    lasting=(
        "Usually an air-gapped or BGP-to-ToR node that has no default route, or networkd or "
        "NetworkManager that removed it: configure the route there. Where there is no gateway, "
        "any unicast route that covers the target through another interface than the pod's "
        "will do."
    ),
    field_reports=(
        "projectcalico/calico#3270",
        "projectcalico/calico#4186",
        "projectcalico/calico#7866",
        "projectcalico/calico#2471",
        "poseidon/typhoon#1007",
    ),
    shown_by=(
        "no_default_route",
        "unreachable_default",
        "blackhole_target",
        "prohibit_target_route",
        "prohibit_rule",
    ),
)
