# SPDX-License-Identifier: Apache-2.0
"""A running trace: descriptors that the loading process handed over, and the reading."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tracer.events import Counters, InterfaceCount, Neighbour, Request
from tracer.kernel.decode import Decoder, wall_offset
from tracer.kernel.functions import Functions
from tracer.kernel.handover import Loaded, LoadError, Order, order_line, parse_reply
from tracer.kernel.libbpf import Libbpf, LibbpfError, Ring

_MAX_DESCRIPTORS = 64
_EXPIRE = "program expire"
_FLUSH = "program raw_tracepoint__napi_poll"
_LET_PROGRAMS_END_S = 0.002


class Session:
    """All that is attached. Made by :class:`Loading`; ends with close(), or with us."""

    def __init__(self, loaded: Loaded, descriptors: dict[str, int]) -> None:
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
        self._cpus = _possible_cpus()
        self._lost_before = 0
        self._standing: dict[int, int] = {}
        self._closer = [name for name in descriptors if name.startswith("closer ")]
        self._closer_links: list[int] = []

    def fileno(self) -> int:
        """Readable while events wait."""
        assert self._ring
        return self._ring.fileno()

    def read(self) -> list[Request | Neighbour]:
        """Events that wait, oldest first, a bounded batch; [] when there are none."""
        assert self._ring
        return [self.decoder.event(sample) for sample in self._ring.read()]

    def lost(self) -> int:
        """Events that the kernel side had to drop since the last call."""
        total = self._statistic("STATISTIC_LOST")
        new, self._lost_before = total - self._lost_before, total
        return new

    def skipped(self) -> int:
        """Runs of our programs that the kernel left out, so far."""
        return 0

    def uncounted(self) -> int:
        """Requests of interfaces for which the kernel's counts had no room."""
        return self._statistic("STATISTIC_UNCOUNTED")

    def _statistic(self, name: str) -> int:
        key = struct.pack("=I", self._statistics[name])
        values = self._bpf.lookup(self._descriptors["map statistics"], key, 8 * self._cpus)
        return sum(struct.unpack(f"={self._cpus}Q", values)) if values else 0

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
        arguments = struct.pack("=QQQ", request.device, sender << 32 | target, came + 1)
        with contextlib.suppress(LibbpfError):  # before 5.10: it stays deferred
            self._bpf.run(self._descriptors[_EXPIRE], arguments)

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
        if self._bpf.lookup(self._descriptors["map statistics"], zero, 8 * self._cpus) is None:
            return "the kernel's counts cannot be read"
        return None

    def tend(self) -> None:
        """Settle rounds that stand still; to be called every ``tend_every_ns``.

        A device that receives in process context (tun) is not followed by napi_poll:
        the tracepoint engine would wait for the CPU's next packet.
        """
        self.decoder.offset = wall_offset()  # somebody may have set the clock
        if _FLUSH not in self._descriptors:
            return
        standing = {}
        for cpu, (opened, turn) in enumerate(self._rounds()):
            if not opened:
                continue
            if self._standing.get(cpu) == turn:
                self._flush(cpu)
            standing[cpu] = turn
        self._standing = standing

    def _rounds(self) -> list[tuple[int, int]]:
        layout = self._structs["round"]
        values = self._bpf.lookup(
            self._descriptors["map rounds"], struct.pack("=I", 0), layout.size * self._cpus
        )
        if values is None:
            return []
        rounds = (
            layout.unpack(values[at : at + layout.size])
            for at in range(0, len(values), layout.size)
        )
        return [(each.open, each.turn) for each in rounds]

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

    def look_closer(self, wanted: bool) -> None:
        """Attach or detach what runs for every packet and tells why one is refused.

        Where the kernel does not let it be attached, causes stay inferred.
        """
        if not wanted:
            while self._closer_links:
                os.close(self._closer_links.pop())
        elif not self._closer_links:
            try:
                for name in self._closer:
                    place = name.removeprefix("closer ")
                    link = self._bpf.attach_raw_tracepoint(self._descriptors[name], place)
                    self._closer_links.append(link)
            except LibbpfError:
                self.look_closer(False)
                self._closer = []

    def detach(self) -> None:
        """Detach everything; what was under way is settled, and can still be read."""
        self.look_closer(False)
        if not self._links:
            return
        # The last link is where requests begin: without it, nothing new opens.
        os.close(self._descriptors.pop(self._links.pop()))
        time.sleep(_LET_PROGRAMS_END_S)
        if _FLUSH in self._descriptors:
            for cpu, (opened, _) in enumerate(self._rounds()):
                if opened:
                    self._flush(cpu)
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


class Loading:
    """The loading process at work. Other things can be got ready meanwhile."""

    def __init__(self, order: Order) -> None:
        try:
            self._noise = tempfile.TemporaryFile()  # noqa: SIM115 - session() closes it
        except OSError as error:
            why = f"no temporary file can be made ({error.strerror}): it needs a writable /tmp"
            raise LoadError(why) from None
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._loader = subprocess.Popen(
                # -P: never import from the directory we happen to be in.
                [sys.executable, "-P", "-m", "tracer.kernel.loader", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._noise,
                stderr=self._noise,
                env={**os.environ, "PYTHONPATH": import_path()},
            )
        self._ours.sendall(order_line(order))

    def session(self) -> Session:
        """Wait for it. Raises LoadError with one line on why it could not load."""
        with self._ours, self._noise:
            try:
                line, descriptors = _receive(self._ours)
            except OSError:
                line, descriptors = b"", []
            self._loader.wait()
            self._noise.seek(0)
            said = self._noise.read().decode(errors="replace").strip()
        if os.environ.get("ARPWHY_DEBUG") and said:
            print(said, file=sys.stderr)
        if not line.endswith(b"\n"):
            last = said.splitlines()[-1] if said else f"exit status {self._loader.returncode}"
            raise LoadError(f"the loading process failed: {last} (ARPWHY_DEBUG=1 shows all)")
        loaded = parse_reply(line)
        named = dict(zip(loaded.descriptors, descriptors, strict=True))
        try:
            return Session(loaded, named)
        except LibbpfError as error:
            raise LoadError(str(error)) from None


def _receive(ours: socket.socket) -> tuple[bytes, list[int]]:
    line, descriptors = b"", []
    while not line.endswith(b"\n"):
        data, received, _, _ = socket.recv_fds(ours, 1 << 16, _MAX_DESCRIPTORS)
        if not data:
            break
        line += data
        descriptors += received
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return line, descriptors


def import_path() -> str:
    """Where the child finds this package, and whatever else we were told."""
    ours = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return f"{ours}{os.pathsep}{inherited}" if inherited else ours


def _possible_cpus() -> int:
    """Per-CPU maps have a value for every possible CPU, in the order of their numbers."""
    text = Path("/sys/devices/system/cpu/possible").read_text()
    return int(text.strip().split(",")[-1].split("-")[-1]) + 1
