# SPDX-License-Identifier: Apache-2.0
"""Keeps the index of this node's pods up to date: a list, then watches."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from tracer.pods.index import Index
from tracer.pods.outage import Outages
from tracer.pods.pace import Backoff, ListGate
from tracer.pods.trouble import Cut, Garbage, Gone, Trouble, Unreached
from tracer.pods.wire import Change, Page

_WATCH_S = 240  # to twice that, so that not all nodes come back at once
_LIVED_S = 30.0  # a watch that did is none that fails
_TRIES = 2  # of watches that break off at once, before that is worth a line


class Api(Protocol):
    """What :class:`tracer.pods.api.Api` is to the watcher."""

    def pods(self, after: str = "") -> Page: ...
    def watch(self, version: str, seconds: int) -> AbstractContextManager[Iterable[Change]]: ...
    def forget(self) -> None: ...


class Watcher:
    """:meth:`run` on a thread of its own; nothing that the API does ends it.

    ``clock`` gives monotonic seconds, ``chance`` numbers from 0 to 1, ``pause`` waits for
    so many seconds, or until it is to stop.
    """

    def __init__(
        self,
        api: Api,
        index: Index,
        node: str,
        say: Callable[[str], None],
        stop: threading.Event,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._api = api
        self._index = index
        self._node = node
        self._say = say
        self._stop = stop
        self._clock = clock
        self._chance = chance
        self._pause = stop.wait if pause is None else pause
        self._gate = ListGate()
        self._backoff = Backoff(chance)
        self._outages = Outages(say)
        self._version: str | None = None
        self._first = True
        self._heard = clock()  # when the API last told us anything

    def run(self) -> None:
        """Until ``stop`` is set."""
        while not self._stop.is_set():
            try:
                if self._version is None:
                    self._pause(self._gate.wait_s(self._clock()))
                    if self._stop.is_set():
                        break
                    self._list()
                else:
                    self._watch(self._version)
            except Gone:
                # What is known stays in use until there is a new list.
                self._version = None
                self._index.stale_since = self._heard
            except Trouble as trouble:
                self._fail(trouble)
            except Exception as error:  # of ours: names must not be over because of it
                self._fail(Garbage(f"{type(error).__name__}: {error}"))
        self._api.forget()

    def _list(self) -> None:
        reached = True
        try:
            page = self._api.pods()
            pods, listed = page.pods, page.listed
            while page.after:
                page = self._api.pods(page.after)
                pods += page.pods
                listed += page.listed
        except Unreached:
            reached = False
            raise
        finally:
            if reached:
                # From its end: at the server too, no two are closer than that.
                self._gate.asked(self._clock())
        self._index.replace(pods)
        self._version = page.version
        self._heard = self._clock()
        if self._first and not listed:
            self._say(
                f"arpwhy: no pods on node {self._node}: is that its name in the cluster?"
                " (--node-name)"
            )
        self._first = False

    def _watch(self, version: str) -> None:
        began = self._clock()
        cut: Cut | None = None
        with self._api.watch(version, round(_WATCH_S * (1 + self._chance()))) as changes:
            self._heard = self._clock()
            self._index.stale_since = None
            self._outages.works()
            try:
                for change in changes:
                    self._heard = self._clock()
                    self._take(change)
            except Cut as error:
                cut = error
        if self._clock() - began >= _LIVED_S:
            self._backoff.reset()
            if cut is None:
                return
        if cut is not None:
            if self._backoff.failures >= _TRIES:
                raise cut
            self._api.forget()
        self._pause(self._backoff.next_s())

    def _take(self, change: Change) -> None:
        if change.pod is not None:
            if change.gone:
                self._index.drop(change.pod)
            else:
                self._index.put(change.pod)
        self._version = change.version

    def _fail(self, trouble: Trouble) -> None:
        if self._stop.is_set():
            return
        self._index.stale_since = self._heard
        if isinstance(trouble, Garbage):
            self._version = None  # or the same might come again
        self._api.forget()
        self._outages.failed(str(trouble), self._clock())
        self._pause(max(self._backoff.next_s(), trouble.retry_after_s))
