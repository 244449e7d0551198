# SPDX-License-Identifier: Apache-2.0
"""What is printed to mend: a command, or advice.

A cause proposes changes, each with what it touches. Here alone commands are made, and here alone
it is asked what others would lose by them: then it is advice.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

from tracer.causes.cause import command, device
from tracer.causes.martian import martian_sender
from tracer.node import sysctl
from tracer.node.look import Dropping, Look, Refusal

Kind = Literal["command", "advice"]

# Queues that hold packets and nothing else. What limits a rate or sorts is somebody's wish.
_PLAIN_QUEUES = frozenset(
    {"pfifo", "bfifo", "pfifo_head_drop", "blackhole", "codel", "fq", "fq_codel", "sfq"}
)


@dataclass(frozen=True, slots=True)
class Remedy:
    """``text`` of kind ``command``: each line is to be pasted as it is. Advice: each is a
    sentence, which ends with a full stop. Made by :func:`propose` and :func:`advise` alone.
    """

    kind: Kind
    text: str


class OwnLink:
    """Nothing but the pod's own interface is touched, as the CNI set it or the kernel made it."""


class NodeForwarding:
    """ip_forward, which Felix writes too (FELIX_IPFORWARDING): no router, no pod network."""


class SendersRoute:
    """The sender's /32, which is to lead to the pod."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The interface's root queues, by kind."""

    kinds: frozenset[str]


Touched = OwnLink | NodeForwarding | SendersRoute | Queue | Refusal | Dropping


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a shell, as in the interface's own network namespace."""

    line: str
    touches: Touched


def propose(look: Look, *changes: Change) -> Remedy:
    """A command, if nobody else loses by any of the changes; else what is to be known first."""
    for change in changes:
        lost = _may_answer(look, change.touches) or _lost(look, change.touches)
        if lost is not None:
            return advise(*lost.split("\n"))
    if look.astray:
        return advise(
            f"It is to be mended in network namespace {look.netns}, to which no file or process "
            f"leads from here: {'; '.join(change.line for change in changes)}."
        )
    return Remedy("command", "\n".join(command(look, change.line) for change in changes))


def advise(*sentences: str) -> Remedy:
    """Nothing to paste."""
    if not sentences or not all(each.endswith(".") for each in sentences):
        raise ValueError(f"not whole sentences: {sentences}")
    return Remedy("advice", "\n".join(sentences))


def see_on_node(look: Look, *commands: str) -> str:
    """What is asked in the interface's own namespace."""
    return see(*(command(look, each) for each in commands))


def see(*commands: str) -> str:
    """Commands that change nothing, as a sentence: advice has none to paste."""
    return f"See what {' and '.join(commands)} {'tells' if len(commands) == 1 else 'tell'}."


# -- changes of the pod's own link -----------------------------------------------------------


def link(look: Look, what: str) -> Change:
    return Change(f"ip link set dev {device(look)} {what}", OwnLink())


def setting(look: Look, name: str, value: int) -> Change:
    """A sysctl of the interface's own."""
    return Change(f"sysctl -w {sysctl.setting(look.interface, name, value)}", OwnLink())


def no_queue(look: Look, kinds: frozenset[str]) -> Change:
    return Change(f"tc qdisc del dev {device(look)} root", Queue(kinds))


# -- changes of what others may live by ------------------------------------------------------


def removal(refusal: Refusal) -> Change:
    return Change(f"ip {refusal.kind} del {refusal.name}", refusal)


def senders_route(look: Look, table: str = "") -> Change:
    line = f"ip route replace {look.sender_ip}/32 dev {device(look)} scope link{table}"
    return Change(line, SendersRoute())


def _lost(look: Look, touched: Touched) -> str | None:
    """What others would lose, or may lose: sentences, one a line. None: nothing."""
    match touched:
        case Refusal():
            return _by_removal(look, touched)
        case Dropping():
            return _by_filter(look, touched)
        case SendersRoute():
            return not_the_pods_own(look)
        case Queue():
            if touched.kinds and touched.kinds <= _PLAIN_QUEUES:
                return None
            return (
                f"Find out whose the queue of {look.interface} is, and give it a larger limit.\n"
                + see_on_node(look, f"tc -s qdisc show dev {device(look)}")
            )
        case OwnLink() | NodeForwarding():
            return None


def _may_answer(look: Look, touched: Touched) -> str | None:
    """A program in the kernel's place: nothing of the whole node's is then wrong by itself."""
    if not look.arp_listeners or not isinstance(touched, Refusal | NodeForwarding):
        return None
    return (
        f"Find out whether {' and '.join(look.arp_listeners)}, listening for ARP on "
        f"{look.interface}, is to answer in the kernel's place: then mend that, and leave what is "
        "the whole node's."
    )


def _by_removal(look: Look, refusal: Refusal) -> str | None:
    what = f"the {refusal.kind} {refusal.name}"
    if refusal.keeper is not None:
        return (
            f"Correct what wrote {what}: it is from {refusal.keeper} (proto), which may need it "
            "and write it again."
        )
    if refusal.serves is not None:
        without = f" Without it {refusal.without}." if refusal.without else ""
        return (
            f"Find out who wrote {what}, and for what: it is for {refusal.serves}, so that others "
            f"would lose it too. Have {look.target_ip} or the pods left out there.{without}"
        )
    if refusal.without is not None:
        return (
            f"It is refused by {what}, but to delete that alone does not help: {refusal.without}. "
            f"Give the node a route that covers {look.target_ip} first."
        )
    # The pod's own rule, that is: of the address which it says is its own.
    return not_the_pods_own(look) if refusal.kind == "rule" and look.sender_ip else None


def _by_filter(look: Look, dropping: Dropping) -> str | None:
    if not dropping.others and (dropping.without or dropping.handle is None):
        return None
    tool, *words = dropping.chain.split()
    chain = " ".join(map(shlex.quote, words))
    what = "The policy" if dropping.handle is None else f"The rule with handle {dropping.handle}"
    if tool == "arptables":
        what, shown = "A rule or the policy", "arptables -L -n --line-numbers"
    else:
        shown = f"nft -a list chain {chain}"
    whom = "other interfaces' ARP too" if dropping.others else "it, and another one after it"
    return (
        f"{what} of {dropping.chain} drops {whom}: find out who wrote it, and have ARP of "
        f"{look.interface} accepted there.\n{see_on_node(look, shown)}"
    )


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
    if way is not None and way.ok and way.type == "broadcast":
        on = f" on {way.out_interface}" if way.out_interface else ""
        signs = f" ({'; '.join(look.sender_others)})" if look.sender_others else ""
        return (
            f"{sender} is the broadcast address of a network that the node has{on}{signs}: correct "
            "that network's prefix length or broadcast address, or give the pod another address."
        )
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
