# SPDX-License-Identifier: Apache-2.0
"""Recordings that kept all that was seen and read in one map are still read.

``recordings/evidence_in_one_map.rec`` was made by such a version, of a pod whose gateway was
broken in six ways; beside it the flags it raises, as that version showed them: reason, what
decided, evidence.
"""

from __future__ import annotations

from pathlib import Path

import msgpack  # type: ignore[import-untyped]

from tracer.events import CauseFound, Request, Verdict
from tracer.notices import FlagNotice
from tracer.recording import Writer, read
from tracer.seen import SEEN_NAMES, Seen
from tracer.sinks.evidence import words
from tracer.state import State

OLD = Path(__file__).parent / "recordings" / "evidence_in_one_map.rec"


def raised(path: Path) -> list[FlagNotice]:
    state = State()
    notices = [notice for event in read(path) for notice in state.feed(event)]
    flags = [notice for notice in notices if isinstance(notice, FlagNotice)]
    return [flag for flag in flags if flag.state == "raised"]


def test_the_flags_say_the_same() -> None:
    said = [[each.reason, each.evidence.because, words(each.evidence)] for each in raised(OLD)]
    lines = OLD.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    assert [line for flag in said for line in flag] == lines


def test_nothing_that_was_read_passes_for_seen() -> None:
    with OLD.open("rb") as file:
        _, *events = msgpack.Unpacker(file)
    arrays = [event for event in events if event[0] == "CauseFound"]
    causes = [event for event in read(OLD) if isinstance(event, CauseFound)]
    assert len(causes) == len(arrays) == 10
    for cause, array in zip(causes, arrays, strict=True):
        flat = array[8]
        assert cause.seen == Seen.of(flat)
        read_alone = {name: value for name, value in cause.read.items() if value is not None}
        told = {**cause.seen.facts(), **read_alone, "because": cause.because}
        assert told == {name: value for name, value in flat.items() if name != "also"}
        assert not read_alone.keys() & set(SEEN_NAMES)
        assert " ".join(cause.also) == flat.get("also", "")


def test_what_was_seen_of_requests_stays() -> None:
    requests = [event for event in read(OLD) if isinstance(event, Request)]
    unanswered = [each for each in requests if each.verdict is Verdict.UNANSWERED]
    assert len(unanswered) == 10
    assert all(each.seen.proxy_queue == 0 for each in unanswered)
    assert [each.seen.dropped for each in unanswered].count("request") == 2
    assert all(each.seen == Seen() for each in requests if each not in unanswered)


def test_written_again_it_is_split(tmp_path: Path) -> None:
    path = tmp_path / "new.rec"
    with Writer.create(path) as writer:
        for event in read(OLD):
            writer.write(event)
    assert list(read(path)) == list(read(OLD))
    assert raised(path) == raised(OLD)
