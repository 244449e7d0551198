# SPDX-License-Identifier: Apache-2.0
"""A running trace: descriptors that the loading process handed over, and the reading."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tracer.events import Counters, InterfaceCount, Neighbour, Request
from tracer.kernel import bpf
from tracer.kernel.decode import Decoder, address, wall_offset
from tracer.kernel.functions import Functions
from tracer.kernel.handover import Loaded, LoadError
from tracer.kernel.hooks import Kind
from tracer.kernel.libbpf import Libbpf, LibbpfError, Ring

_EXPIRE = "program expire"
_FLUSH = "program flush"
_LET_PROGRAMS_END_S = 0.002
# A program's answer may take so long.
_ANSWER_NS = 1_000_000_000
_PROGRAMS = ("run ", "closer ", "answers ")
_ANSWERS_WATCHED_NS = 60_000_000_000


class Session:
    """All that is attached: what a Loading has loaded. Ends with close(), or with us."""

    def __init__(self, loaded: Loaded, descriptors: dict[str, int]) -> None:
        """Takes the descriptors over. Raises LibbpfError."""
        self.engine = loaded.engine
        self.passed_over = loaded.passed_over
        self._descriptors = descriptors
        self._links = [name for name in descriptors if name.startswith("link ")]
        self._bpf = Libbpf()
        self._ring: Ring | None = self._bpf.ring(descriptors["map events"])
        reasons = {int(number): name for number, name in loaded.drop_reasons.items()}
        self.functions = Functions(loaded.functions)
        self.decoder = Decoder(reasons, self.functions)
        self._structs = self.decoder.header.structs
        self._statistics = self.decoder.header.enums["statistic"]
        self.no_socket = loaded.no_socket
        self.remarks = loaded.remarks
        self._cpus = possible_cpus(Path("/sys/devices/system/cpu/possible").read_text())
        self._runs = [d for name, d in descriptors.items() if name.startswith(_PROGRAMS)]
        self._lost_before = 0
        self._standing: dict[int, int] = {}
        self._closer = [name for name in descriptors if name.startswith("closer ")]
        self._closer_links: list[int] = []
        self._answers = [name for name in descriptors if name.startswith("answers ")]
        self._answers_links: list[int] = []
        self._answered_ns = -_ANSWERS_WATCHED_NS

    def fileno(self) -> int:
        """Readable while events wait."""
        assert self._ring
        return self._ring.fileno()

    def read(self) -> list[Request | Neighbour]:
        """Events that wait, oldest first, a bounded batch; [] when there are none."""
        assert self._ring
        events = [self.decoder.event(sample) for sample in self._ring.read()]
        if self._answers and any(
            isinstance(event, Request) and event.answered_by == "userspace" for event in events
        ):
            self.expect_answers()
        return events

    def lost(self) -> int:
        """Events that the kernel side had to drop since the last call."""
        total = self._statistic("STATISTIC_LOST")
        new, self._lost_before = total - self._lost_before, total
        return new

    def skipped(self) -> int:
        """Runs of our programs that the kernel left out, of what is attached, so far.

        It counts them itself since 5.12 (recursion_misses in /proc/PID/fdinfo), or the
        tracepoint engine's socket filter sees what its other programs have missed.
        """
        missed = sum(_recursion_misses(descriptor) for descriptor in self._runs)
        return missed + self._statistic("STATISTIC_SKIPPED")

    def unjudged(self) -> list[tuple[str, str, int]]:
        """Interface, target and number of requests for what is no target, so far."""
        layout = self._structs["other_target"]
        return [
            (remark.interface, address(layout.unpack(key).target_ip), remark.count)
            for key, remark in self._remarks("map unjudged", layout.size)
        ]

    def elsewhere(self) -> list[tuple[str, str, int]]:
        """Interface, MAC address and number of IP frames for what is not its own, so far."""
        layout = self._structs["other_mac"]
        return [
            (remark.interface, layout.unpack(key).mac.hex(":"), remark.count)
            for key, remark in self._remarks("map elsewhere", layout.size)
        ]

    def _remarks(self, table: str, size: int) -> Iterator[tuple[bytes, Any]]:
        layout = self._structs["remark"]
        for key in list(self._bpf.keys(self._descriptors[table], size)):
            value = self._bpf.lookup(self._descriptors[table], key, layout.size)
            if value is not None:
                yield key, layout.unpack(value)

    def uncounted(self) -> int:
        """Requests of interfaces for which the kernel's counts had no room."""
        return self._statistic("STATISTIC_UNCOUNTED")

    def _statistic(self, name: str) -> int:
        key = struct.pack("=I", self._statistics[name])
        values = self._bpf.lookup(self._descriptors["map statistics"], key, 8 * len(self._cpus))
        return sum(struct.unpack(f"={len(self._cpus)}Q", values)) if values else 0

    def counters(self) -> Counters:
        """The kernel's exact counts, now."""
        return Counters(time.time_ns(), tuple(row for _, row in self._rows()))

    def forget(self, gone: Mapping[tuple[int, int], int]) -> Counters:
        """Free the counts of interfaces that are gone; gives what they were in the end.

        ``gone``: (netns, ifindex) and when it went, ns since the epoch. A row that was
        counted in later is that of an interface which has the same index now.
        """
        forgotten = []
        for key, row in self._rows():
            went = gone.get((row.netns, row.ifindex))
            if went is not None and max(row.last_answered_ts, row.last_unanswered_ts) <= went:
                self._bpf.delete(self._descriptors["map counts"], key)
                forgotten.append(row)
        return Counters(time.time_ns(), tuple(forgotten))

    def _rows(self) -> Iterator[tuple[bytes, InterfaceCount]]:
        key_layout, layout = self._structs["count_key"], self._structs["count"]
        table = self._descriptors["map counts"]
        for key in list(self._bpf.keys(table, key_layout.size)):
            value = self._bpf.lookup(table, key, layout.size)
            if value is not None:
                yield key, self.decoder.count(key_layout.unpack(key), layout.unpack(value))

    @property
    def expires(self) -> bool:
        """Whether deferred requests must be :meth:`expire`\\ d: their end cannot be seen."""
        return _EXPIRE in self._descriptors

    def expire(self, request: Request, came: int) -> None:
        """Give up on the oldest deferred request of this one's exchange.

        Nothing happens if that one came after ``came`` (CLOCK_MONOTONIC, ns).
        """
        sender, target = struct.unpack(
            "=II", socket.inet_aton(request.sender_ip) + socket.inet_aton(request.target_ip)
        )
        device = self.decoder.pointer(request.device)
        self._expire(device, sender << 32 | target, came + 1)

    def _expire(self, device: int, exchange: int, before: int) -> None:
        arguments = struct.pack("=QQQ", device, exchange, before)
        with contextlib.suppress(LibbpfError):  # before 5.10: it stays deferred
            self._bpf.run(self._descriptors[_EXPIRE], arguments)

    def _expire_waiting(self, before: int) -> None:
        """Give up on what waits for a program, if it came before that time."""
        layout = self._structs["place"]
        table = self._descriptors["map waiting"]
        for key in list(self._bpf.keys(table, layout.size)):
            place = layout.unpack(key)
            if place.device & 1:  # WAITS_FOR_PROGRAM of bpf/judge.h
                self._expire(place.device, place.sender_ip << 32 | place.target_ip, before)

    def monotonic(self, ts: int) -> int:
        """CLOCK_MONOTONIC of an event just read, ns."""
        return ts - self.decoder.offset

    @property
    def tend_every_ns(self) -> int:
        return 250_000_000 if _FLUSH in self._descriptors else 1_000_000_000

    def trouble(self) -> str | None:
        """Why no events would come, or no counts be had, in one line; None if they should."""
        for name in self._links:
            try:
                os.fstat(self._descriptors[name])
            except OSError as error:
                return f"{name} is gone: {error.strerror}"
        if not self._links:
            return "detached"
        zero = struct.pack("=I", 0)
        if self._bpf.lookup(self._descriptors["map statistics"], zero, 8 * len(self._cpus)) is None:
            return "the kernel's counts cannot be read"
        return None

    def tend(self) -> None:
        """Settle rounds that stand still; to be called every ``tend_every_ns``.

        A device that receives in process context (tun) is not followed by napi_poll:
        the tracepoint engine would wait for the CPU's next packet.
        """
        self.decoder.offset = wall_offset()  # somebody may have set the clock
        self._expire_waiting(time.monotonic_ns() - _ANSWER_NS)
        if _FLUSH not in self._descriptors:
            return
        standing = {}
        for cpu, (opened, turn) in self._rounds().items():
            if not opened:
                continue
            if self._standing.get(cpu) == turn:
                self._flush(cpu)
            standing[cpu] = turn
        self._standing = standing

    def _rounds(self) -> dict[int, tuple[int, int]]:
        """By CPU: the slots that are open, and those settled so far."""
        layout = self._structs["round"]
        values = self._bpf.lookup(
            self._descriptors["map rounds"], struct.pack("=I", 0), layout.size * len(self._cpus)
        )
        if values is None:
            return {}
        rounds = (
            layout.unpack(values[nth * layout.size :][: layout.size])
            for nth in range(len(self._cpus))
        )
        return {
            cpu: ((each.end - each.begin) & 0xFFFFFFFF, each.turn)
            for cpu, each in zip(self._cpus, rounds, strict=True)
        }

    def _flush(self, cpu: int) -> None:
        """Run the end marker on ``cpu``: there, in process context, no softirq is half-way."""
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError:
            return  # not ours to run on: its next packet settles the round
        try:
            with contextlib.suppress(LibbpfError):  # before 5.10: its next packet settles it
                self._bpf.run(self._descriptors[_FLUSH], b"")
        finally:
            os.sched_setaffinity(0, before)

    def expect_answers(self) -> None:
        """A program was seen to listen for ARP: for a minute its answers are looked for."""
        self._answered_ns = time.monotonic_ns()

    def look_closer(self, wanted: bool) -> None:
        """Attach or detach what runs for every packet and tells why one is refused.

        Where the kernel does not let it be attached, causes stay inferred.
        """
        self._closer = self._watch(self._closer, self._closer_links, wanted)
        recent = time.monotonic_ns() - self._answered_ns < _ANSWERS_WATCHED_NS
        self._answers = self._watch(self._answers, self._answers_links, wanted or recent)

    def _watch(self, names: list[str], links: list[int], wanted: bool) -> list[str]:
        """The names, none once the kernel has refused one."""
        if not wanted:
            _close(links)
        elif not links:
            try:
                for name in names:
                    place = name.split()[1]
                    links += [bpf.attach(Kind.RAW_TRACEPOINT, place, self._descriptors[name])]
            except LoadError:
                _close(links)
                return []
        return names

    def detach(self) -> None:
        """Detach everything; what was under way is settled, and can still be read."""
        _close(self._closer_links)
        _close(self._answers_links)
        if not self._links:
            return
        # The last link is where requests begin: without it, nothing new opens.
        os.close(self._descriptors.pop(self._links.pop()))
        time.sleep(_LET_PROGRAMS_END_S)
        if _FLUSH in self._descriptors:
            for cpu, (opened, _) in self._rounds().items():
                if opened:
                    self._flush(cpu)
        self._expire_waiting(time.monotonic_ns())
        while self._links:
            os.close(self._descriptors.pop(self._links.pop()))

    def close(self) -> None:
        """Detach, and free all."""
        self.detach()
        if self._ring:
            self._ring.close()
            self._ring = None
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()


def possible_cpus(text: str) -> list[int]:
    """The numbers of "0-3,8-11": per-CPU maps have a value for each, in this order."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


def _close(links: list[int]) -> None:
    while links:
        os.close(links.pop())


def _recursion_misses(descriptor: int) -> int:
    try:
        text = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "recursion_misses":
            return int(value)
    return 0
