# SPDX-License-Identifier: Apache-2.0
"""Filters in the packet's way, as Look names them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from tracer.causes.cause import device
from tracer.causes.remedy import Change, Remedy, advise, propose, see_on_node
from tracer.node.look import Dropping, Look


def netfilter(look: Look, names: Iterable[str], direction: str) -> Remedy:
    """What drops in the chains ``names``, of ``in`` or ``out``, is taken out, where it is known
    to drop all of the interface's ARP. What it depends on else nothing tells: a rule against
    false senders may have done its work.
    """
    found = [name for name in names if name.startswith(("nft ", "arptables "))]
    # Calico writes its own tables anew, and does not drop what answers for the gateway.
    chains = [name for name in found if " calico" not in name] or found
    by_chain = {dropping.chain: dropping for dropping in look.droppings}
    certain = [by_chain[name] for name in chains if name in by_chain]
    if certain:
        return propose(look, *(_without(each, look, direction) for each in certain))
    named = f" ({', '.join(chains)})" if chains else ""
    shown = [f"nft -a list chain {_words(name)}" for name in chains if name.startswith("nft ")]
    return advise(
        f"Find out which rule of netfilter it is that drops ARP of {look.interface}{named}, and "
        "whose: it may be right for what the pod sends.",
        see_on_node(look, *(shown or ["nft -a list ruleset"])),
    )


def _without(dropping: Dropping, look: Look, direction: str) -> Change:
    """The rule goes; for a policy the interface is accepted before it."""
    chain = _words(dropping.chain)
    if dropping.chain.startswith("arptables "):
        return Change(f"arptables -I {chain} -{direction[0]} {device(look)} -j ACCEPT", dropping)
    if dropping.handle is not None:
        return Change(f"nft delete rule {chain} handle {dropping.handle}", dropping)
    operation = "request" if direction == "in" else "reply"
    rule = f'{direction[0]}ifname "{look.interface}" arp operation {operation} accept'
    return Change(f"nft add rule {chain} {shlex.quote(rule)}", dropping)


def _words(name: str) -> str:
    """A chain's name without its tool, as a shell takes it."""
    return " ".join(map(shlex.quote, name.split()[1:]))


def traffic_control(look: Look, names: Iterable[str], direction: str) -> Remedy:
    """Whose the filter is nothing tells: it may be a limit's redirect, or a policy, as that of
    Calico's eBPF dataplane. So none is to be removed.
    """
    programs = [name for name in names if name.startswith(("tc filter ", "tcx "))]
    lines = [f"tc -s filter show dev {device(look)} {direction}"]
    if any(name.startswith("tcx ") for name in programs):
        lines.append(f"bpftool net show dev {device(look)}")  # tc does not list them
    named = f" ({', '.join(programs)})" if programs else ""
    return advise(
        f"Find out whose the tc program at {direction} is that drops ARP{named}, and correct "
        "it there: let ARP pass.",
        see_on_node(look, *lines),
    )
