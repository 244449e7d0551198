# SPDX-License-Identifier: Apache-2.0
"""nftables' chains that ARP packets pass: the arp family's, and netdev's of an interface."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tracer.node import netlink
from tracer.node.netlink import Connection

ARP, NETDEV = 3, 5  # NFPROTO_*
_FAMILIES = {ARP: "arp", NETDEV: "netdev"}
_HOOKS = {ARP: ("input", "output", "forward"), NETDEV: ("ingress", "egress")}
# linux/netfilter/nfnetlink.h, nf_tables.h
_NFGENMSG = struct.Struct("=BBH")
_GETTABLE, _GETCHAIN, _GETRULE = 10 << 8 | 1, 10 << 8 | 4, 10 << 8 | 7
_TABLE_NAME, _TABLE_FLAGS = 1, 2
_DORMANT = 0x1
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY = 1, 3, 4, 5
_HOOK_NUMBER, _HOOK_DEV, _HOOK_DEVS = 1, 3, 4
_DEVICE_NAME, _DEVICE_PREFIX = 1, 2
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS = 1, 2, 3, 4
_EXPR_NAME, _EXPR_DATA = 1, 2
_META_PROTOCOL, _META_IIFNAME, _META_OIFNAME = 1, 6, 7
_NETWORK_HEADER = 1
_EQUAL, _NOT_EQUAL = 0, 1
_VERDICT_REGISTER = 0
_DROP, _ACCEPT = 0, 1
# What an ARP packet for IPv4 over Ethernet has in common with all others of its operation.
_HEADER = bytes.fromhex("0001 0800 06 04")
_ARP_PROTOCOL = bytes.fromhex("0806")  # ETH_P_ARP
_REQUEST, _REPLY = bytes.fromhex("0001"), bytes.fromhex("0002")
_OUTGOING = frozenset({"output", "egress"})


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain of a filter hook. ``devices``: of a netdev chain; a name may end in *. One of
    the arp family is on all of them.
    """

    family: int
    table: str
    name: str
    hook: str
    drops: bool  # its policy
    devices: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"nft {_FAMILIES[self.family]} {self.table} {self.name}"

    def on(self, interface: str) -> bool:
        return self.family == ARP or any(
            interface.startswith(device[:-1]) if device.endswith("*") else interface == device
            for device in self.devices
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """``expressions``: each with its name and attributes. ``handle`` is its table's number."""

    table: str
    chain: str
    expressions: tuple[tuple[str, dict[int, bytes]], ...]
    handle: int = 0


def chains(connection: Connection, family: int) -> tuple[Chain, ...]:
    """Those of that family. None where the kernel has no nftables. Raises OSError."""
    parsed = (parse_chain(body) for body in _dump(connection, _GETCHAIN, family))
    found = [chain for chain in parsed if chain is not None]
    asleep = _dormant(connection, family) if found else set()
    return tuple(chain for chain in found if chain.table not in asleep)


def _dormant(connection: Connection, family: int) -> set[str | None]:
    """Tables whose chains no hook calls for the time being."""
    tables = (
        netlink.attributes(body, _NFGENMSG.size) for body in _dump(connection, _GETTABLE, family)
    )
    return {
        netlink.text(table.get(_TABLE_NAME))
        for table in tables
        if (_big(table.get(_TABLE_FLAGS)) or 0) & _DORMANT
    }


def rules(connection: Connection, family: int) -> tuple[Rule, ...]:
    """All of that family, in their order. Raises OSError."""
    return tuple(parse_rule(body) for body in _dump(connection, _GETRULE, family))


def _dump(connection: Connection, kind: int, family: int) -> list[bytes]:
    try:
        return connection.dump(kind, _NFGENMSG.pack(family, 0, 0))
    except OSError as error:
        # nfnetlink knows no such subsystem, or nftables no such family.
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
            return []
        raise


def parse_chain(body: bytes) -> Chain | None:
    """The body of NFT_MSG_NEWCHAIN; None for a chain that no hook calls."""
    family = body[0]
    attributes = netlink.attributes(body, _NFGENMSG.size)
    if _CHAIN_HOOK not in attributes or family not in _HOOKS:
        return None
    hook = netlink.attributes(attributes[_CHAIN_HOOK], 0)
    number = _big(hook.get(_HOOK_NUMBER)) or 0
    if number >= len(_HOOKS[family]):
        return None
    return Chain(
        family=family,
        table=netlink.text(attributes.get(_CHAIN_TABLE)) or "",
        name=netlink.text(attributes.get(_CHAIN_NAME)) or "",
        hook=_HOOKS[family][number],
        drops=_big(attributes.get(_CHAIN_POLICY)) == _DROP,
        devices=tuple(_devices(hook)),
    )


def _devices(hook: dict[int, bytes]) -> Iterator[str]:
    if _HOOK_DEVS not in hook:
        yield netlink.text(hook.get(_HOOK_DEV)) or ""
        return
    for kind, raw in netlink.each(hook[_HOOK_DEVS], 0):
        yield (netlink.text(raw) or "") + ("*" if kind == _DEVICE_PREFIX else "")


def parse_rule(body: bytes) -> Rule:
    """The body of NFT_MSG_NEWRULE."""
    attributes = netlink.attributes(body, _NFGENMSG.size)
    expressions = []
    for _, element in netlink.each(attributes.get(_RULE_EXPRESSIONS, b""), 0):
        expression = netlink.attributes(element, 0)
        name = netlink.text(expression.get(_EXPR_NAME)) or ""
        expressions.append((name, netlink.attributes(expression.get(_EXPR_DATA, b""), 0)))
    return Rule(
        table=netlink.text(attributes.get(_RULE_TABLE)) or "",
        chain=netlink.text(attributes.get(_RULE_CHAIN)) or "",
        expressions=tuple(expressions),
        handle=_big(attributes.get(_RULE_HANDLE)) or 0,
    )


def verdict(
    chain: Chain, of_family: tuple[Rule, ...], interface: str
) -> tuple[bool | None, int | None]:
    """Whether the chain drops every ARP request that comes in by the interface (every reply
    that goes out by it, for the hooks on the way out); False: none; None: it depends. With the
    handle of the rule that decides; None: its policy does.

    Only what is the same in all of them is looked at, the interface's name and the header
    up to the operation; a rule that asks for more leaves it open.
    """
    for rule in of_family:
        if (rule.table, rule.chain) != (chain.table, chain.name):
            continue
        met = _verdict(rule, interface, outgoing=chain.hook in _OUTGOING)
        if met is None:
            return None, rule.handle
        if met != _NOT_MET:
            return met == _DROP, rule.handle
    return chain.drops, None


_NOT_MET = -1


def _verdict(rule: Rule, interface: str, *, outgoing: bool) -> int | None:
    """_DROP or _ACCEPT; _NOT_MET if the rule is passed over or has none; None: not known."""
    name = interface.encode(errors="surrogateescape").ljust(16, b"\0")
    metas = {_META_PROTOCOL: _ARP_PROTOCOL, _META_OIFNAME if outgoing else _META_IIFNAME: name}
    header = _HEADER + (_REPLY if outgoing else _REQUEST)
    registers: dict[int | None, bytes | None] = {}
    for expression, data in rule.expressions:
        destination = _big(data.get(1))
        if expression in ("counter", "log"):
            continue
        if expression == "meta":
            registers[destination] = metas.get(_big(data.get(2)) or 0)
        elif expression == "payload":
            registers[destination] = _loaded(data, header)
        elif expression == "cmp" and (met := _compare(data, registers)) is not None:
            if not met:
                return _NOT_MET
        elif expression == "immediate" and destination == _VERDICT_REGISTER:
            verdict = netlink.attributes(netlink.attributes(data.get(2, b""), 0).get(2, b""), 0)
            code = _big(verdict.get(1))
            return code if code in (_DROP, _ACCEPT) else None
        else:
            return None
    return _NOT_MET


def _loaded(data: dict[int, bytes], header: bytes) -> bytes | None:
    """What a payload expression loads of the packet, if that is known."""
    base, offset, length = (_big(data.get(attribute)) for attribute in (2, 3, 4))
    if base != _NETWORK_HEADER or offset is None or length is None:
        return None
    return header[offset : offset + length] if offset + length <= len(header) else None


def _compare(data: dict[int, bytes], registers: dict[int | None, bytes | None]) -> bool | None:
    known = registers.get(_big(data.get(1)))
    value = netlink.attributes(data.get(3, b""), 0).get(1)
    operation = _big(data.get(2))
    if known is None or value is None or operation not in (_EQUAL, _NOT_EQUAL):
        return None
    return (known[: len(value)] == value) == (operation == _EQUAL)


def _big(raw: bytes | None) -> int | None:
    return None if raw is None else int.from_bytes(raw, "big")
