# SPDX-License-Identifier: Apache-2.0
"""Recordings: what is written is read back, and damage never does worse than one line."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_origin, get_type_hints

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracer import __version__, events, recording
from tracer.recording import RecordingError, Truncated, Writer, read
from tracer.seen import Seen

HEADER = {"format": "arpwhy-recording", "version": 1, "arpwhy": __version__}

REQUEST = events.Request(
    ts=1_795_424_641_123_456_789,
    netns=4_026_531_840,
    ifindex=7,
    device=0xFFFF_8880_1234_5000,
    interface="calic577831ffc7",
    sender_ip="192.168.156.177",
    sender_mac="ee:ee:ee:ee:ee:ee",
    target_ip="169.254.1.1",
    verdict=events.Verdict.UNANSWERED,
    seen=Seen(drop_reason="NETFILTER_DROP", given_up=True, medium_id=-1),
)
COUNT = events.InterfaceCount(
    netns=4_026_531_840,
    ifindex=7,
    device=1,
    interface="calic577831ffc7",
    answered=2,
    unanswered=3,
    deferred=5,
    ignored=7,
    last_answered_ts=11,
    last_unanswered_ts=13,
    last_sender_ip="192.168.156.177",
    last_target_ip="169.254.1.1",
)
FOUND = events.CauseFound(
    ts=7,
    netns=3,
    ifindex=7,
    target_ip="169.254.1.1",
    reason="no_route",
    confidence="inferred",
    remedy="ip route add",
    seen=Seen(proxy_arp=1),
    read={"proxy_arp": 0, "route_ok": False},
    because="there is none",
    also=("medium_id",),
)
EVENTS: tuple[events.Event, ...] = (
    events.Started(1, "0.1.0", "fentry", "6.1.0", ("calia", "calib"), ("169.254.1.1",)),
    events.LinkSeen(2, 3, 7, "calic577831ffc7"),
    REQUEST,
    events.Neighbour(4, 3, 7, 1, "calib", "10.65.0.2", None, "reachable", "ee:ee:ee:ee:ee:ee"),
    events.Lost(5, 17),
    events.Counters(6, (COUNT, dataclasses.replace(COUNT, ifindex=8))),
    FOUND,
    events.LinkGone(8, 3, 7, "calic577831ffc7"),
    events.Unjudged(8, "tap0", "10.77.0.1", 12),
    events.Elsewhere(8, "calib", "46:a9:d3:46:96:82", 4),
    events.NodeChanged(9, 3),
    events.Tick(9),
    events.Stopped(10),
)


def written(tmp_path: Path, *what: events.Event) -> Path:
    path = tmp_path / "a.rec"
    with Writer.create(path) as writer:
        for event in what:
            writer.write(event)
    return path


def raw(tmp_path: Path, *objects: object) -> Path:
    path = tmp_path / "raw.rec"
    path.write_bytes(b"".join(msgpack.packb(one) for one in objects))
    return path


def drain(path: Path) -> tuple[list[events.Event], RecordingError | None]:
    """The events of a recording, and the error that ended it."""
    given_events: list[events.Event] = []
    try:
        given_events.extend(read(path))  # extend keeps what came before the error
    except RecordingError as error:
        assert "\n" not in str(error)
        return given_events, error
    return given_events, None


def test_every_kind_of_event_is_here() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(events.Event))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    back = list(read(written(tmp_path, *EVENTS)))
    assert back == list(EVENTS)
    assert type(back[2].verdict) is events.Verdict  # type: ignore[union-attr]
    assert type(back[5].interfaces[0]) is events.InterfaceCount  # type: ignore[union-attr]


def test_the_format_is_the_documented_one(tmp_path: Path) -> None:
    path = written(tmp_path, events.Lost(5, 17), REQUEST)
    with path.open("rb") as file:
        header, lost, request = msgpack.Unpacker(file)
    assert header == HEADER
    assert list(header) == ["format", "version", "arpwhy"]
    assert lost == ["Lost", 5, 17, 0]
    assert request[0] == "Request"
    assert request[9:13] == ["unanswered", None, False, {**REQUEST.seen.facts()}]
    assert request[13:] == [None, 1, False, False]


def test_any_mapping_is_what_was_read(tmp_path: Path) -> None:
    event = dataclasses.replace(FOUND, read=MappingProxyType({"a": 1}))
    (back,) = read(written(tmp_path, event))
    assert back.read == {"a": 1}  # type: ignore[union-attr]


def test_a_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    name = b"cali\xff\x1b[2J".decode(errors="surrogateescape")
    (back,) = read(written(tmp_path, events.LinkSeen(1, 2, 3, name)))
    assert back == events.LinkSeen(1, 2, 3, name)


def strategy(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911
    if annotation is int:
        return st.integers(-(2**63), 2**64 - 1)
    if annotation is str:
        return st.text(st.characters())  # surrogates too
    if annotation is bool:
        return st.booleans()
    if annotation is type(None):
        return st.none()
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return st.sampled_from(list(annotation))
    if dataclasses.is_dataclass(annotation):
        return instances(annotation)
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple:
        return st.lists(strategy(arguments[0]), max_size=3).map(tuple)
    if len(arguments) == 2 and arguments[0] is str and get_origin(annotation) is not None:
        origin = get_origin(annotation)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return st.dictionaries(*map(strategy, arguments), max_size=3)
    return st.one_of(*map(strategy, arguments))


def instances(cls: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    return st.builds(cls, **{field.name: strategy(hints[field.name]) for field in fields(cls)})


def fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)


ANY_EVENT = st.one_of(*map(instances, get_args(events.Event)))
FUZZ = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FUZZ
@given(st.lists(ANY_EVENT, max_size=4))
def test_any_events_are_read_back(tmp_path: Path, some: list[events.Event]) -> None:
    assert list(read(written(tmp_path, *some))) == some


def check_types(value: Any, cls: Any) -> None:
    """The types of an event's fields are those it declares, whatever was in the file."""
    for name, hint in get_type_hints(cls).items():
        origin = get_origin(hint)
        if isinstance(hint, type):
            assert type(getattr(value, name)) is hint
        elif origin in (tuple, Mapping):
            assert isinstance(getattr(value, name), origin)
        else:
            assert isinstance(getattr(value, name), get_args(hint))


