# SPDX-License-Identifier: Apache-2.0
"""Reads, for one interface that gave no answer, what the causes judge."""

from __future__ import annotations

import errno
import socket
from typing import Any

from tracer.node import netns, routes, sysctl
from tracer.node.look import Look

_SYSCTLS = {
    "proxy_arp_interface": ("{interface}", "proxy_arp"),
    "proxy_arp_all": ("all", "proxy_arp"),
    "forwarding": ("{interface}", "forwarding"),
    "rp_filter_interface": ("{interface}", "rp_filter"),
    "rp_filter_all": ("all", "rp_filter"),
}


class Looker:
    """To be made once, and used by one thread: that which made it.

    Its netlink socket is kept open, since importing pyroute2 takes a fifth of a second
    and a socket of it a millisecond. Other namespaces get a socket for each look: one
    kept open would keep the namespace alive.
    """

    def __init__(self) -> None:
        from pyroute2 import IPRoute  # noqa: PLC0415 - slow, and only wanted here

        self._open = IPRoute
        self._netns = netns.own()
        self._route = IPRoute()

    def close(self) -> None:
        self._route.close()

    def look(
        self, inode: int, ifindex: int, interface: str, sender_ip: str, target_ip: str
    ) -> Look:
        """One look, about two milliseconds. What cannot be read is in ``failures``.

        ``inode`` is the network namespace's. Never raises for what the node looks like:
        an interface or a namespace that is gone is a failure to read it.
        """
        found: dict[str, Any] = {}
        failures: list[str] = []
        path: str | None = None
        try:
            if inode == self._netns:
                _read(self._route, found, failures, (ifindex, interface, sender_ip, target_ip))
            elif (path := netns.find(inode)) is None:
                failures.append(f"network namespace {inode}: no file or process leads to it")
            else:
                with netns.entered(path, inode), self._open() as route:
                    _read(route, found, failures, (ifindex, interface, sender_ip, target_ip))
        except OSError as error:
            failures.append(f"network namespace {inode}: {error}")
        return Look(
            netns=inode,
            ifindex=ifindex,
            sender_ip=sender_ip,
            target_ip=target_ip,
            netns_path=path,
            failures=tuple(failures),
            **{"interface": interface, **found},
        )


def _read(
    route: Any, found: dict[str, Any], failures: list[str], question: tuple[int, str, str, str]
) -> None:
    """Fills ``found`` with fields of Look, in the namespace that the thread is in."""
    ifindex, interface, sender_ip, target_ip = question
    try:
        interface = found["interface"] = socket.if_indextoname(ifindex)  # it may be renamed
    except OSError as error:
        failures.append(f"interface {interface} (index {ifindex}): {error.strerror}")
        return
    for field, (owner, name) in _SYSCTLS.items():
        path = sysctl.of_interface(owner.format(interface=interface), name)
        _sysctl(path, field, found, failures)
    _sysctl(sysctl.IPV4 / "ip_forward", "ip_forward", found, failures)
    try:
        answer = found["route"] = routes.ask(
            route, dst=target_ip, src=sender_ip, iif=ifindex, family=socket.AF_INET
        )
        if answer.errno == errno.EINVAL:
            # A blackhole for the target, or a sender that failed validation? Asked for
            # the target alone, there is no sender to validate.
            found["route_from_node"] = routes.ask(route, dst=target_ip, family=socket.AF_INET)
    except Exception as error:
        failures.append(f"route: {error or type(error).__name__}")
        return
    alone = found.get("route_from_node", answer)
    if not answer.ok and alone.errno == answer.errno and found.get("forwarding"):
        try:
            found["refused_by"] = routes.refused_by(
                route, answer.errno, target_ip, sender_ip, interface
            )
        except Exception as error:
            failures.append(f"refusing route: {error or type(error).__name__}")


def _sysctl(path: Any, field: str, found: dict[str, Any], failures: list[str]) -> None:
    try:
        found[field] = sysctl.read(path)
    except (OSError, ValueError) as error:
        failures.append(f"{path}: {getattr(error, 'strerror', None) or error}")
