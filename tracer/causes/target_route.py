# SPDX-License-Identifier: Apache-2.0
"""The route to the target, whoever asks."""

from __future__ import annotations

import errno

from tracer.node.look import Look, RouteAnswer

_SENDER_REFUSED = frozenset({errno.EXDEV, errno.EINVAL})


def target_route(look: Look) -> RouteAnswer | None:
    """What a valid sender is given; None: nothing, or it is not known.

    Of a sender that is not known the look asks as from an address that no pod has. If that
    is what the kernel refuses, then the target was found, and the answer without a sender
    is taken for it.
    """
    route, alone = look.route, look.route_from_node
    if look.refused_by is not None and look.refused_by.error is not None:
        return None
    if route is not None and not route.ok and not look.sender_ip:
        route = alone if route.errno in _SENDER_REFUSED else route
    return route if route is not None and route.ok else None