@settings(FUZZ, max_examples=200)
@given(st.data())
def test_flipped_bytes_give_events_or_one_line(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(written(tmp_path, *EVENTS).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged.rec"
    damaged.write_bytes(content)
    back, _ = drain(damaged)
    for event in back:
        check_types(event, type(event))


def test_every_truncation_gives_the_complete_events(tmp_path: Path) -> None:
    path = written(tmp_path)
    ends = [path.stat().st_size]
    for i in range(1, len(EVENTS) + 1):
        ends += [written(tmp_path, *EVENTS[:i]).stat().st_size]
    content = written(tmp_path, *EVENTS).read_bytes()
    cut = tmp_path / "cut.rec"
    for size in range(2, len(content) + 1):  # one byte could be anything
        cut.write_bytes(content[:size])
        back, error = drain(cut)
        complete = sum(end <= size for end in ends[1:])
        assert back == list(EVENTS[:complete])
        if size in ends:
            assert error is None
        else:
            assert isinstance(error, Truncated)
            assert error.position == (ends[complete] if size > ends[0] else 0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x82", "is not a recording"),
        (b"hello\n", "is not a recording"),
        (b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00", "is not a recording"),  # a pcap
        (b"\xc1", "is not a recording"),
        (b"\xdf\xff\xff\xff\xff", "is not a recording"),
        (msgpack.packb({**HEADER, "format": "other"}), "is not a recording"),
        (msgpack.packb({**HEADER, "version": None}), "names no version"),
        (msgpack.packb({**HEADER, "version": 0}), "names no version"),
    ],
)
def test_what_is_not_a_recording_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "not.rec"
    path.write_bytes(content)
    back, error = drain(path)
    assert back == []
    assert error is not None
    assert says in str(error)


def test_a_newer_format_is_refused_by_its_number(tmp_path: Path) -> None:
    header = {**HEADER, "version": 2, "arpwhy": "9.9\n"}
    _, error = drain(raw(tmp_path, header, ["Tick", 1]))
    assert "has format version 2, made by arpwhy '9.9\\n'" in str(error)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    assert "No such file or directory" in str(drain(tmp_path / "none")[1])
    assert "Is a directory" in str(drain(tmp_path)[1])
    with pytest.raises(RecordingError, match=r"cannot write .*: No such file or directory"):
        Writer.create(tmp_path / "none" / "a.rec")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (["Vanished", 1], "unknown kind of event 'Vanished'"),
        (["Tick"], "Tick has 0 of 1 fields"),
        (["Tick", "1"], "Tick.ts is a str"),
        (["Tick", True], "Tick.ts is a bool"),
        (["Lost", 1, None], "Lost.count is a NoneType"),
        ([], "not an event"),
        (7, "not an event"),
        ([7, 1], "not an event"),
        (["Started", 1, "v", "e", "k", ["a", 7], []], "a list with an entry"),
        (["Counters", 1, [["calia"]]], "InterfaceCount has 1 of 12 fields"),
        (["CauseFound", 1, 2, 3, "", "", "", "", {"a": []}], "a mapping with a value"),
        (["CauseFound", 1, 2, 3, "", "", "", "", {b"a": 1}], "a mapping with a key"),
        (["Request", 1, 2, 3, 4, "", "", "", "", "maybe"], "unknown verdict 'maybe'"),
    ],
)
def test_damage_in_the_middle_is_located(tmp_path: Path, bad: object, says: str) -> None:
    back, error = drain(raw(tmp_path, HEADER, ["Tick", 1], bad, ["Tick", 2]))
    assert back == [events.Tick(1)]
    position = len(msgpack.packb(HEADER)) + len(msgpack.packb(["Tick", 1]))
    assert error is not None
    assert not isinstance(error, Truncated)
    assert f"is damaged at byte {position}: {says}" in str(error)


