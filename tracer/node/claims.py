# SPDX-License-Identifier: Apache-2.0
"""Who but the pod could own the address that it asks from."""

from __future__ import annotations

from ipaddress import IPv4Address

from tracer.node import addresses, routes
from tracer.node.netlink import Connection

_HOST = frozenset({32})


def others(connection: Connection, sender: str, ifindex: int) -> tuple[str, ...]:
    """One clause for each sign that the sender is not the address of the pod behind the
    interface: what a /32 to it would take from others. Raises OSError.
    """
    address = IPv4Address(sender)
    found = []
    for owner, network, broadcast in addresses.broadcasts(connection):
        if address == broadcast:
            on = routes.interface_name(owner) or owner
            found.append(f"it is the broadcast address of {network} on {on}")
    for owner, network in addresses.networks(connection):
        if address == network.ip:
            found.append(f"the node has it on {routes.interface_name(owner) or owner}")
        elif owner != ifindex and network.network.prefixlen < 32 and address in network.network:
            found.append(f"it is in the network of {routes.interface_name(owner) or owner}")
    here, own = [], False
    for route in routes.of_type(connection, routes.UNICAST, lengths=_HOST):
        to = route.network.network_address
        if to == address and route.ifindex != ifindex:
            way = routes.interface_name(route.ifindex or None) or "several next hops"
            found.append(f"a route to it leads to {way}")
        elif route.ifindex == ifindex:
            own = own or to == address
            here.append(str(to))
    # Another's /32 there: the pod has that address, unless it has this one as well.
    if here and not own:
        found.append(f"the address that is routed to the pod is {' '.join(dict.fromkeys(here))}")
    return tuple(dict.fromkeys(found))
