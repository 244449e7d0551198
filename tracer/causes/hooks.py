# SPDX-License-Identifier: Apache-2.0
"""Filters in the packet's way, as Look names them: the commands that let ARP pass."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from tracer.causes.cause import command, device
from tracer.causes.remedy import see
from tracer.node.look import Look


def netfilter(look: Look, names: Iterable[str], direction: str) -> str:
    """Accepts the interface's ARP at the head of each of the chains ``names``, of ``in`` or
    ``out``: which rule of which chain it was nothing tells, and to accept ends one chain.
    """
    found = [name for name in names if name.startswith(("nft ", "arptables "))]
    # Calico writes its own tables anew, and does not drop what answers for the gateway.
    chains = [name for name in found if " calico" not in name] or found
    if not chains:
        return "\n".join(
            (
                f"Find the rule of netfilter that drops ARP of {look.interface}.",
                see(command(look, "nft -a list ruleset")),
            )
        )
    return "\n".join(command(look, _accept(name, look, direction)) for name in chains)


def _accept(name: str, look: Look, direction: str) -> str:
    """For ``nft FAMILY TABLE CHAIN`` or ``arptables CHAIN``."""
    tool, *words = name.split()
    chain = " ".join(map(shlex.quote, words))
    if tool == "arptables":
        return f"arptables -I {chain} -{direction[0]} {device(look)} -j ACCEPT"
    what = "ether type arp " if words[0] == "netdev" else ""
    rule = f'{direction[0]}ifname "{look.interface}" {what}accept'
    return f"nft insert rule {chain} {shlex.quote(rule)}"


def traffic_control(look: Look, names: Iterable[str], direction: str) -> str:
    """Whose the filter is nothing tells: it may be a limit's redirect, or a policy, as that of
    Calico's eBPF dataplane. So none is to be removed.
    """
    programs = [name for name in names if name.startswith(("tc filter ", "tcx "))]
    lines = [f"tc -s filter show dev {device(look)} {direction}"]
    if any(name.startswith("tcx ") for name in programs):
        lines.append(f"bpftool net show dev {device(look)}")  # tc does not list them
    named = f" ({', '.join(programs)})" if programs else ""
    return "\n".join(
        (
            f"Find out whose the tc program at {direction} is that drops ARP{named}, and correct "
            "it there: let ARP pass.",
            see(*(command(look, line) for line in lines)),
        )
    )
