# SPDX-License-Identifier: Apache-2.0
"""From the kernel side's bytes to events. The layout is that of bpf/event.h."""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import Any

from tracer.events import InterfaceCount, Neighbour, Request, Verdict
from tracer.kernel import source
from tracer.kernel.functions import Functions
from tracer.kernel.layout import Header
from tracer.kernel.trail import Trails
from tracer.nud import nud_name
from tracer.seen import NOTHING_SEEN, Seen

_VERDICTS = {
    "VERDICT_ANSWERED": Verdict.ANSWERED,
    "VERDICT_UNANSWERED": Verdict.UNANSWERED,
    "VERDICT_DEFERRED": Verdict.DEFERRED,
    "VERDICT_IGNORED": Verdict.IGNORED,
}

_ANSWERED_BY = {"BY_KERNEL": "kernel", "BY_USERSPACE": "userspace", "BY_BPF": "bpf"}


def wall_offset() -> int:
    """Nanoseconds from CLOCK_MONOTONIC, which BPF reads, to the wall clock."""
    return time.time_ns() - time.monotonic_ns()


def address(network_order: int) -> str:
    return socket.inet_ntoa(struct.pack("=I", network_order))


class Decoder:
    """Decodes samples of the ring buffer.

    ``drop_reasons``: this kernel's numbers and names. ``offset``: see
    :func:`wall_offset`; the owner keeps it true.
    """

    def __init__(self, drop_reasons: dict[int, str], functions: Functions) -> None:
        header = Header.parse((source.directory() / "event.h").read_text())
        self.header = header
        self._request = header.structs["request_event"]
        self._trails = Trails(header)
        self._neighbour = header.structs["neighbour_event"]
        enums = header.enums
        self.verdicts = {enums["verdict"][name]: v for name, v in _VERDICTS.items()}
        self._verdict_order = [self.verdicts[number] for number in sorted(self.verdicts)]
        self._kind_request = enums["event_kind"]["EVENT_REQUEST"]
        self._unseen = enums["neighbour_state"]["NEIGHBOUR_UNSEEN"]
        self._dropped = {
            enums["dropped"]["DROPPED_REQUEST"]: "request",
            enums["dropped"]["DROPPED_REPLY"]: "reply",
        }
        self._given_up = enums["late"]["LATE_GIVEN_UP"]
        self._drop_reasons = drop_reasons
        self._functions = functions
        self.offset = wall_offset()
        self._answered_by = {
            enums["answered_by"][name]: word for name, word in _ANSWERED_BY.items()
        }
        self._corrects = enums["late"]["LATE_CORRECTS"]
        self._again = enums["late"]["LATE_AGAIN"]
        self._devices: dict[int, int] = {}
        self._pointers: list[int] = [0]

    def _device(self, pointer: int) -> int:
        """A number that stands for the kernel's address, which goes nowhere."""
        number = self._devices.get(pointer)
        if number is None:
            number = self._devices[pointer] = len(self._pointers)
            self._pointers.append(pointer)
        return number

    def pointer(self, device: int) -> int:
        """The kernel's address of a ``device`` of an event."""
        return self._pointers[device]

    def event(self, sample: bytes) -> Request | Neighbour:
        if int.from_bytes(sample[:4], sys.byteorder) == self._kind_request:
            return self._decode_request(sample)
        return self._decode_neighbour(sample)

    def _decode_request(self, sample: bytes) -> Request:
        raw = self._request.unpack(sample)
        verdict = self.verdicts[raw.verdict]
        twice = any(raw.other_mac)
        seen = NOTHING_SEEN
        if twice:
            seen = Seen(other_mac=raw.other_mac.hex(":"))
        elif len(sample) > self._request.size:  # an unanswered one has its trail behind it
            seen = self._seen(raw, sample)
        return Request(
            ts=raw.ts + self.offset,
            netns=raw.netns,
            ifindex=raw.ifindex,
            device=self._device(raw.device),
            interface=raw.interface,
            sender_ip=address(raw.sender_ip),
            sender_mac=raw.sender_mac.hex(":"),
            target_ip=address(raw.target_ip),
            verdict=verdict,
            latency_ns=raw.latency_ns or None,
            late=bool(raw.late) and raw.late not in (self._corrects, self._again),
            seen=seen,
            answered_by=(
                self._answered_by[raw.answered_by] if verdict is Verdict.ANSWERED else None
            ),
            answers=2 if twice else 1,
            corrects=raw.late == self._corrects,
            again=raw.late == self._again,
        )

    def _seen(self, raw: Any, sample: bytes) -> Seen:
        dropped = bool(raw.dropped)
        function = self._functions.name(raw.drop_location) if dropped else None
        unnamed = dropped and not function and raw.drop_location
        return self._trails.seen(
            sample[self._request.size :],
            dropped=self._dropped[raw.dropped] if dropped else None,
            drop_reason=self._drop_reasons.get(raw.drop_reason) if dropped else None,
            drop_function=function,
            drop_site=self._functions.site(raw.drop_location) if unnamed else None,
            given_up=raw.late == self._given_up or None,
        )

    def _decode_neighbour(self, sample: bytes) -> Neighbour:
        raw = self._neighbour.unpack(sample)
        return Neighbour(
            ts=raw.ts + self.offset,
            netns=raw.netns,
            ifindex=raw.ifindex,
            device=self._device(raw.device),
            interface=raw.interface,
            ip=address(raw.ip),
            old_state=None if raw.old_state == self._unseen else nud_name(raw.old_state),
            new_state=nud_name(raw.new_state),
            mac=raw.mac.hex(":") if any(raw.mac) else None,
        )

    def count(self, key: Any, count: Any) -> InterfaceCount:
        """A row of the counts, read at some moment."""
        requests = dict(zip(self._verdict_order, count.requests, strict=True))
        last_ts = {
            verdict: ts + self.offset if ts else 0
            for verdict, ts in zip(self._verdict_order, count.last_ts, strict=True)
        }
        return InterfaceCount(
            netns=key.netns,
            ifindex=key.ifindex,
            device=self._device(key.device),
            interface=count.interface,
            answered=requests[Verdict.ANSWERED],
            unanswered=requests[Verdict.UNANSWERED],
            deferred=max(0, requests[Verdict.DEFERRED] - count.settled),
            ignored=requests[Verdict.IGNORED],
            last_answered_ts=last_ts[Verdict.ANSWERED],
            last_unanswered_ts=last_ts[Verdict.UNANSWERED],
            last_sender_ip=address(count.unanswered_sender_ip),
            last_target_ip=address(count.unanswered_target_ip),
            deferrals=requests[Verdict.DEFERRED],
            corrected=count.corrected,
        )
