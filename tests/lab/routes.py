# SPDX-License-Identifier: Apache-2.0
"""IPv4 routes as plain dictionaries that can be put back exactly."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

Route = dict[str, Any]

MAIN_TABLE = 254
_HEADER = ("dst_len", "tos", "table", "proto", "scope", "type", "flags")
_ATTRIBUTES = ("dst", "gateway", "oif", "prefsrc", "priority")
_RTNH_F_ONLINK = 4  # the one flag a user sets; the others (linkdown, ...) are the kernel's


def dump(ipr: Any, table: int = MAIN_TABLE) -> list[Route]:
    """All routes of a table."""
    routes = []
    for message in ipr.get_routes(family=socket.AF_INET):
        route: Route = {key: message[key] for key in _HEADER}
        route["flags"] &= _RTNH_F_ONLINK
        for key in _ATTRIBUTES:
            value = message.get_attr(f"RTA_{key.upper()}")
            if value is not None:
                route[key] = value
        if route["table"] == table:
            routes.append(route)
    return routes


def default_routes(ipr: Any) -> list[Route]:
    """The main table's routes to 0.0.0.0/0, of whatever type."""
    return [route for route in dump(ipr) if route["dst_len"] == 0]


def change(ipr: Any, command: str, route: Route) -> None:
    """``command`` (add, del) exactly this route."""
    arguments = {key: value for key, value in route.items() if key not in ("dst", "dst_len")}
    arguments["dst"] = f"{route.get('dst', '0.0.0.0')}/{route['dst_len']}"
    ipr.route(command, family=socket.AF_INET, **arguments)


def add_missing(ipr: Any, routes: Iterable[Route]) -> None:
    """Add those that are not there; next hops before the routes that go through them."""
    present = dump(ipr)
    for route in sorted(routes, key=lambda route: "gateway" in route):
        if route not in present:
            change(ipr, "add", route)
