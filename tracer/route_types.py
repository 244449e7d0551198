# SPDX-License-Identifier: Apache-2.0
"""Types of routes by iproute2's names: RTN_* of include/uapi/linux/rtnetlink.h."""

from __future__ import annotations

ROUTE_TYPES = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
}


def route_type(number: int) -> str:
    return ROUTE_TYPES.get(number, str(number))
