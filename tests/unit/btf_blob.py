# SPDX-License-Identifier: Apache-2.0
"""Builds BTF by hand: what the reader is tested against."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Literal

Member = tuple[str, int, int] | tuple[str, int, int, int]  # name, type, bit[, width]


class Blob:
    """Every method adds one type and gives its id; 0 is void."""

    def __init__(self, order: Literal["<", ">"] = "<") -> None:
        self.order = order
        self.types = b""
        self.strings = b"\0"
        self.layout = b""
        self._count = 0

    def string(self, text: str) -> int:
        if not text:
            return 0
        at = self.strings.find(b"\0" + text.encode() + b"\0") + 1
        if not at:
            at = len(self.strings)
            self.strings += text.encode() + b"\0"
        return at

    def add(
        self,
        kind: int,
        name: str,
        last: int,
        extra: Iterable[int] = (),
        *,
        vlen: int = 0,
        flag: int = 0,
    ) -> int:
        words = (self.string(name), flag << 31 | kind << 24 | vlen, last, *extra)
        self.types += struct.pack(f"{self.order}{len(words)}I", *words)
        self._count += 1
        return self._count

    def int(self, name: str, size: int, bits: int | None = None, shift: int = 0) -> int:
        return self.add(1, name, size, [shift << 16 | (8 * size if bits is None else bits)])

    def ptr(self, to: int) -> int:
        return self.add(2, "", to)

    def array(self, of: int, count: int, index: int = 1) -> int:
        return self.add(3, "", 0, [of, index, count])

    def struct(
        self, name: str, size: int, members: Sequence[Member], flag: int = 0, kind: int = 4
    ) -> int:
        extra: list[int] = []
        for member_name, type_id, bit, *width in members:
            extra += [self.string(member_name), type_id, (width[0] if width else 0) << 24 | bit]
        return self.add(kind, name, size, extra, vlen=len(members), flag=flag)

    def union(self, name: str, size: int, members: Sequence[Member]) -> int:
        return self.struct(name, size, members, kind=5)

    def enum(self, name: str, values: Sequence[tuple[str, int]], flag: int = 0) -> int:
        extra: list[int] = []
        for value_name, value in values:
            extra += [self.string(value_name), value & 0xFFFFFFFF]
        return self.add(6, name, 4, extra, vlen=len(values), flag=flag)

    def enum64(self, name: str, values: Sequence[tuple[str, int]], flag: int = 0) -> int:
        extra: list[int] = []
        for value_name, value in values:
            extra += [self.string(value_name), value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF]
        return self.add(19, name, 8, extra, vlen=len(values), flag=flag)

    def fwd(self, name: str) -> int:
        return self.add(7, name, 0)

    def typedef(self, name: str, to: int) -> int:
        return self.add(8, name, to)

    def volatile(self, of: int) -> int:
        return self.add(9, "", of)

    def const(self, of: int) -> int:
        return self.add(10, "", of)

    def restrict(self, of: int) -> int:
        return self.add(11, "", of)

    def func(self, name: str, proto: int, linkage: int = 0) -> int:
        return self.add(12, name, proto, vlen=linkage)

    def func_proto(self, parameters: Sequence[tuple[str, int]], returns: int = 0) -> int:
        extra: list[int] = []
        for name, type_id in parameters:
            extra += [self.string(name), type_id]
        return self.add(13, "", returns, extra, vlen=len(parameters))

    def var(self, name: str, of: int) -> int:
        return self.add(14, name, of, [1])

    def datasec(self, name: str, variables: Sequence[tuple[int, int, int]]) -> int:
        extra = [word for variable in variables for word in variable]
        return self.add(15, name, 64, extra, vlen=len(variables))

    def float(self, name: str, size: int) -> int:
        return self.add(16, name, size)

    def decl_tag(self, name: str, of: int) -> int:
        return self.add(17, name, of, [0xFFFFFFFF])

    def type_tag(self, name: str, of: int) -> int:
        return self.add(18, name, of)

    def build(self) -> bytes:
        """The file. A ``layout`` section goes between types and strings, as libbpf has it."""
        size = len(self.types)
        words = [size + len(self.layout), len(self.strings)]
        if self.layout:
            words += [size, len(self.layout)]
        header = struct.pack(f"{self.order}HBBIII", 0xEB9F, 1, 0, 16 + 4 * len(words), 0, size)
        header += struct.pack(f"{self.order}{len(words)}I", *words)
        return header + self.types + self.layout + self.strings


def example(order: Literal["<", ">"] = "<") -> bytes:
    """Every kind once, and small look-alikes of the kernel's structs."""
    b = Blob(order)
    u32, u8 = b.int("unsigned int", 4), b.int("unsigned char", 1)  # ids 1, 2
    b.int("long unsigned int", 8)
    void_ptr = b.ptr(0)
    name16 = b.array(u8, 16)
    be16 = b.typedef("__be16", b.typedef("__u16", b.int("unsigned short", 2)))
    device = b.struct("net_device", 40, [("name", name16, 0), ("ifindex", u32, 160)])
    dev_ptr = b.ptr(b.const(b.volatile(b.type_tag("rcu", device))))
    pair = b.struct("", 16, [("next", void_ptr, 0), ("dev", dev_ptr, 64)])
    choice = b.union("", 16, [("", pair, 0), ("list", void_ptr, 0)])
    inner = b.struct("inner", 8, [("low", u32, 0), ("high", u32, 32)])
    b.struct(
        "sk_buff",
        64,
        [
            ("", choice, 0),
            ("pkt_type", u8, 128, 3),
            ("cloned", u8, 131, 1),
            ("wide", u32, 134, 9),
            ("protocol", be16, 160),
            ("nested", b.const(inner), 192),
            ("cb", b.array(inner, 3), 256),
            ("tail", b.array(u8, 0), 480),
        ],
        flag=1,
    )
    b.struct("old_bits", 4, [("flag", b.int("unsigned int", 4, bits=5, shift=2), 8)])
    b.enum("skb_drop_reason", [("A", 0), ("B", 1), ("B_AGAIN", 1), ("MASK", 0xFFFF0000)])
    b.enum("signed", [("MINUS", -2), ("ZERO", 0)], flag=1)
    b.enum64("big", [("HUGE", 1 << 40), ("TOP", (1 << 64) - 1)])
    b.enum64("big_signed", [("MINUS", -(1 << 40))], flag=1)
    b.fwd("only_declared")
    proto = b.func_proto([("skb", void_ptr), ("dev", dev_ptr), ("", u32)])
    b.func("arp_rcv", proto, linkage=1)
    b.func("no_parameters", b.func_proto([]))
    b.func("twice", proto)
    b.func("twice", b.func_proto([("other", u32)]))
    b.typedef("btf_trace_kfree_skb", b.ptr(b.func_proto([("", void_ptr)] * 4)))
    b.typedef("possible_net_t", b.struct("", 8, [("net", b.restrict(void_ptr), 0)]))
    b.float("double", 8)
    b.datasec(".data", [(b.var("jiffies", u32), 0, 4)])
    b.decl_tag("bpf_kfunc", proto)
    return b.build()
