# SPDX-License-Identifier: Apache-2.0
"""ARP requests in exact numbers, and their replies counted by the kernel.

Each line is an AF_PACKET socket in the pod's namespace whose filter passes only replies
``target -> sender``. PACKET_STATISTICS counts what the filter passed, whether it was
read or not, so the count is exact at any speed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import frames, processors

if TYPE_CHECKING:
    from .pod import Pod

# Linux numbers that the socket module does not name (asm-generic/socket.h, if_packet.h).
_SO_RCVBUFFORCE = 33
_SO_ATTACH_FILTER = 26
_SOL_PACKET = 263
_PACKET_STATISTICS = 6

_RECEIVE_BUFFER = 32 << 20
_DRAIN_EVERY = 4096  # requests; their replies fit the buffer many times over
_YIELD_EVERY = 64  # requests; the per-CPU backlog holds 1000 (net.core.netdev_max_backlog)
_LINK_IS_DOWN = (errno.ENETDOWN, errno.ENXIO)


@dataclass(frozen=True)
class Tally:
    """What was sent and what came back.

    ``sent``: requests the kernel took (fewer than asked for only if the pod's link is
    down). ``replies``: exact. ``dropped``: of ``sent``, those the pod's link lost before
    the node could see them; 0 unless a CPU's backlog overflowed. Times are nanoseconds
    since the epoch: just before the first send, and when the last reply was noticed.
    """

    sent: int
    replies: int
    dropped: int
    first_sent_ns: int
    last_reply_ns: int | None

    @property
    def lasted_ns(self) -> int | None:
        """From the first request to the last reply; None without a reply."""
        return None if self.last_reply_ns is None else self.last_reply_ns - self.first_sent_ns


def reply_filter(target: str, sender: str) -> list[tuple[int, int, int, int]]:
    """Classic BPF: an ARP reply from ``target`` to ``sender`` passes, all else does not."""
    (target_number,) = struct.unpack("!I", socket.inet_aton(target))
    (sender_number,) = struct.unpack("!I", socket.inet_aton(sender))
    half, word, equal, give = 0x28, 0x20, 0x15, 0x06
    return [
        (half, 0, 0, 20),  # operation
        (equal, 0, 5, frames.REPLY),
        (word, 0, 0, 28),  # the reply's sender
        (equal, 0, 3, target_number),
        (word, 0, 0, 38),  # the reply's target
        (equal, 0, 1, sender_number),
        (give, 0, 0, 64),
        (give, 0, 0, 0),
    ]


def attach_filter(sock: socket.socket, program: Sequence[tuple[int, int, int, int]]) -> None:
    """SO_ATTACH_FILTER with struct sock_fprog made by hand (linux/filter.h)."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("@HP", len(program), ctypes.addressof(buffer)),
    )


def packet_socket(
    interface: str,
    program: Sequence[tuple[int, int, int, int]] | None = None,
    protocol: int = frames.ETH_P_ARP,
) -> socket.socket:
    """A raw ARP socket on the interface, in the network namespace of the calling thread.

    With ``frames.ETH_P_ALL`` it hears what the namespace itself sends, too.
    """
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        if program is not None:
            attach_filter(sock, program)
        # Protocol 0 until here: nothing is received before the filter is in place.
        sock.bind((interface, protocol))
    except BaseException:
        sock.close()
        raise
    return sock


def _sending_drops(interface: str) -> int:
    """Frames the interface dropped while sending, in the calling thread's namespace."""
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, colon, numbers = line.partition(":")
        if colon and name.strip() == interface:
            return int(numbers.split()[11])
    return 0


