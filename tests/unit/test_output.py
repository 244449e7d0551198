# SPDX-License-Identifier: Apache-2.0
"""Output on real pipes, sockets, terminals and files."""

from __future__ import annotations

import os
import select
import socket
import stat
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tracer.output import Output, OutputBlocked, OutputClosed, OutputFailed

LINES = "".join(f"line {i}\n" for i in range(20_011))


class Pipe:
    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1

    def read(self, size: int = 1 << 20) -> bytes:
        return os.read(self.reader, size)

    def stuff(self) -> int:
        """Fills the pipe to the last byte; returns how many that took."""
        os.set_blocking(self.writer, False)
        size = 0
        with suppress(BlockingIOError):
            while True:
                size += os.write(self.writer, b"x")
        os.set_blocking(self.writer, True)
        return size

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def stop() -> Iterator[Pipe]:
    pipe = Pipe()
    # What should have ended by itself ends after 5 s, and fails, instead of hanging.
    watchdog = threading.Timer(5, os.write, (pipe.writer, b"!"))
    watchdog.start()
    yield pipe
    watchdog.cancel()
    watchdog.join()
    pipe.close()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal's own side and the side of the one who looks at it."""
    screen, terminal = os.openpty()
    yield terminal, screen
    for fd in (terminal, screen):
        with suppress(OSError):
            os.close(fd)


