# SPDX-License-Identifier: Apache-2.0
"""From a request's trail (struct trail of bpf/event.h) to its evidence.

The names are those of :class:`tracer.causes.seen.Seen`.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from tracer.kernel.layout import Header
from tracer.route_types import route_type

Evidence = dict[str, str | int | bool | None]

_IFF_NOARP = 0x80  # include/uapi/linux/if.h
_DESTINATIONS = {3: "otherhost", 5: "loopback"}  # PACKET_* of include/uapi/linux/if_packet.h

_CONF = (
    "forwarding",
    "proxy_arp",
    "proxy_arp_all",
    "proxy_arp_pvlan",
    "medium_id",
    "rp_filter",
    "rp_filter_all",
    "arp_ignore",
    "arp_ignore_all",
    "arp_filter",
    "arp_filter_all",
    "proxy_queue",
)


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

    def evidence(self, sample: memoryview | bytes) -> Evidence:
        """What the trail tells; what it does not is left out."""
        raw = self.layout.unpack(sample)
        known = self._known
        seen: Evidence = {}
        if raw.device_flags & _IFF_NOARP:
            seen["noarp"] = True
        if raw.pkt_type in _DESTINATIONS:
            seen["destination"] = _DESTINATIONS[raw.pkt_type]
        if raw.known & known["KNOWN_HEADER"]:
            seen["header"] = (
                f"hardware type {socket.ntohs(raw.hardware)}, "
                f"protocol {socket.ntohs(raw.protocol):#06x}, "
                f"address lengths {raw.hardware_len} and {raw.protocol_len}"
            )
        if raw.freed_in:
            seen["dropped_in"] = self._freed_in[raw.freed_in]
        if raw.redirected:
            seen["redirected"] = True
        if raw.dropped_on:
            seen["dropped_on"] = raw.dropped_on
        if raw.taken_in:
            seen["taken_in"] = self._freed_in[raw.taken_in]
        if raw.asked:
            seen["asked"] = self._asked[raw.asked]
        self._add_lookups(seen, raw)
        if raw.known & known["KNOWN_CONF"]:
            for name in _CONF:
                seen[name] = getattr(raw, name)
        return seen

    def _add_lookups(self, seen: Evidence, raw: Any) -> None:
        known = self._known
        if raw.known & known["KNOWN_TARGET"]:
            seen["target_lookup"] = _result(raw.target_error)
            seen["target_table"] = raw.target_table
            if raw.target_out:
                seen["target_out"] = raw.target_out
        if raw.known & known["KNOWN_SOURCE"]:
            seen["source_lookup"] = _result(raw.source_error)
            if raw.source_out:
                seen["source_out"] = raw.source_out
        if raw.known & known["KNOWN_ROUTE"]:
            _add_route(seen, raw)


def _add_route(seen: Evidence, raw: Any) -> None:
    if not raw.route_type:
        seen["given_route"] = "none"
        return
    seen["given_route"] = route_type(raw.route_type)
    if raw.route_error:
        seen["given_error"] = _result(-abs(raw.route_error))
    seen["given_out"] = raw.route_out
    seen["medium_id_out"] = raw.medium_id_out


def _result(error: int) -> str:
    return "ok" if error == 0 else errno.errorcode.get(-error, str(-error))
