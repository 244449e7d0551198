# SPDX-License-Identifier: Apache-2.0
"""What the tracing process and the loading process say to each other: a JSON line each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


class LoadError(Exception):
    """It cannot be loaded; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to load. ``engines``: names, in the order in which to try them.

    ``cache``: may what was compiled before be taken, and what is compiled be kept?
    """

    engines: tuple[str, ...]
    name_macro: str
    netns_macro: str
    target_macro: str
    btf: str | None
    cache: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded. ``descriptors`` names the file descriptors sent along, in order.

    A name is ``map NAME``, ``program NAME`` (a helper) or ``link KIND PLACE``; links come
    in the order in which they were attached. ``functions``: see Functions.
    """

    engine: str
    passed_over: tuple[tuple[str, str], ...]
    descriptors: tuple[str, ...]
    drop_reasons: dict[str, str]
    functions: tuple[tuple[int, int, str], ...]
    no_socket: str | None = None  # why there is no packet socket where one is wanted
    remarks: tuple[str, ...] = ()  # what was wrong with the cache, a line each


def order_line(order: Order) -> bytes:
    return json.dumps(asdict(order)).encode() + b"\n"


def parse_reply(line: bytes) -> Loaded:
    """Raises LoadError with the loader's own line if it could not load."""
    reply: dict[str, Any] = json.loads(line)
    if "error" in reply:
        raise LoadError(reply["error"])
    passed_over: Sequence[Sequence[str]] = reply["passed_over"]
    return Loaded(
        reply["engine"],
        tuple((name, why) for name, why in passed_over),
        tuple(reply["descriptors"]),
        reply["drop_reasons"],
        tuple((start, end, name) for start, end, name in reply["functions"]),
        reply["no_socket"],
        tuple(reply["remarks"]),
    )