def test_fields_of_a_newer_minor_version_are_ignored(tmp_path: Path) -> None:
    path = raw(tmp_path, HEADER, ["Lost", 1, 17, 3, "new", {"newer": [1]}])
    assert list(read(path)) == [events.Lost(1, 17, 3)]


def test_fields_an_older_version_did_not_have_get_their_default(tmp_path: Path) -> None:
    array = [getattr(REQUEST, field.name) for field in fields(REQUEST)][:9]
    path = raw(tmp_path, HEADER, ["Request", *array])
    assert list(read(path)) == [dataclasses.replace(REQUEST, seen=Seen())]


@pytest.mark.parametrize("length", [b"\xdd\x00\x01\x00\x01", b"\xdf\x00\x00\x10\x01"])
def test_absurd_counts_are_refused_at_once(tmp_path: Path, length: bytes) -> None:
    path = raw(tmp_path, HEADER, ["Tick", 1])
    path.write_bytes(path.read_bytes() + length + bytes(100))
    back, error = drain(path)
    assert back == [events.Tick(1)]
    assert type(error) is RecordingError


def test_an_absurd_length_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = raw(tmp_path, HEADER)
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b"\xdb\x7f\xff\xff\xff")
        file.truncate(1 << 30)  # sparse
    tracemalloc.start()
    _, error = drain(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert type(error) is RecordingError
    assert peak < 40_000_000


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    some = msgpack.packb(["Lost", 1, 17])
    path = tmp_path / "big.rec"
    path.write_bytes(msgpack.packb(HEADER) + some * 20_011)
    stream = read(path)
    next(stream)
    tracemalloc.start()
    assert sum(1 for _ in stream) == 20_010
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()


KILLED = """
import os, signal, sys
from tracer.events import Lost
from tracer.recording import Writer
writer = Writer.create(sys.argv[1])
for i in range(1009):
    writer.write(Lost(i, i))
writer.flush()
writer.write(Lost(9999, 1))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_flushed_is_there_after_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "killed.rec"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [event.ts for event in read(path)] == list(range(1009))


def test_the_header_is_there_before_the_first_event(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    writer = Writer.create(path)
    assert list(read(path)) == []
    writer.write(events.Tick(1))
    assert list(read(path)) == []
    writer.flush()
    assert list(read(path)) == [events.Tick(1)]
    writer.close()
    writer.close()


def test_many_events_are_flushed_without_being_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    writer = Writer.create(path)
    for i in range(10_007):
        writer.write(events.Lost(i, i))
    assert path.stat().st_size > len(msgpack.packb(HEADER))
    assert len(list(read(path))) < 10_007
    writer.close()
    assert len(list(read(path))) == 10_007


def test_a_full_disk_is_one_line_and_final() -> None:
    message = "cannot write /dev/full: No space left on device"
    with pytest.raises(RecordingError, match=message):
        Writer.create("/dev/full")


class FailsOnce:
    """A file that takes a part of the second write and fails: the disk is full for a moment."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb", buffering=0)
        self.writes = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        self.writes += 1
        if self.writes == 2:
            return self.file.write(bytes(data[:7]))
        if self.writes == 3:
            raise OSError(28, "No space left on device")
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        self.closed = True
        self.file.close()


def test_after_a_failure_nothing_more_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    file = FailsOnce(path)
    writer = Writer(file, "a.rec")  # type: ignore[arg-type]
    writer.write(events.Lost(1, 1))
    writer.write(events.Lost(2, 2))
    with pytest.raises(RecordingError, match=r"cannot write a\.rec: No space left on device"):
        writer.flush()
    with pytest.raises(RecordingError):
        writer.write(events.Tick(3))
    with pytest.raises(RecordingError):
        writer.flush()
    writer.close()
    assert file.closed
    back, error = drain(path)
    assert back == []
    assert isinstance(error, Truncated)


def test_a_kind_of_field_that_cannot_be_recorded_is_found_at_once() -> None:
    @dataclasses.dataclass
    class Odd:
        ts: int
        names: set[str]

    Odd.__annotations__["names"] = set[str]
    with pytest.raises(TypeError, match=r"cannot record a set\[str\]"):
        recording._decoder(Odd, skip=1)
