# SPDX-License-Identifier: Apache-2.0
"""Links seen through netlink: index, flags, and waiting until frames really pass."""

from __future__ import annotations

import time
from typing import Any

from .errors import LabError


def index(ipr: Any, name: str) -> int:
    """The interface's index; LabError if there is none of that name."""
    found = list(ipr.link_lookup(ifname=name))
    if not found:
        raise LabError(f"no interface {name}")
    return int(found[0])


def wait_up(ipr: Any, name: str, timeout: float = 10.0) -> None:
    """Until the link is operationally up.

    Carrier alone is not enough: a device opened without carrier keeps the noop qdisc,
    which drops, until linkwatch activates it (net/core/link_watch.c, linkwatch_do_dev).
    """
    number = index(ipr, name)
    deadline = time.monotonic() + timeout
    while next(iter(ipr.get_links(number))).get_attr("IFLA_OPERSTATE") != "UP":
        if time.monotonic() > deadline:
            raise LabError(f"{name} did not come up within {timeout:g} s")
        time.sleep(0.002)
