# SPDX-License-Identifier: Apache-2.0
"""The lab itself: what is made, what it is called, and that nothing of it stays."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

from . import state as states
from . import traffic, wiring
from .errors import LabError
from .faults import FAULTS, Fault, Record
from .names import GATEWAY, free_address, interface_name
from .netns import Netns, missing
from .pod import Pod
from .traffic import Tally

# The names of the incident that this project began with: Lab.add_pod(**INCIDENT).
INCIDENT: dict[str, Any] = {
    "name": "incident",
    "interface": "calic577831ffc7",
    "address": "192.168.156.177",
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Lab:
    """A Calico node with ``pods`` pods (pod1, pod2, ...), down again when the block ends.

    The end of the block may be an exception, SIGINT, SIGTERM or SIGHUP. After a SIGKILL
    the next Lab of that name removes the remains first. Labs of different names do not
    meet: every address and interface is inside namespaces called ``<name>-...``.

    ``rp_filter``: the pods' interfaces' (1 strict; 0 as Felix writes it in eBPF mode).
    ``here``: the node is the caller's network namespace, with the uplink and default route
    that it has; its sysctls are changed, and stay so.
    """

    def __init__(
        self, name: str = "arpwhy", pods: int = 5, *, rp_filter: int = 1, here: bool = False
    ) -> None:
        if not _NAME.fullmatch(name):
            raise LabError(f"not a name for a lab: {name!r}")
        self.name = name
        self.state = states.State(name, None, rp_filter)
        self.node = Node(self)
        self.fabric = Netns(f"{name}-fabric", self.adopt)
        self.pods: list[Pod] = []
        self._wanted = pods
        self._here = here
        self._children: list[subprocess.Popen[Any]] = []
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._signals: dict[int, Any] = {}

    def __enter__(self) -> Lab:
        self._catch_signals()
        try:
            self.up(owner=os.getpid())
        except BaseException:
            self._release_signals()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with _deferred_signals():
                self.close()
        finally:
            self._release_signals()

    def up(self, owner: int | None = None) -> None:
        """Make everything. Without an owner it stays up until ``down(name)``."""
        lack = missing()
        if lack is not None:
            raise LabError(f"a lab needs {lack}")
        old = states.load(self.name)
        if old is not None:
            _refuse_if_used(old)
            _remove(old)
        for netns in (self.node, self.fabric):
            _refuse_if_foreign(netns)
        # Until it is complete it belongs to this process: one killed half-way is remains.
        self.state.owner = states.identity(os.getpid() if owner is None else owner)
        self.state.save()
        try:
            if self._here:
                self.node.name_ours()
            else:
                self.node.create()
            wiring.set_node_sysctls(self.node, self.state.rp_filter)
            if not self._here:
                self.fabric.create()
                wiring.wire_uplink(self.node, self.fabric)
            for number in range(1, self._wanted + 1):
                self.add_pod(f"pod{number}")
            if owner is None:
                self.state.owner = None
                self.state.save()
        except BaseException:
            with _deferred_signals():
                self.close()
            raise

    @classmethod
    def attach(cls, name: str = "arpwhy") -> Lab:
        """The lab of that name which is up already; not removed when this object goes."""
        found = states.load(name)
        if found is None or not Netns(f"{name}-node").exists():
            raise LabError(f"lab {name} is not up")
        lab = cls(name, 0)
        lab.state = found
        lab.pods = [Pod(lab, **record) for record in found.pods]
        return lab

    def close(self) -> None:
        """Remove everything; harmless when nothing is there."""
        for sock in list(self._sockets):
            sock.close()  # an open socket keeps its namespace alive
        _remove(self.state)
        for child in self._children:
            child.poll()
        self._children.clear()
        self.pods.clear()

    def add_pod(
        self,
        name: str | None = None,
        *,
        namespace: str = "default",
        interface: str | None = None,
        address: str | None = None,
        rp_filter: int | None = None,
    ) -> Pod:
        """One more pod; interface name and address are Calico's choice unless given."""
        taken = {pod.name for pod in self.pods}
        if name is None:
            name = next(f"pod{n}" for n in range(1, len(taken) + 2) if f"pod{n}" not in taken)
        if name in taken or name in ("node", "fabric") or not _NAME.fullmatch(name):
            raise LabError(f"not a name for a new pod: {name!r}")
        pod = Pod(
            self,
            name=name,
            namespace=namespace,
            interface=interface or interface_name(namespace, name),
            address=address or free_address({pod.address for pod in self.pods}),
            rp_filter=self.state.rp_filter if rp_filter is None else rp_filter,
        )
        for other in self.pods:
            if other.interface == pod.interface:
                raise LabError(f"{other.name} has the interface {pod.interface} already")
        _refuse_if_foreign(pod)
        self.pods.append(pod)
        self.state.pods.append(pod.record())
        self.state.save()
        try:
            pod.create()
            wiring.wire_pod(self.node, pod)
        except BaseException:
            with _deferred_signals():
                self.delete_pod(pod)
            raise
        return pod

    def delete_pod(self, pod: Pod) -> None:
        """As ``pod.delete()``."""
        for record in reversed([r for r in self.state.faults if r["pod"] == pod.name]):
            FAULTS[record["fault"]].mend(self, pod)
        wiring.unwire_pod(self.node, pod)
        pod.remove()
        self.pods.remove(pod)
        self.state.pods.remove(pod.record())
        self.state.save()

    def pod(self, name: str) -> Pod:
        """The pod of that name, or behind that interface."""
        for pod in self.pods:
            if name in (pod.name, pod.interface):
                return pod
        raise LabError(f"no pod {name}; there are: {', '.join(pod.name for pod in self.pods)}")

    def frame(self, pod: Pod, request: bytes) -> bytes:
        """The frame that the pod sends for this request: another while a fault makes it so."""
        for record in self.state.faults:
            change = FAULTS[record["fault"]].frame
            if change is not None and record["pod"] == pod.name:
                request = change(request)
        return request

    def answers(self, pod: Pod) -> int:
        """How many replies a request of the pod's may get: two while somebody else answers."""
        records = [record for record in self.state.faults if record["pod"] == pod.name]
        return max([1, *(FAULTS[record["fault"]].answers for record in records)])

    def in_node(self) -> AbstractContextManager[None]:
        """The calling thread, and every command it starts, is in the node for the block."""
        return self.node.entered()

    def storm(
        self, counts: Mapping[Pod, int], target: str = GATEWAY, *, settle: float = 0.5
    ) -> dict[Pod, Tally]:
        """Exactly ``counts[pod]`` requests of each pod, mixed evenly, one sender, no pause."""
        pods = list(counts)
        tallies = traffic.with_lines(
            [lambda pod=pod: pod.line(target) for pod in pods],  # type: ignore[misc]
            lambda lines: traffic.exchange(lines, [counts[pod] for pod in pods], settle=settle),
        )
        return dict(zip(pods, tallies))  # noqa: B905 - strict= came with Python 3.10

    def break_(self, fault: str, pod: Pod | None = None) -> None:
        """Break by name; the first pod unless one is given."""
        _fault(fault).break_(self, pod or self.pods[0])

    def mend(self, fault: str | None = None, pod: Pod | None = None) -> list[Record]:
        """Mend what is broken, the newest first: all, or one fault's, or one pod's of it."""
        name = None if fault is None else _fault(fault).name
        wanted = [
            record
            for record in self.state.faults
            if name in (None, record["fault"])
            and (pod is None or record["pod"] in (None, pod.name))
        ]
        if fault is not None and not wanted:
            raise LabError(f"{fault} is not broken" + (f" on {pod.name}" if pod else ""))
        for record in reversed(wanted):
            owner = self.pods[0] if record["pod"] is None else self.pod(record["pod"])
            FAULTS[record["fault"]].mend(self, owner)
        return wanted

    @contextmanager
    def broken(self, fault: str, pod: Pod | None = None) -> Iterator[None]:
        """Broken inside the block, mended after it."""
        target = pod or self.pods[0]
        _fault(fault).break_(self, target)
        try:
            yield
        finally:
            FAULTS[fault].mend(self, target)

    def adopt(self, process: subprocess.Popen[Any]) -> None:
        """Remember a command that was started inside, so that it ends with the lab."""
        self._children = [child for child in self._children if child.poll() is None]
        self._children.append(process)
        self.state.children = [child for child in self.state.children if states.alive(child)]
        self.state.children.append(states.identity(process.pid))
        self.state.save()

    def keep(self, sock: socket.socket) -> socket.socket:
        """Close this socket with the lab."""
        self._sockets.add(sock)
        return sock

    def _catch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                self._signals[number] = signal.signal(number, _leave)

    def _release_signals(self) -> None:
        for number, handler in self._signals.items():
            signal.signal(number, handler)
        self._signals.clear()


