# SPDX-License-Identifier: Apache-2.0
"""From a request's trail to what was seen of it."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from tracer.kernel import source
from tracer.kernel.layout import Header
from tracer.kernel.trail import Trails, freeing_functions

HEADER = Header.parse((source.directory() / "event.h").read_text())
KNOWN = HEADER.enums["known"]
FORMATS = {"u32": "=I", "s32": "=i", "u16": "=H", "__be16": "=H", "u8": "=B"}


def trail(known: int = 0, **values: Any) -> bytes:
    layout = HEADER.structs["trail"]
    data = bytearray(layout.size)
    for field in layout.fields:
        if field.type == "char":
            struct.pack_into("16s", data, field.offset, values.pop(field.name, b""))
            continue
        value = known if field.name == "known" else values.pop(field.name, 0)
        struct.pack_into(FORMATS[field.type], data, field.offset, value)
    assert not values
    return bytes(data)


def facts(known: int = 0, **values: Any) -> dict[str, Any]:
    return dict(Trails(HEADER).seen(trail(known, **values)).facts())


def test_a_trail_that_tells_nothing() -> None:
    assert facts() == {}


def test_what_arp_rcv_looks_at() -> None:
    assert facts(device_flags=0x80 | 0x1, pkt_type=3) == {
        "noarp": True,
        "destination": "otherhost",
    }
    assert facts(device_flags=0x1, pkt_type=1) == {}
    assert facts(pkt_type=5) == {"destination": "loopback"}


def test_a_header_that_is_not_taken() -> None:
    seen = facts(
        KNOWN["KNOWN_HEADER"],
        hardware=socket.htons(7),
        protocol=socket.htons(0x86DD),
        hardware_len=6,
        protocol_len=16,
    )
    assert seen == {"header": "hardware type 7, protocol 0x86dd, address lengths 6 and 16"}


def test_where_it_was_freed_and_what_was_asked() -> None:
    numbers = {name: number for number, name in freeing_functions(HEADER).items()}
    assert facts(freed_in=numbers["arp_xmit"]) == {"dropped_in": "arp_xmit"}
    assert facts(taken_in=numbers["__netif_receive_skb_core"]) == {
        "taken_in": "__netif_receive_skb_core"
    }
    assert facts(asked=2) == {"asked": "pneigh_lookup"}


def test_lookups_that_failed() -> None:
    seen = facts(
        KNOWN["KNOWN_TARGET"] | KNOWN["KNOWN_SOURCE"],
        target_error=-errno.EAGAIN,
        target_table=254,
        source_error=-errno.EINVAL,
    )
    assert seen == {
        "target_lookup": "EAGAIN",
        "target_table": 254,
        "source_lookup": "EINVAL",
    }


def test_lookups_that_went_well_and_the_route_given() -> None:
    seen = facts(
        KNOWN["KNOWN_TARGET"] | KNOWN["KNOWN_SOURCE"] | KNOWN["KNOWN_ROUTE"],
        target_table=255,
        target_out=2,
        source_out=7,
        route_type=1,
        route_out=2,
        medium_id_out=-1,
    )
    assert seen == {
        "target_lookup": "ok",
        "target_table": 255,
        "target_out": 2,
        "source_lookup": "ok",
        "source_out": 7,
        "given_route": "unicast",
        "given_out": 2,
        "medium_id_out": -1,
    }


def test_a_route_that_refuses_and_none_at_all() -> None:
    seen = facts(KNOWN["KNOWN_ROUTE"], route_type=7, route_error=113, route_out=1)
    assert (seen["given_route"], seen["given_error"]) == ("unreachable", "EHOSTUNREACH")
    assert facts(KNOWN["KNOWN_ROUTE"]) == {"given_route": "none"}


def test_sysctls_are_told_when_they_were_read_even_if_0() -> None:
    seen = facts(KNOWN["KNOWN_CONF"], proxy_arp=1, medium_id=-1)
    assert len(seen) == 12
    assert (seen["proxy_arp"], seen["proxy_arp_all"], seen["medium_id"]) == (1, 0, -1)


def test_what_was_dropped_in_the_queue_of_another_device() -> None:
    found = facts(redirected=1, dropped_on=b"bwcali0")
    assert found == {"redirected": True, "dropped_on": "bwcali0"}
