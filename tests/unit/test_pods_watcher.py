# SPDX-License-Identifier: Apache-2.0
"""What the watcher does, and how often it asks, by a clock of the test's own."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from tracer.pods.index import Index, Pod
from tracer.pods.trouble import Cut, Garbage, Gone, Trouble, Unreached
from tracer.pods.watcher import Watcher
from tracer.pods.wire import Change, Page

NGINX = "calic440f455693"
Step = Exception | Iterable[Change | Exception] | Page | None


class Bench:
    """An API that does as ``script`` says: ``script("list" | "watch")`` gives what happens."""

    def __init__(self, script: Callable[[str], object], until_s: float) -> None:
        self.now = 1000.0
        self.lists: list[float] = []
        self.watches: list[tuple[float, str]] = []
        self.said: list[str] = []
        self.stale: list[bool] = []
        self.index = Index(("cali",))
        self._script = script
        self._end = self.now + until_s
        self._stop = threading.Event()
        watcher = Watcher(
            self,
            self.index,
            "n",
            self.said.append,
            self._stop,
            clock=lambda: self.now,
            chance=random.Random(7).random,
            pause=self.pass_time,
        )
        watcher.run()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.stale.append(self.index.stale_since is not None)
        if self.now >= self._end:
            self._stop.set()

    def pods(self, after: str = "") -> Page:
        step = self._script("list")
        if not isinstance(step, Unreached):
            self.lists.append(self.now)
        self.now += 0.5
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, Page)
        return step

    @contextmanager
    def watch(self, version: str, seconds: int) -> Iterator[Iterable[Change]]:
        self.watches.append((self.now, version))
        step = self._script("watch")
        if isinstance(step, Exception):
            self.now += 0.1
            self.pass_time(0)
            raise step
        yield self._changes(step, seconds)

    def _changes(self, step: object, seconds: int) -> Iterator[Change]:
        for each in step or ():  # type: ignore[attr-defined]
            if isinstance(each, Exception):
                raise each
            self.now += 1
            yield each
        self.pass_time(seconds if step is None else 0.01)

    def forget(self) -> None:
        pass


def nginx(*addresses: str, version: str = "7") -> Page:
    return Page([Pod("default", "nginx", addresses)], 1, version, "")


def scripted(*steps: tuple[str, object]) -> Callable[[str], object]:
    """Those steps, then a healthy API."""
    left = list(steps)

    def script(what: str) -> object:
        if left:
            expected, step = left.pop(0)
            assert what == expected
            return step
        return nginx() if what == "list" else None

    return script


def test_a_healthy_hour() -> None:
    bench = Bench(scripted(), 3600)
    assert len(bench.lists) == 1
    assert len(bench.watches) <= 3600 / 240 + 1
    assert bench.said == []
    assert bench.index.by_interface(NGINX) is not None


@pytest.mark.parametrize("seed", range(20))
def test_never_more_than_a_list_a_minute(seed: int) -> None:
    """Whatever happens, for five hours."""
    dice = random.Random(seed)
    troubles = (Unreached, Trouble, Gone, Garbage, Cut, RuntimeError)

    def script(what: str) -> object:
        if dice.random() < 0.8:
            return dice.choice(troubles)("x")
        if what == "list":
            return nginx()
        return [Change("8"), dice.choice((Gone("x"), Garbage("x"), Cut("x")))]

    bench = Bench(script, 5 * 3600)
    assert len(bench.lists) > 20
    assert min(b - a for a, b in zip(bench.lists, bench.lists[1:], strict=False)) >= 60
    assert len(bench.said) <= 2 * 5 * 60 + 2


def test_a_list_that_got_nowhere_is_none() -> None:
    """The server was not there: as soon as it is, names come."""
    bench = Bench(scripted(("list", Unreached("refused")), ("list", Unreached("refused"))), 30)
    assert bench.lists
    assert bench.lists[0] - 1000 < 5
    assert len(bench.said) == 2


def test_one_line_when_it_goes_and_one_when_it_is_back() -> None:
    dead = [("watch", Unreached("connection refused"))] * 30
    bench = Bench(scripted(("list", nginx()), ("watch", [Cut("x")]), *dead), 7200)
    assert bench.said == [
        "arpwhy: no news of pods' names: connection refused; trying again, tracing goes on",
        "arpwhy: pods' names are up to date again",
    ]
    assert len(bench.lists) == 1, "the watch goes on where it was"
    waits = [b[0] - a[0] for a, b in zip(bench.watches[2:30], bench.watches[3:31], strict=True)]
    assert max(waits) <= 61
    assert min(waits[8:]) >= 30, "it backs off"


def test_410_is_no_outage_and_the_old_names_stay() -> None:
    events = [Change("8", Pod("default", "new", ("10.0.0.9",))), Gone("410")]
    bench = Bench(scripted(("list", nginx("10.0.0.1")), ("watch", events)), 300)
    assert bench.said == []
    assert len(bench.lists) == 2
    assert bench.lists[1] - bench.lists[0] >= 60
    assert any(bench.stale), "addresses are not to be believed meanwhile"
    assert bench.index.stale_since is None
    assert bench.index.by_interface(NGINX) is not None
    assert [version for _, version in bench.watches][:2] == ["7", "7"]


def test_changes_are_taken_and_the_next_watch_begins_after_them() -> None:
    there, gone = Pod("default", "a", ("10.0.0.2",)), Pod("default", "b", ("10.0.0.3",))
    events = [Change("8", there), Change("9", gone), Change("10", gone, True), Change("12")]
    bench = Bench(scripted(("list", nginx()), ("watch", events)), 100)
    assert bench.index.by_addresses(["10.0.0.2"]) == {"namespace": "default", "name": "a"}
    assert bench.index.by_addresses(["10.0.0.3"]) is None
    assert bench.watches[1][1] == "12"


def test_the_server_says_when_to_come_back() -> None:
    bench = Bench(scripted(("list", nginx()), ("watch", Trouble("429", 45.0))), 200)
    assert bench.watches[1][0] - bench.watches[0][0] >= 45


def test_a_node_of_another_name() -> None:
    empty = ("list", Page([], 0, "7", ""))
    bench = Bench(scripted(empty, ("watch", Gone("x")), empty), 200)
    assert len(bench.said) == 1
    assert "no pods on node n" in bench.said[0]