class Node(Netns):
    """The node's namespace."""

    uplink = wiring.UPLINK

    def __init__(self, lab: Lab) -> None:
        super().__init__(f"{lab.name}-node", lab.adopt)
        self.lab = lab


def down(name: str = "arpwhy") -> bool:
    """Remove the lab of that name, or what a killed one left; False if there was none."""
    found = states.load(name)
    if found is None:
        return False
    if found.owner is not None and states.alive(found.owner):
        raise LabError(f"lab {name} belongs to process {found.owner[0]}, which still runs")
    with _deferred_signals():
        _remove(found)
    return True


def _fault(name: str) -> Fault:
    try:
        return FAULTS[name]
    except KeyError:
        raise LabError(f"no fault {name}; there are: {', '.join(FAULTS)}") from None


def _remove(state: states.State) -> None:
    state.end_children()
    names = [pod["name"] for pod in state.pods]
    for name in (*names, "fabric", "node"):
        Netns(f"{state.name}-{name}").remove()
    state.forget()


def _refuse_if_used(state: states.State) -> None:
    if state.owner is None:
        raise LabError(f"lab {state.name} is up; 'scripts/lab --name {state.name} down' removes it")
    if states.alive(state.owner):
        raise LabError(f"lab {state.name} is in use by process {state.owner[0]}")


def _refuse_if_foreign(netns: Netns) -> None:
    # Only what the lab made may ever be removed: never adopt a name that is there.
    if netns.exists():
        raise LabError(f"{netns.path} exists and is not this lab's")


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _deferred_signals() -> Iterator[None]:
    """Hold back SIGINT, SIGTERM and SIGHUP until the block is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _: pending.append(number))
        for number in _ENDING_SIGNALS
        if signal.getsignal(number) not in (None, signal.SIG_IGN)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if pending:
            signal.raise_signal(signal.Signals(pending[0]))
