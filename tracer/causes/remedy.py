# SPDX-License-Identifier: Apache-2.0
"""What is printed to mend: a command, or advice. What others would lose by a command is asked
here alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

from tracer.causes.martian import martian_sender
from tracer.node.look import Look

Kind = Literal["command", "advice"]


@dataclass(frozen=True, slots=True)
class Remedy:
    """``text`` of kind ``command``: each line is to be pasted as it is."""

    kind: Kind
    text: str

    @classmethod
    def of(cls, text: str) -> Remedy:
        """A line that ends with a full stop is a sentence, any other a command."""
        commands = text != "" and not any(line.endswith(".") for line in text.split("\n"))
        return cls("command" if commands else "advice", text)


def see(*commands: str) -> str:
    """Commands that change nothing, as a sentence: advice has none to paste."""
    return f"See what {' and '.join(commands)} tells."


def not_the_pods_own(look: Look) -> str | None:
    """Why nothing on the node is to be changed for the sender's sake: a sentence.

    The sender is what the pod chose to write. A route or rule for an address that is not
    its own would take that from whoever has it. None: every sign says that it is its own.
    """
    sender = look.sender_ip
    if (kind := martian_sender(look) or _nobodys(sender)) is not None:
        return f"Correct the pod's address: {sender} is {kind}."
    way = look.sender_route
    if look.sender_owner is not None or (way is not None and way.ok and way.type == "local"):
        on = f" on {look.sender_owner}" if look.sender_owner else ""
        both = f"The node has {sender}{on}, and the pod asks from it"
        return f"{both}: correct the one that is wrong."
    if look.sender_others is None:
        return f"Find out whose {sender} is, before its route is changed: that could not be read."
    if look.sender_others:
        return (
            f"The pod asks from {sender}, which is not its own as far as the node knows "
            f"({'; '.join(look.sender_others)}): correct the pod, its routes and arp_announce, "
            "or delete the stale or duplicate one, and leave the node's routes."
        )
    return None


def _nobodys(address: str) -> str | None:
    try:
        ip = IPv4Address(address)
    except ValueError:
        return None  # A placeholder of the page.
    if ip.is_link_local:
        return "link-local"
    if ip.is_loopback:
        return "a loopback address"
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return "no address that a pod can have"
    return None
