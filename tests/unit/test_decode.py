# SPDX-License-Identifier: Apache-2.0
"""From the kernel side's bytes to events."""

from __future__ import annotations

import socket
import struct

from tracer.events import InterfaceCount, Neighbour, Request, Verdict
from tracer.kernel.decode import Decoder
from tracer.kernel.functions import Functions
from tracer.seen import Seen

REQUEST = struct.Struct("=IIQQQQII4s4s6sBBBB6s16s")
NEIGHBOUR = struct.Struct("=IIQQI4sBB6s16s")
NO_TRAIL = bytes(120)
COUNT_KEY = struct.Struct("=QII")
COUNT = struct.Struct("=4QQQ4Q4s4s16s")

MAC = bytes.fromhex("0242ac110002")
POD = socket.inet_aton("192.168.156.177")
GATEWAY = socket.inet_aton("169.254.1.1")


def decoder() -> Decoder:
    made = Decoder(
        {2: "NOT_SPECIFIED", 8: "NETFILTER_DROP"}, Functions([(0x100, 0x200, "arp_rcv")])
    )
    made.offset = 1_000_000_000_000
    return made


def request(
    *,
    verdict: int,
    dropped: int = 0,
    late: int = 0,
    latency: int = 0,
    reason: int = 0,
    at: int = 0,
    by: int = 0,
    other_mac: bytes = bytes(6),
) -> bytes:
    return REQUEST.pack(
        1, 7, 0xFFFF888000000000, 23, latency, at, reason, 4026531840, POD, GATEWAY, MAC,
        verdict, dropped, late, by, other_mac, b"calic577831ffc7",
    )  # fmt: skip


def test_an_answered_request() -> None:
    assert decoder().event(request(verdict=0, latency=12345)) == Request(
        ts=1_000_000_000_023,
        netns=4026531840,
        ifindex=7,
        device=1,
        interface="calic577831ffc7",
        sender_ip="192.168.156.177",
        sender_mac="02:42:ac:11:00:02",
        target_ip="169.254.1.1",
        verdict=Verdict.ANSWERED,
        latency_ns=12345,
        answered_by="kernel",
    )


def test_an_answer_of_a_program_that_came_after_all() -> None:
    event = decoder().event(request(verdict=0, late=3, by=1))
    assert isinstance(event, Request)
    assert (event.answered_by, event.corrects, event.late) == ("userspace", True, False)


def test_a_second_answer() -> None:
    other = bytes.fromhex("02005e005302")
    event = decoder().event(request(verdict=0, late=4, by=1, other_mac=other))
    assert isinstance(event, Request)
    assert (event.answers, event.seen) == (2, Seen(other_mac="02:00:5e:00:53:02"))
    assert (event.again, event.late, event.corrects, event.is_new) == (True, False, False, False)
    both = decoder().event(request(verdict=0, other_mac=other))
    assert isinstance(both, Request)
    assert (both.answers, both.is_new) == (2, True)


def test_a_device_is_a_number_and_no_kernel_address() -> None:
    made = decoder()
    events = [made.event(request(verdict=0)) for _ in range(2)]
    assert [event.device for event in events] == [1, 1]
    assert made.pointer(1) == 0xFFFF888000000000


def test_verdicts() -> None:
    made = decoder()
    events = [made.event(request(verdict=number)) for number in range(4)]
    assert [event.verdict for event in events if isinstance(event, Request)] == [
        Verdict.ANSWERED,
        Verdict.UNANSWERED,
        Verdict.DEFERRED,
        Verdict.IGNORED,
    ]


def test_no_latency_is_none() -> None:
    event = decoder().event(request(verdict=1))
    assert isinstance(event, Request)
    assert event.latency_ns is None
    assert not event.late
    assert event.seen == Seen()


def test_a_dropped_request_names_reason_and_function() -> None:
    event = decoder().event(request(verdict=1, dropped=1, reason=8, at=0x123) + NO_TRAIL)
    assert isinstance(event, Request)
    assert event.seen == Seen(
        dropped="request", drop_reason="NETFILTER_DROP", drop_function="arp_rcv"
    )


def test_a_dropped_reply_on_a_kernel_without_reasons() -> None:
    event = decoder().event(request(verdict=1, dropped=2, late=1, at=0x300) + NO_TRAIL)
    assert isinstance(event, Request)
    assert event.late
    assert event.seen == Seen(dropped="reply", drop_site=1)


def test_a_deferred_request_that_was_given_up_says_so() -> None:
    event = decoder().event(request(verdict=1, late=2) + NO_TRAIL)
    assert isinstance(event, Request)
    assert event.late
    assert event.seen == Seen(given_up=True)


def neighbour(old: int, new: int, mac: bytes = MAC) -> Neighbour:
    event = decoder().event(
        NEIGHBOUR.pack(2, 7, 9, 23, 4026531840, POD, old, new, mac, b"calic577831ffc7")
    )
    assert isinstance(event, Neighbour)
    return event


def test_a_neighbour_that_became_reachable() -> None:
    event = neighbour(0x01, 0x02)
    assert (event.old_state, event.new_state) == ("incomplete", "reachable")
    assert (event.ip, event.mac) == ("192.168.156.177", "02:42:ac:11:00:02")


def test_a_neighbour_never_seen_before_and_without_address() -> None:
    event = neighbour(255, 0x20, bytes(6))
    assert (event.old_state, event.new_state, event.mac) == (None, "failed", None)


def test_a_row_of_the_counts() -> None:
    made = decoder()
    structs = made.header.structs
    key = structs["count_key"].unpack(COUNT_KEY.pack(9, 7, 4026531840))
    count = structs["count"].unpack(
        COUNT.pack(11, 13, 5, 3, 2, 7, 100, 200, 0, 0, POD, GATEWAY, b"calic577831ffc7")
    )
    assert made.count(key, count) == InterfaceCount(
        netns=4026531840,
        ifindex=7,
        device=1,
        interface="calic577831ffc7",
        answered=11,
        unanswered=13,
        deferred=3,
        ignored=3,
        last_answered_ts=1_000_000_000_100,
        last_unanswered_ts=1_000_000_000_200,
        last_sender_ip="192.168.156.177",
        last_target_ip="169.254.1.1",
        deferrals=5,
        corrected=7,
    )
