# SPDX-License-Identifier: Apache-2.0
"""Devices that a fault adds to the node, each named after the pod that it is for."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod


def name_for(pod: Pod, prefix: str) -> str:
    """A name of at most 15 characters that no other pod's device has."""
    digest = hashlib.sha1(pod.interface.encode(), usedforsecurity=False).hexdigest()
    return (prefix + digest)[:15]


def ip(lab: Lab, *args: str) -> None:
    lab.node.tool(["ip", *args], package="iproute2")


def tc(lab: Lab, *args: str) -> str:
    return lab.node.tool(["tc", *args], package="iproute2")


def add(lab: Lab, name: str, *kind: str) -> None:
    """Made and up; Unavailable if the kernel has no links of that kind."""
    ip(lab, "link", "add", "name", name, "type", *kind)
    ip(lab, "link", "set", name, "up")


def delete(lab: Lab, name: str) -> None:
    ip(lab, "link", "del", name)
