# SPDX-License-Identifier: Apache-2.0
"""Filters in the packet's way, as Look names them: the commands that show or remove one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from tracer.causes.cause import command, device
from tracer.node.look import Look

_TC_FILTER = re.compile(r"tc filter \S+ pref (\d+)$")


def netfilter(look: Look, names: Iterable[str], family: str) -> str:
    """A sentence, and the commands that list the chains ``names``; all chains of nft's
    ``family`` if there are none. Which of their rules it was nothing tells.
    """
    chains = [name for name in names if not name.startswith("tc")]
    lists = [_listing(name) for name in chains] or [f"nft -a list ruleset {family}"]
    return "\n".join(
        (
            f"Change or delete the rule (or the policy) that drops ARP on {look.interface}.",
            *(command(look, line) for line in lists),
        )
    )


def _listing(name: str) -> str:
    """``nft arp TABLE CHAIN`` or ``arptables CHAIN`` as the command that shows it."""
    tool, *words = name.split()
    chain = " ".join(map(shlex.quote, words))
    return f"nft -a list chain {chain}" if tool == "nft" else f"{tool} -v -n -L {chain}"


def traffic_control(look: Look, names: Iterable[str], direction: str) -> str:
    """Removes the only filter; with several, which one it was nothing tells.

    A filter of Calico's own (eBPF dataplane) is its policy: that is not to be removed.
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
