# SPDX-License-Identifier: Apache-2.0
"""Reads, for one interface that gave no answer, what the causes judge."""

from __future__ import annotations

from dataclasses import replace

from tracer.node import netns
from tracer.node.look import Look
from tracer.node.moment import Moment
from tracer.node.peer import peer_of
from tracer.node.reading import Reading


class Looker:
    """To be made once, and used by one thread: that which made it."""

    def __init__(self) -> None:
        self._netns = netns.own()

    def close(self) -> None:
        """Nothing is kept open: an open socket would keep its namespace alive."""

    def look(
        self,
        inode: int,
        ifindex: int,
        interface: str,
        sender_ip: str,
        target_ip: str,
        *,
        filters: bool = True,
        peer: bool = False,
    ) -> Look:
        """One look, about a millisecond. What cannot be read is in ``failures``.

        ``inode`` is the network namespace's. ``filters``: what hangs in the packet's way
        is listed too (Look.ingress and what follows it). ``peer``: the pod is looked into, as
        it is where there is no carrier.
        Never raises for what the node looks like: an interface or a namespace that is gone is
        a failure to read it.
        """
        question = (ifindex, interface, sender_ip, target_ip)

        def read(path: str | None) -> Look:
            with Moment() as moment:
                reading = Reading(moment, *question)
                reading.read(filters=filters)
                found = reading.look(inode, path)
                other = peer_of(moment.route, ifindex) if peer or found.carrier is False else None
            return replace(found, peer=other)

        failures: tuple[str, ...] = ()
        path: str | None = None
        try:
            if inode == self._netns:
                return read(None)
            if (path := netns.find(inode)) is None:
                failures = (f"network namespace {inode}: no file or process leads to it",)
            else:
                with netns.entered(path, inode):
                    return read(path)
        except OSError as error:
            failures = (f"network namespace {inode}: {error}",)
        return Look(
            inode, ifindex, interface, sender_ip, target_ip, path, path is None, failures=failures
        )