class Line:
    """One pod's sending and counting end for one (target, sender).

    ``answers``: so many replies to each request are waited for.
    """

    def __init__(
        self, pod: Pod, frame: bytes, target: str, sender: str, *, answers: int = 1
    ) -> None:
        self.pod = pod
        self.answers = answers
        self.frame = frame
        self.sent = 0
        self.replies = 0
        self.first_sent_ns = 0
        self.last_reply_ns: int | None = None
        self.link_down = False

        def open_inside() -> tuple[socket.socket, int]:
            return packet_socket("eth0", reply_filter(target, sender)), _sending_drops("eth0")

        self.socket, self._drops_before = pod.call(open_inside)

    def close(self) -> None:
        self.socket.close()

    def send(self) -> None:
        if self.link_down:
            return
        if not self.sent:
            self.first_sent_ns = time.time_ns()
        try:
            self.socket.send(self.frame)
        except OSError as error:
            if error.errno in _LINK_IS_DOWN:
                self.link_down = True
                return
            # ENOBUFS: taken, and then dropped because the other side's queue was full.
            if error.errno != errno.ENOBUFS:
                raise
        self.sent += 1
        if self.sent % _DRAIN_EVERY == 0:
            self.count()

    def count(self) -> bool:
        """Bring ``replies`` up to date; whether there were new ones."""
        try:
            while True:
                self.socket.recv(64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in _LINK_IS_DOWN:
                raise
        # struct tpacket_stats; reading resets it. tp_packets includes tp_drops.
        raw = self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        fresh = int(struct.unpack("=II", raw)[0])
        if fresh:
            self.replies += fresh
            self.last_reply_ns = time.time_ns()
        return fresh > 0

    def tally(self) -> Tally:
        dropped = self.pod.call(lambda: _sending_drops("eth0")) - self._drops_before
        return Tally(self.sent, self.replies, dropped, self.first_sent_ns, self.last_reply_ns)


def interleave(counts: Sequence[int]) -> list[int]:
    """Which of the senders is next, spread evenly: [4, 2] gives 0 1 0 0 1 0."""
    order = [
        ((turn + 0.5) / count, who) for who, count in enumerate(counts) for turn in range(count)
    ]
    return [who for _, who in sorted(order)]


def exchange(
    lines: Sequence[Line],
    counts: Sequence[int],
    *,
    interval: float = 0.0,
    settle: float = 0.3,
    alone: bool = False,
) -> list[Tally]:
    """Send exactly ``counts[i]`` requests on ``lines[i]``, mixed, from this thread.

    ``interval``: seconds between two sends, 0 for as fast as it can. Then waits until
    each request has its reply, or nothing more has come for ``settle`` seconds. ``alone``:
    meanwhile, for half a second, no other process runs (see :mod:`lab.processors`).
    """
    with processors.held() if alone else nullcontext():
        started = time.monotonic()
        for number, who in enumerate(interleave(counts)):
            if interval:
                time.sleep(max(0.0, started + number * interval - time.monotonic()))
            elif number % _YIELD_EVERY == _YIELD_EVERY - 1:
                # Let ksoftirqd have this CPU, if it is behind, before its backlog overflows.
                os.sched_yield()
            lines[who].send()
        _collect(lines, min(settle, processors.LONGEST_S) if alone else settle)
    if alone:
        _collect(lines, settle)  # ksoftirqd had to wait, too, if it was its turn
    return [line.tally() for line in lines]


def _collect(lines: Sequence[Line], settle: float) -> None:
    deadline = time.monotonic() + settle
    while True:
        news = [line.count() for line in lines]  # every one, however many have some
        if any(news):
            deadline = time.monotonic() + settle
        waiting = [line.socket for line in lines if line.replies < line.answers * line.sent]
        remaining = deadline - time.monotonic()
        if not waiting or remaining <= 0:
            return
        select.select(waiting, [], [], remaining)


def with_lines(
    openers: Sequence[Callable[[], Line]], use: Callable[[list[Line]], list[Tally]]
) -> list[Tally]:
    """Open the lines, use them, close them whatever happens."""
    lines: list[Line] = []
    try:
        for opener in openers:
            lines.append(opener())  # noqa: PERF401 - those opened before a failure are closed
        return use(lines)
    finally:
        for line in lines:
            line.close()
