# SPDX-License-Identifier: Apache-2.0
"""The API's JSON, and the little that is kept of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tracer.pods.index import Pod
from tracer.pods.trouble import Garbage, refused

_FINISHED = ("Succeeded", "Failed")
_MALFORMED = (KeyError, TypeError, AttributeError, ValueError)


class Page(NamedTuple):
    """``listed`` counts all pods; ``after`` is where the next page begins, "" if there is none."""

    pods: list[Pod]
    listed: int
    version: str
    after: str


class Change(NamedTuple):
    """``pod`` None: nothing happened that bears on names. ``gone``: it was deleted."""

    version: str
    pod: Pod | None = None
    gone: bool = False


def page(text: bytes | bytearray) -> Page:
    """A PodList. Raises Garbage."""
    try:
        decoded = json.loads(text)
        items, metadata = decoded["items"] or [], decoded["metadata"]
        pods = [each for each in map(pod, items) if each is not None]
        return Page(
            pods, len(items), str(metadata["resourceVersion"]), metadata.get("continue") or ""
        )
    except _MALFORMED:
        raise Garbage("what the API server sent is no list of pods") from None


def change(text: bytes | bytearray) -> Change:
    """A line of a watch. Raises Garbage; for an ERROR what refused() makes of it."""
    try:
        event = json.loads(text)
        kind, what = event["type"], event["object"]
        if kind == "ERROR":
            raise refused(what.get("code"), what.get("message"))
        version = str(what["metadata"]["resourceVersion"])
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            return Change(version, pod(what), kind == "DELETED")
        return Change(version)
    except _MALFORMED:
        raise Garbage("what the API server sent is no change of a pod") from None


def pod(what: Mapping[str, Any]) -> Pod | None:
    """None for one on the host's network: it has no interface, and the node's address."""
    if what["spec"].get("hostNetwork"):
        return None
    status = what.get("status") or {}
    addresses: tuple[str, ...] = ()
    if status.get("phase") not in _FINISHED:
        # podIP may be the IPv6 one of two.
        each = [entry.get("ip") for entry in status.get("podIPs") or ()]
        each.append(status.get("podIP"))
        addresses = tuple(dict.fromkeys(ip for ip in each if ip and ":" not in ip))
    return Pod(what["metadata"]["namespace"], what["metadata"]["name"], addresses)
