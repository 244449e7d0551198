# SPDX-License-Identifier: Apache-2.0
"""The pods of this node by the names of their interfaces and by their addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tracer.pods.names import interface_name

PodName = Mapping[str, str]
_Key = tuple[str, str]  # namespace, name

# Names of pods that are gone but may still have an interface: a pod deleted by force, or
# one of a StatefulSet that lives elsewhere now. That is when an interface gets no reply.
_REMEMBERED = 1024


class Pod(NamedTuple):
    """What is kept of a pod. ``addresses``: IPv4; none once it is finished."""

    namespace: str
    name: str
    addresses: tuple[str, ...] = ()


class Index:
    """Changed by one thread; looked into by any, without a lock.

    ``stale_since`` (monotonic seconds) is since when nothing was heard of the API; None
    while its changes arrive.
    """

    def __init__(self, prefixes: Sequence[str]) -> None:
        self.stale_since: float | None = None
        self._prefixes = tuple(prefixes)
        self._by_interface: dict[str, PodName] = {}
        self._pods: dict[_Key, tuple[PodName, tuple[str, ...]]] = {}
        self._owners: dict[str, tuple[PodName, ...]] = {}  # by address
        self._gone: dict[_Key, PodName] = {}  # the longest gone first

    def by_interface(self, interface: str) -> PodName | None:
        """The pod whose interface Calico gives this name."""
        return self._by_interface.get(interface)

    def by_addresses(self, addresses: Iterable[str]) -> PodName | None:
        """The one pod that has any of these addresses; None if several do."""
        owners = [owner for address in addresses for owner in self._owners.get(address, ())]
        return owners[0] if owners and all(each is owners[0] for each in owners) else None

    def put(self, pod: Pod) -> None:
        """A pod that is new or changed."""
        key = (pod.namespace, pod.name)
        if key in self._pods:
            if self._pods[key][1] == pod.addresses:
                return
            name = self._disown(key)
        elif key in self._gone:
            name = self._gone.pop(key)
        else:
            name = {"namespace": pod.namespace, "name": pod.name}
            self._by_interface.update(dict.fromkeys(self._interfaces(key), name))
        self._pods[key] = (name, pod.addresses)
        for address in pod.addresses:
            self._owners[address] = (*self._owners.get(address, ()), name)

    def drop(self, pod: Pod) -> None:
        """A pod is gone: its addresses may be another's now, its interface's name cannot."""
        key = (pod.namespace, pod.name)
        if key in self._pods:
            self._forget(key)

    def replace(self, pods: Iterable[Pod]) -> None:
        """These are all there are."""
        there = {(pod.namespace, pod.name): pod for pod in pods}
        for key in [key for key in self._pods if key not in there]:
            self._forget(key)
        for pod in there.values():
            self.put(pod)

    def _forget(self, key: _Key) -> None:
        self._gone[key] = self._disown(key)
        if len(self._gone) > _REMEMBERED:
            oldest = next(iter(self._gone))
            del self._gone[oldest]
            for interface in self._interfaces(oldest):
                del self._by_interface[interface]

    def _interfaces(self, key: _Key) -> list[str]:
        return [interface_name(*key, prefix) for prefix in self._prefixes]

    def _disown(self, key: _Key) -> PodName:
        """Out of the pods and owners; only the name is left."""
        name, addresses = self._pods.pop(key)
        for address in addresses:
            left = tuple(owner for owner in self._owners[address] if owner is not name)
            if left:
                self._owners[address] = left
            else:
                del self._owners[address]
        return name
