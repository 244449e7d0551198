# SPDX-License-Identifier: Apache-2.0
"""Programs without descriptors in them: taken out, put in, kept."""

from __future__ import annotations

import struct
import sys

import msgpack

from tracer.kernel.compiled import Compiled, Map, Program


def instruction(code: int, source: int, number: int) -> bytes:
    registers = source << 4 if sys.byteorder == "little" else source
    return struct.pack("=BBhi", code, registers, 0, number)


def map_in(descriptor: int) -> bytes:
    """A map's descriptor, of BPF_PSEUDO_MAP_FD; two instructions."""
    return instruction(0x18, 1, descriptor) + instruction(0, 0, 0)


NUMBER = instruction(0x18, 0, 7) + instruction(0, 0, 7)  # 7 is no descriptor here
EXIT = instruction(0x95, 0, 0)
CODE = map_in(7) + NUMBER + map_in(8) + map_in(7) + EXIT


def test_descriptors_are_taken_out_and_put_in() -> None:
    program = Program.of(CODE, {7: "events", 8: "counts"})
    assert dict(program.maps) == {4: "events", 36: "counts", 52: "events"}
    replaced = program.with_maps({"events": 100, "counts": 101, "other": 102})
    assert replaced == map_in(100) + NUMBER + map_in(101) + map_in(100) + EXIT


def test_an_entry_gives_back_what_was_compiled() -> None:
    compiled = Compiled(
        {"events": Map(27, 0, 0, 1 << 21, 0)}, {"expire": Program.of(map_in(3), {3: "events"})}
    )
    packed = msgpack.packb(compiled.to_entry())
    assert Compiled.from_entry(msgpack.unpackb(packed, strict_map_key=False)) == compiled
