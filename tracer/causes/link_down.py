# SPDX-License-Identifier: Apache-2.0
"""The interface is down or has no carrier."""

from __future__ import annotations

import shlex
from dataclasses import replace

from tracer.causes import conditions
from tracer.causes.cause import EXAMPLE, Cause, Sample, in_pod
from tracer.causes.remedy import Remedy, advise, link, propose, see
from tracer.node.look import Look
from tracer.node.peer import Peer
from tracer.seen import Seen

# Who frees what waited for a device that went down: net/core/neighbour.c (the proxy queue),
# net/core/dev.c (the backlog).
_PURGE = "pneigh_queue_purge"
_FREES_WHAT_WAITED = frozenset({_PURGE, "neigh_proxy_process", "flush_backlog"})


def _observed(seen: Seen, look: Look) -> str | None:
    if seen.link == "down":
        return f"{look.interface} is down"
    if seen.link == "no carrier":
        return f"{look.interface} has no carrier"
    if seen.dropped == "request" and (
        seen.drop_function in _FREES_WHAT_WAITED or seen.drop_reason == "DEV_READY"
    ):
        if seen.drop_function == _PURGE and look.up and look.carrier:
            return None  # Another link's end empties the proxy queue of the whole namespace.
        return "the link went down while the request waited in a queue"
    return None


def _holds(look: Look) -> str | None:
    if look.up is False:
        return f"{look.interface} is down"
    if look.carrier is False:
        return f"{look.interface} has no carrier"
    return None


def _remedy(look: Look, seen: Seen) -> Remedy:
    if look.up is False or (look.up is None and seen.link == "down"):
        return propose(look, link(look, "up"))
    if look.carrier is False or seen.link == "no carrier":
        return _other_end(look)
    return advise("Nothing is to be mended if the link is up again: the pod asks once more.")


def _other_end(look: Look) -> Remedy:
    """An interface that is set down loses its routes (net/ipv4/fib_frontend.c, fib_disable_ip)
    but not its address, and nobody writes them again: the CNI plugin has done its part.
    """
    peer = look.peer
    if not isinstance(peer, Peer):
        name, where = "eth0", "in the pod's network namespace, "
        told = f"The other end of {look.interface} is down: {where}ip link set dev eth0 up."
        routes = _routes(look.target_ip, name)
        again = f"in the same place, {routes[0]}, and after it {routes[1]}"
    elif peer.up:
        return advise(
            f"The other end of {look.interface}, {peer.name}, is up, and there is no carrier.",
            see(in_pod(peer, f"ip -d link show dev {shlex.quote(peer.name)}")),
        )
    else:
        name = shlex.quote(peer.name)
        up = in_pod(peer, f"ip link set dev {name} up")
        told = f"The other end of {look.interface}, {peer.name}, was set down in the pod: {up}."
        routes = [in_pod(peer, route) for route in _routes(look.target_ip, name)]
        again = f"{routes[0]}, and after it {routes[1]}"
    return advise(
        told,
        "If it was set down there, its routes went too, and come back by hand or with a new pod: "
        f"{again}.",
    )


def _routes(target: str, name: str) -> list[str]:
    """As Calico's CNI plugin writes them in the pod."""
    return [
        f"ip route add {target} dev {name} scope link",
        f"ip route add default via {target} dev {name}",
    ]


CAUSE = Cause(
    name="link_down",
    condition=conditions.LINK,
    means="The interface is down or has no carrier: requests do not arrive.",
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "From link notifications: no request can be seen on such an interface, so it is flagged "
        "when the state has lasted 2 s, and inferred. Observed where the kernel drops a request "
        "that waited in the proxy queue or the backlog when the link went down."
    ),
    lasting=(
        "Usually the pod's sandbox is gone or half set up, and its host side was left behind: "
        "delete the pod, so that the CNI plugin wires it anew. If it comes again, NetworkManager "
        "or networkd manages cali* and takes it down: write unmanaged-devices=interface-name:cali* "
        "below [keyfile] in /etc/NetworkManager/conf.d/calico.conf; or [Match] Name=cali* and "
        "[Link] Unmanaged=yes in /etc/systemd/network/00-calico.network."
    ),
    field_reports=("projectcalico/calico#11161",),
    shown_by=("link_down", "host_link_down"),
    samples=(
        Sample(when="the interface is down", look=replace(EXAMPLE, up=False)),
        Sample(when="it has no carrier", look=replace(EXAMPLE, carrier=False)),
    ),
    unseen=True,
)
