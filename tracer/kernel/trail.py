# SPDX-License-Identifier: Apache-2.0
"""From a request's trail (struct trail of bpf/event.h) to what was seen of it."""

from __future__ import annotations

import errno
import socket
from typing import Any

from tracer.kernel.layout import Header
from tracer.route_types import route_type
from tracer.seen import Seen

_IFF_NOARP = 0x80  # include/uapi/linux/if.h
_DESTINATIONS = {3: "otherhost", 5: "loopback"}  # PACKET_* of include/uapi/linux/if_packet.h


class _NotTold:
    """A part of a trail that was not filled in: each member of it is None."""

    def __getattr__(self, name: str) -> None:
        return None


_NOT_TOLD = _NotTold()


def freeing_functions(header: Header) -> dict[int, str]:
    """enum freed_in: number and function, without IN_UNKNOWN."""
    return {
        number: name.removeprefix("IN_").lower()
        for name, number in header.enums["freed_in"].items()
        if number
    }


class Trails:
    """Decodes trails. ``layout`` is that of the struct."""

    def __init__(self, header: Header) -> None:
        self.layout = header.structs["trail"]
        self._known = header.enums["known"]
        self._freed_in = freeing_functions(header)
        self._asked = {
            number: name.removeprefix("ASKED_").lower()
            for name, number in header.enums["asked"].items()
            if number
        }

    def seen(
        self,
        sample: memoryview | bytes,
        *,
        dropped: str | None = None,
        drop_reason: str | None = None,
        drop_function: str | None = None,
        drop_site: int | None = None,
        given_up: bool | None = None,
    ) -> Seen:
        """What the trail tells, and what is known besides: the event's own members."""
        raw = self.layout.unpack(sample)
        known = self._known
        target = raw if raw.known & known["KNOWN_TARGET"] else _NOT_TOLD
        source = raw if raw.known & known["KNOWN_SOURCE"] else _NOT_TOLD
        given = raw if raw.known & known["KNOWN_ROUTE"] and raw.route_type else _NOT_TOLD
        conf = raw if raw.known & known["KNOWN_CONF"] else _NOT_TOLD
        return Seen(
            dropped=dropped,
            drop_reason=drop_reason,
            drop_function=drop_function,
            drop_site=drop_site,
            given_up=given_up,
            noarp=bool(raw.device_flags & _IFF_NOARP) or None,
            destination=_DESTINATIONS.get(raw.pkt_type),
            header=_header(raw) if raw.known & known["KNOWN_HEADER"] else None,
            dropped_in=self._freed_in.get(raw.freed_in),
            redirected=bool(raw.redirected) or None,
            dropped_on=raw.dropped_on or None,
            taken_in=self._freed_in.get(raw.taken_in),
            asked=self._asked.get(raw.asked),
            target_lookup=_result(target.target_error),
            target_table=target.target_table,
            target_out=target.target_out or None,
            source_lookup=_result(source.source_error),
            source_out=source.source_out or None,
            given_route=_given(raw) if raw.known & known["KNOWN_ROUTE"] else None,
            given_error=_result(-abs(given.route_error)) if given.route_error else None,
            given_out=given.route_out,
            medium_id_out=given.medium_id_out,
            forwarding=conf.forwarding,
            proxy_arp=conf.proxy_arp,
            proxy_arp_all=conf.proxy_arp_all,
            proxy_arp_pvlan=conf.proxy_arp_pvlan,
            medium_id=conf.medium_id,
            rp_filter=conf.rp_filter,
            rp_filter_all=conf.rp_filter_all,
            arp_ignore=conf.arp_ignore,
            arp_ignore_all=conf.arp_ignore_all,
            arp_filter=conf.arp_filter,
            arp_filter_all=conf.arp_filter_all,
            proxy_queue=conf.proxy_queue,
        )


def _header(raw: Any) -> str:
    return (
        f"hardware type {socket.ntohs(raw.hardware)}, protocol {socket.ntohs(raw.protocol):#06x}, "
        f"address lengths {raw.hardware_len} and {raw.protocol_len}"
    )


def _given(raw: Any) -> str:
    return route_type(raw.route_type) if raw.route_type else "none"


def _result(error: int | None) -> str | None:
    if error is None:
        return None
    return "ok" if error == 0 else errno.errorcode.get(-error, str(-error))
