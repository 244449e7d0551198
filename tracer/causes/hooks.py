# SPDX-License-Identifier: Apache-2.0
"""Filters in the packet's way, as Look names them: the commands that let ARP pass."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from tracer.causes.cause import command, device
from tracer.node.look import Look

_TC_FILTER = re.compile(r"tc filter \S+ pref (\d+)$")


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
                command(look, "nft -a list ruleset"),
            )
        )
    lines = [command(look, _accept(name, look, direction)) for name in chains]
    return "\n".join((f"Accept ARP of {look.interface} before the rule that drops it.", *lines))


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
    """Removes the only filter; with several, which one it was nothing tells.

    One with a program that has a name is somebody's, Calico's eBPF dataplane's say, whose
    policy it is: that is not to be removed.
    """
    programs = [name for name in names if name.startswith(("tc filter ", "tcx "))]
    only = _TC_FILTER.match(programs[0]) if len(programs) == 1 else None
    if only is not None:
        line = f"tc filter del dev {device(look)} {direction} pref {only[1]}"
        return command(look, line)
    lines = [f"tc -s filter show dev {device(look)} {direction}"]
    if any(name.startswith("tcx ") for name in programs):
        lines.append(f"bpftool net show dev {device(look)}")  # tc does not list them
    return "\n".join(
        (
            f"Correct or remove the tc program at {direction} that drops ARP.",
            *(command(look, line) for line in lines),
        )
    )
