# SPDX-License-Identifier: Apache-2.0
"""Netfilter rules that drop the request or the reply: nftables, a table of its own for each
fault; arptables, a rule in its chains."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_REQUEST, _REPLY = "arp operation request", "arp operation reply"


def make_table(
    lab: Lab, pod: Pod, family: str, chain: str, rule: str, *, policy: str = "accept"
) -> Saved:
    words = f"{chain.split(maxsplit=1)[0]}_{policy}_{pod.interface}"
    table = "lab_" + re.sub(r"[^A-Za-z0-9]", "_", words)
    text = (
        f"table {family} {table} {{\nchain drops {{\n"
        f"type filter hook {chain} priority 0; policy {policy};\n"
        f"{rule}\n}}\n}}\n"
    )
    lab.node.tool(["nft", "-f", "-"], package="nftables", stdin=text)
    return {"family": family, "table": table}


def delete_table(lab: Lab, _: Pod, saved: Saved) -> None:
    lab.node.tool(["nft", "delete", "table", saved["family"], saved["table"]], package="nftables")


@fault("nft netdev ingress drops the request", undo=delete_table)
def nft_netdev_ingress(lab: Lab, pod: Pod) -> Saved:
    chain = f'ingress device "{pod.interface}"'
    return make_table(lab, pod, "netdev", chain, f"{_REQUEST} counter drop")


@fault("nft netdev egress drops the reply", undo=delete_table)
def nft_netdev_egress(lab: Lab, pod: Pod) -> Saved:
    """Linux 5.16 and later."""
    chain = f'egress device "{pod.interface}"'
    return make_table(lab, pod, "netdev", chain, f"{_REPLY} counter drop")


@fault("nft arp input drops the request", undo=delete_table)
def nft_arp_input(lab: Lab, pod: Pod) -> Saved:
    rule = f'iifname "{pod.interface}" {_REQUEST} counter drop'
    return make_table(lab, pod, "arp", "input", rule)


@fault("nft arp input accepts the others, and its policy drops the request", undo=delete_table)
def nft_arp_input_policy(lab: Lab, pod: Pod) -> Saved:
    rule = f'iifname != "{pod.interface}" counter accept'
    return make_table(lab, pod, "arp", "input", rule, policy="drop")


@fault(
    "two rules of nft arp input drop the request",
    undo=delete_table,
    reason="filtered_in",
    remedy="advice",
)
def nft_arp_input_twice(lab: Lab, pod: Pod) -> Saved:
    rule = f'iifname "{pod.interface}" {_REQUEST} counter drop'
    return make_table(lab, pod, "arp", "input", f"{rule}\n{rule}")


@fault(
    "nft arp input drops what claims the pod's address, as a rule against spoofing",
    undo=delete_table,
    reason="filtered_in",
    remedy="advice",
)
def nft_arp_input_by_sender(lab: Lab, pod: Pod) -> Saved:
    rule = f'iifname "{pod.interface}" arp saddr ip {pod.address} counter drop'
    return make_table(lab, pod, "arp", "input", rule)


@fault("nft arp output drops the reply", undo=delete_table)
def nft_arp_output(lab: Lab, pod: Pod) -> Saved:
    rule = f'oifname "{pod.interface}" {_REPLY} counter drop'
    return make_table(lab, pod, "arp", "output", rule)


def _arptables(lab: Lab, *args: str) -> None:
    lab.node.tool(["arptables", *args], package="arptables")


def _nft_tables(lab: Lab) -> list[str]:
    done = lab.node.run(["sh", "-c", "nft list tables arp 2>/dev/null"])
    return done.stdout.splitlines()


def append(lab: Lab, *rule: str) -> Saved:
    """With arptables-nft the first rule makes ``table arp filter``: it goes with the rule."""
    before = _nft_tables(lab)
    _arptables(lab, "-A", *rule)
    return {"rule": list(rule), "table": _nft_tables(lab) != before}


def take_out(lab: Lab, _: Pod, saved: Saved) -> None:
    lab.node.run(["arptables", "-D", *saved["rule"]])  # a remedy may have deleted it
    others = [r for r in lab.state.faults if r["saved"].get("rule") not in (None, saved["rule"])]
    if not saved["table"]:
        return
    if others:
        others[0]["saved"]["table"] = True  # the last one's mend removes it
    else:
        lab.node.tool(["nft", "delete", "table", "arp", "filter"], package="nftables")


@fault("arptables drops the request", undo=take_out)
def arptables_input(lab: Lab, pod: Pod) -> Saved:
    return append(lab, "INPUT", "-i", pod.interface, "--opcode", "1", "-j", "DROP")


@fault("arptables drops the reply", undo=take_out)
def arptables_output(lab: Lab, pod: Pod) -> Saved:
    return append(lab, "OUTPUT", "-o", pod.interface, "--opcode", "2", "-j", "DROP")
