# SPDX-License-Identifier: Apache-2.0
"""Links seen through netlink: index, flags, and waiting until frames really pass."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from .errors import LabError, Unavailable


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


def wait_down(ipr: Any, name: str, timeout: float = 10.0) -> None:
    """Until the link is operationally down and the kernel has marked its routes so."""
    number = index(ipr, name)
    deadline = time.monotonic() + timeout
    while next(iter(ipr.get_links(number))).get_attr("IFLA_OPERSTATE") == "UP":
        if time.monotonic() > deadline:
            raise LabError(f"{name} did not go down within {timeout:g} s")
        time.sleep(0.002)


@contextmanager
def kind_may_lack(what: str) -> Iterator[None]:
    """Unavailable, naming ``what``, if the kernel has no links of the kind made in the block."""
    try:
        yield
    except NetlinkError as error:
        if error.code in (errno.EOPNOTSUPP, errno.ENOTSUP):
            raise Unavailable(f"{what}: the kernel has no such links") from error
        raise