class Slow(threading.Thread):
    """A reader that takes one page every now and then until the end."""

    def __init__(self, fd: int, pause_s: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.fd = fd
        self.pause_s = pause_s
        self.got = bytearray()
        self.start()

    def run(self) -> None:
        with suppress(OSError):
            while data := os.read(self.fd, 4096):
                self.got += data
                time.sleep(self.pause_s)


def test_nothing_is_written_before_the_flush(pipe: Pipe, stop: Pipe) -> None:
    output = Output(pipe.writer, stop.reader)
    output.write("a\n")
    output.write("b\n")
    assert select.select([pipe.reader], [], [], 0)[0] == []
    output.flush()
    assert pipe.read() == b"a\nb\n"
    output.flush()
    assert select.select([pipe.reader], [], [], 0)[0] == []


def test_much_is_written_without_a_flush(pipe: Pipe, stop: Pipe) -> None:
    output = Output(pipe.writer, stop.reader)
    reader = Slow(pipe.reader)
    for line in LINES.splitlines(keepends=True):
        output.write(line)
    assert len(reader.got) + 65_536 + 65_536 >= len(LINES)
    output.flush()
    os.close(pipe.writer)
    pipe.writer = -1
    reader.join(5)
    assert reader.got.decode() == LINES


def test_what_cannot_be_encoded_is_escaped(pipe: Pipe, stop: Pipe) -> None:
    output = Output(pipe.writer, stop.reader)
    output.write("é\udc80\ud800\n")
    output.flush()
    assert pipe.read() == b"\xc3\xa9\\udc80\\ud800\n"


def test_a_slow_reader_gets_everything(pipe: Pipe, stop: Pipe) -> None:
    pipe.stuff()
    reader = Slow(pipe.reader, 0.0002)
    output = Output(pipe.writer, stop.reader)
    output.write(LINES)
    output.flush()
    os.close(pipe.writer)
    pipe.writer = -1
    reader.join(5)
    assert reader.got.lstrip(b"x").decode() == LINES


def test_a_full_pipe_lets_the_run_end_when_it_is_to_stop(pipe: Pipe, stop: Pipe) -> None:
    pipe.stuff()
    output = Output(pipe.writer, stop.reader, grace_s=0.03)
    output.write("never seen\n")
    began = time.monotonic()
    threading.Timer(0.02, os.write, (stop.writer, b"\x02")).start()
    with pytest.raises(OutputBlocked, match=r"^standard output is blocked$"):
        output.flush()
    assert 0.05 <= time.monotonic() - began < 1
    output.write("dropped\n" * 100_003)
    output.flush()
    assert os.read(stop.reader, 9) == b"\x02"


def test_a_stopped_run_may_still_deliver_its_last_lines(pipe: Pipe, stop: Pipe) -> None:
    os.write(stop.writer, b"\x0f")
    output = Output(pipe.writer, stop.reader, grace_s=0)
    output.write("summary\n" * 1009)
    output.flush()
    assert pipe.read() == b"summary\n" * 1009


def test_a_stopped_run_waits_a_moment_for_a_slow_reader(pipe: Pipe, stop: Pipe) -> None:
    size = pipe.stuff()
    os.write(stop.writer, b"\x0f")
    output = Output(pipe.writer, stop.reader, grace_s=5)
    output.write("summary\n")
    threading.Timer(0.02, pipe.read, (size,)).start()
    output.flush()
    assert pipe.read() == b"summary\n"


def test_the_grace_is_given_once(pipe: Pipe, stop: Pipe) -> None:
    """A reader that takes a page each time just before the grace ends cannot hold a run."""
    pipe.stuff()
    os.write(stop.writer, b"\x0f")
    output = Output(pipe.writer, stop.reader, grace_s=0.05)
    reader = Slow(pipe.reader, 0.04)
    output.write(LINES[:60_000])
    with pytest.raises(OutputBlocked):
        output.flush()
    reader.pause_s = 0
    os.close(pipe.writer)
    pipe.writer = -1
    reader.join(5)


def test_lines_are_not_cut_where_the_rest_is_dropped(pipe: Pipe, stop: Pipe) -> None:
    os.write(stop.writer, b"\x0f")
    output = Output(pipe.writer, stop.reader, grace_s=0)
    with pytest.raises(OutputBlocked):
        output.write(LINES)
    got = pipe.read()
    assert len(got) > 50_000
    assert LINES.encode().startswith(got)
    assert got.endswith(b"\n")


def test_a_line_longer_than_a_page_is_written_too(pipe: Pipe, stop: Pipe) -> None:
    output = Output(pipe.writer, stop.reader)
    text = "a\n" + "x" * 10_007 + "\nb\n"
    output.write(text)
    output.flush()
    assert pipe.read().decode() == text


def test_a_reader_that_is_gone(pipe: Pipe, stop: Pipe) -> None:
    output = Output(pipe.writer, stop.reader)
    assert not output.closed_by_reader()
    pipe.close_reader()
    assert output.closed_by_reader()
    output.write("x\n")
    with pytest.raises(OutputClosed, match=r"^the reader of standard output is gone$"):
        output.flush()
    output.write("dropped\n" * 100_003)
    output.flush()


def test_a_reader_that_goes_while_the_pipe_is_full(pipe: Pipe, stop: Pipe) -> None:
    pipe.stuff()
    output = Output(pipe.writer, stop.reader)
    output.write("x\n")
    threading.Timer(0.02, pipe.close_reader).start()
    with pytest.raises(OutputClosed):
        output.flush()
    assert select.select([stop.reader], [], [], 0)[0] == []  # it was not the watchdog


def test_a_run_that_polls_is_woken_when_the_reader_goes(pipe: Pipe, stop: Pipe) -> None:
    output = Output(pipe.writer, stop.reader)
    poll = select.poll()
    poll.register(output.fileno(), 0)
    assert poll.poll(0) == []
    threading.Timer(0.02, pipe.close_reader).start()
    assert [fd for fd, _ in poll.poll(5000)] == [output.fileno()]
    assert output.closed_by_reader()


def test_a_full_disk_is_one_line(stop: Pipe) -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        output = Output(file.fileno(), stop.reader)
        assert not output.closed_by_reader()
        output.write("x\n")
        with pytest.raises(OutputFailed) as caught:
            output.flush()
        output.flush()
    assert str(caught.value) == "cannot write to standard output: No space left on device"


def test_a_closed_standard_output_is_one_line(stop: Pipe) -> None:
    fd = os.open("/dev/null", os.O_WRONLY)
    os.close(fd)
    with pytest.raises(OutputFailed, match=r"^cannot write to standard output: Bad file desc"):
        Output(fd, stop.reader)


def test_a_file(tmp_path: Path, stop: Pipe) -> None:
    path = tmp_path / "out"
    os.write(stop.writer, b"\x0f")
    with path.open("wb") as file:
        output = Output(file.fileno(), stop.reader)
        output.write(LINES)
        output.flush()
        assert not output.closed_by_reader()
    assert path.read_text() == LINES


def test_dev_null(stop: Pipe) -> None:
    with Path("/dev/null").open("wb") as file:
        output = Output(file.fileno(), stop.reader)
        output.write(LINES)
        output.flush()
        assert not output.closed_by_reader()


def test_a_socket(stop: Pipe) -> None:
    """systemd gives its services a stream socket as standard output."""
    here, there = socket.socketpair()
    with here, there:
        output = Output(here.fileno(), stop.reader, grace_s=0)
        output.write("x\n")
        output.flush()
        assert there.recv(9) == b"x\n"
        os.write(stop.writer, b"\x0f")
        with pytest.raises(OutputBlocked):
            output.write(LINES * 3)
        there.close()
        assert output.closed_by_reader()


def test_a_descriptor_somebody_made_non_blocking(pipe: Pipe, stop: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    output = Output(pipe.writer, stop.reader, grace_s=0)
    os.write(stop.writer, b"\x0f")
    with pytest.raises(OutputBlocked):
        output.write(LINES)
    assert LINES.encode().startswith(pipe.read())


def test_a_terminal(terminal: tuple[int, int], stop: Pipe) -> None:
    own, screen = terminal
    output = Output(own, stop.reader)
    assert not output.closed_by_reader()
    output.write("x\n")
    output.flush()
    assert os.read(screen, 9) == b"x\r\n"
    assert os.get_blocking(own)
    output.close()
    assert stat.S_ISCHR(os.fstat(own).st_mode)


@pytest.mark.parametrize("raw", [False, True])
def test_a_terminal_that_shows_nothing_any_more(
    terminal: tuple[int, int], stop: Pipe, raw: bool
) -> None:
    own, _ = terminal
    if raw:
        tty.setraw(own)
    output = Output(own, stop.reader, grace_s=0)
    threading.Timer(0.05, os.write, (stop.writer, b"\x02")).start()
    with pytest.raises(OutputBlocked):
        output.write(LINES)
    output.close()


def test_a_terminal_stopped_by_ctrl_s(terminal: tuple[int, int], stop: Pipe) -> None:
    own, screen = terminal
    output = Output(own, stop.reader, grace_s=0)
    termios.tcflow(own, termios.TCOOFF)
    output.write("x\n")
    threading.Timer(0.02, os.write, (stop.writer, b"\x02")).start()
    with pytest.raises(OutputBlocked):
        output.flush()
    output.close()
    termios.tcflow(own, termios.TCOON)
    os.set_blocking(screen, False)
    with pytest.raises(BlockingIOError):
        os.read(screen, 9)


def test_a_terminal_that_was_closed(terminal: tuple[int, int], stop: Pipe) -> None:
    own, screen = terminal
    output = Output(own, stop.reader)
    os.close(screen)
    assert output.closed_by_reader()
    output.write("x\n")
    with pytest.raises(OutputClosed):
        output.flush()
    output.close()
