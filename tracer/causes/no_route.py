# SPDX-License-Identifier: Apache-2.0
"""The route lookup for the target failed."""

from __future__ import annotations

import errno
from dataclasses import replace

from tracer.causes import conditions
from tracer.causes.cause import EXAMPLE, Cause, Sample, command
from tracer.causes.martian import martian_sender
from tracer.causes.remedy import Remedy, advise, propose, removal
from tracer.node.look import Look, Refusal, Unserved
from tracer.seen import Seen

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
    return f"the route lookup for {look.target_ip} failed ({error}): {_why(look, error)}"


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


def _failed(look: Look) -> str | None:
    """The error of the target's own lookup, if that is what failed."""
    route, alone, refused = look.route, look.route_from_node, look.refused_by
    if route is None or route.ok or route.error not in _FAILED or martian_sender(look):
        return None
    if refused is not None and refused.error is not None:
        return refused.error
    if route.errno == errno.EHOSTUNREACH and not look.forwarding:
        # All that fails gives this now, forwarding itself too.
        refused_alone = look.forwarding == 0 and alone is not None and not alone.ok
        return alone.error if alone is not None and refused_alone else None
    # EINVAL: also what a sender that fails source validation gives, or a martian target.
    # Without a sender only the target is looked up.
    blackhole = alone is not None and alone.errno == errno.EINVAL
    return route.error if route.errno != errno.EINVAL or blackhole else None


def _holds(look: Look) -> str | None:
    error = _failed(look)
    if error not in _FAILED:
        return None
    return f"the route lookup for {look.target_ip} fails ({error}): {_why(look, error)}"


def _why(look: Look, error: str) -> str:
    if look.refused_by is not None and look.refused_by.error == error:
        passes = "leaves it to others" if error == "ENETUNREACH" else "refuses it"
        by = look.refused_by
        return f"the {by} {passes if by.kind == 'route' else 'refuses it'}"
    if look.unserved is not None and error == "ENETUNREACH":
        return _there_but(look.unserved)
    return _FAILED.get(error, _RULE)


def _there_but(unserved: Unserved) -> str:
    match unserved.why:
        case "down":
            return f"no route covers it; {unserved.what} is down, and its routes went with it"
        case "no rule":
            why = f"no rule leads to table {unserved.by}"
        case "suppressed":
            why = f"the rule {unserved.by} passes over it"
        case "no carrier":
            why = "its link has no carrier, and ignore_routes_with_linkdown is on"
        case _:
            why = "it is dead: its link is down"
    return f"the route {unserved.what} is there, but {why}"


def _remedy(look: Look, seen: Seen) -> Remedy:
    if look.refused_by is not None:
        if look.unserved is None or look.refused_by.without is None:
            return propose(look, removal(look.refused_by))
        # To delete it alone would not help.
        return advise(
            f"The {look.refused_by} stands in the way, and behind it is this: "
            f"{_there_but(look.unserved)}.",
            _to_serve(look, look.unserved),
        )
    if look.unserved is not None:
        return advise(
            f"{_capital(_there_but(look.unserved))}.",
            _to_serve(look, look.unserved),
        )
    if (_failed(look) or _seen_error(seen)) == "ENETUNREACH":
        return advise(
            "No default route serves it: see ip route show default, and whether its uplink is up."
            " If the node has none, add it by the node's router."
        )
    return advise(
        f"Remove the route or rule that refuses {look.target_ip} "
        f"(ip route show table all; ip rule), or add a route that covers it."
    )


def _to_serve(look: Look, unserved: Unserved) -> str:
    match unserved.why:
        case "down" | "dead" | "no carrier":
            name = unserved.what.split()[0] if unserved.why == "down" else "that link"
            return (
                f"Bring {name} up again (cable, switch, bond, network manager): pods are answered "
                f"once a route to {look.target_ip} leads somewhere. Its routes come back with what "
                "wrote them."
            )
        case "suppressed":
            return (
                "Find out who wrote that rule, a VPN for one, and why nothing follows it: the "
                "kernel's own, from all lookup main with preference 32766, leads to that route."
            )
        case _:
            return (
                "If nobody took that rule away for a purpose, as VPN set-ups do, add it again: the "
                f"kernel's own is {command(look, 'ip rule add from all lookup main pref 32766')}."
            )


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


CAUSE = Cause(
    name="no_route",
    condition=conditions.ROUTE,
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
        Sample(when="nothing covers it", seen=Seen(given_error="ENETUNREACH")),
        Sample(
            when="a route for it alone refuses it",
            look=replace(
                EXAMPLE, refused_by=Refusal("route", "blackhole 169.254.1.1/32", "EINVAL")
            ),
        ),
        Sample(
            when="a rule for this pod alone refuses it",
            look=replace(
                EXAMPLE,
                sender_others=(),
                refused_by=Refusal("rule", "from POD_IP prohibit pref PREF", "EACCES"),
            ),
        ),
        Sample(
            when="a rule for others too refuses it",
            look=replace(
                EXAMPLE,
                refused_by=Refusal(
                    "rule",
                    "from POD_CIDR blackhole pref PREF",
                    "EINVAL",
                    serves="all that comes from POD_CIDR",
                ),
            ),
        ),
        Sample(
            when="the default route is there, and the rule for its table is not",
            look=replace(
                EXAMPLE, unserved=Unserved("default via ROUTER dev UPLINK", "no rule", "main")
            ),
        ),
    ),
)
