# SPDX-License-Identifier: Apache-2.0
"""The route lookup for the target failed."""

from __future__ import annotations

import errno

from tracer.causes.cause import Cause, Sample, command
from tracer.causes.martian import martian_sender
from tracer.causes.seen import Seen
from tracer.node.look import Look, RouteAnswer

# What a failed lookup of the target gives (net/ipv4/fib_semantics.c, fib_props;
# net/ipv4/fib_rules.c, fib4_rule_action). With forwarding off ip_route_input_slow
# (net/ipv4/route.c) makes EHOSTUNREACH of each.
_FAILED = {
    "ENETUNREACH": "no route covers it, or a throw route or an unreachable rule does",
    "EHOSTUNREACH": "an unreachable route covers it",
    "EACCES": "a prohibit route or rule covers it",
    "EINVAL": "a blackhole route or rule covers it",
}
_RULE = "no table was asked after local: a rule refuses it"
_LOCAL_TABLE = 255


def _observed(seen: Seen, look: Look) -> str | None:
    if not seen.refused or seen.given_route != "unreachable":
        return None
    error = _seen_error(seen)
    if error is None:
        return None
    why = _FAILED.get(error, _RULE)
    return f"the route lookup for {look.target_ip} failed ({error}): {why}"


def _seen_error(seen: Seen) -> str | None:
    """The lookup's error, if that is what failed."""
    if seen.given_error in _FAILED and seen.given_error != "EHOSTUNREACH":
        return seen.given_error
    if seen.target_lookup in (None, "ok"):
        return None  # Forwarding may be what is off.
    if seen.target_lookup in _FAILED:
        return seen.target_lookup
    # A table that knows nothing gives EAGAIN. A rule that refuses is no lookup.
    return "EAGAIN" if seen.target_table == _LOCAL_TABLE else "ENETUNREACH"


def _failed(look: Look) -> RouteAnswer | None:
    """The answer that tells why the target has no route."""
    route, alone = look.route, look.route_from_node
    if route is None or route.ok or route.error not in _FAILED:
        return None
    if route.errno == errno.EHOSTUNREACH and not look.forwarding:
        # All that fails gives this now, forwarding itself too.
        refused = look.forwarding == 0 and alone is not None and not alone.ok
        return alone if refused and alone is not None and alone.error in _FAILED else None
    # EINVAL: also what a sender that fails source validation gives, or a martian target.
    # Without a sender only the target is looked up.
    blackhole = alone is not None and alone.errno == errno.EINVAL and not martian_sender(look)
    return route if route.errno != errno.EINVAL or blackhole else None


def _holds(look: Look) -> str | None:
    answer = _failed(look)
    if answer is None or answer.error is None:
        return None
    error = answer.error
    return f"the route lookup for {look.target_ip} fails ({error}): {_FAILED[error]}"


def _remedy(look: Look, seen: Seen) -> str:
    if look.refused_by is not None:
        kind, rest = look.refused_by.split(" ", 1)
        return command(look, f"ip {kind} del {rest}")
    answer = _failed(look)
    error = answer.error if answer is not None else _seen_error(seen)
    if error == "ENETUNREACH":
        return (
            "No default route serves it: see ip route show default, and whether its uplink is up."
            " If the node has none, add it by the node's router."
        )
    return (
        f"Remove the route or rule that refuses {look.target_ip} "
        f"(ip route show table all; ip rule), or add a route that covers it."
    )


CAUSE = Cause(
    name="no_route",
    means=(
        "The route lookup for the target failed (no default route, or an unreachable, blackhole "
        "or prohibit route or rule), and the kernel proxies only for what it could forward to."
    ),
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The kernel gives the request an unreachable route, with the lookup's error. With "
        "forwarding off that error is always EHOSTUNREACH; then the result of the last "
        "fib_table_lookup tells a failed lookup from forwarding. Inferred: ip route get "
        "TARGET from SENDER iif INTERFACE asks the kernel the same question."
    ),
    lasting=(
        "Usually an air-gapped or BGP-to-ToR node that has no default route, or networkd or "
        "NetworkManager that removed it: configure the route there (Gateway= in the uplink's "
        "[Network] of /etc/systemd/network, or nmcli connection modify UPLINK ipv4.gateway), and "
        "keep networkd from foreign routes by ManageForeignRoutes=no below [Network] in "
        "/etc/systemd/networkd.conf.d/calico.conf. Where there is no gateway, any unicast route "
        "that covers the target through another interface than the pod's will do: "
        "ip route add 169.254.1.1/32 dev UPLINK."
    ),
    field_reports=(
        "projectcalico/calico#3270",
        "projectcalico/calico#4186",
        "projectcalico/calico#7866",
        "projectcalico/calico#2471",
        "projectcalico/calico#4779",
        "poseidon/typhoon#1007",
    ),
    shown_by=(
        "no_default_route",
        "unreachable_default",
        "throw_default",
        "blackhole_target",
        "prohibit_target_route",
        "prohibit_rule",
        "unreachable_rule",
    ),
    samples=(
        Sample(when="nothing covers it", seen={"given_error": "ENETUNREACH"}),
        Sample(when="a route refuses it", look={"refused_by": "route unreachable default"}),
        Sample(when="a rule refuses it", look={"refused_by": "rule prohibit pref PREF"}),
    ),
)
