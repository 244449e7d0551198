# SPDX-License-Identifier: Apache-2.0
"""An engine's programs and maps as the compiler leaves them, without descriptors."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

# struct bpf_insn; loading a 64-bit number takes two (include/uapi/linux/bpf.h).
_INSTRUCTION = struct.Struct("=BBhi")
_LOAD_NUMBER = 0x18
_PSEUDO_MAP_FD = 1


class Map(NamedTuple):
    """What BPF_MAP_CREATE wants to know; ``type`` is of enum bpf_map_type."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


class Program(NamedTuple):
    """``maps``: the byte in ``instructions`` where a map's descriptor belongs -> its name."""

    instructions: bytes
    maps: Mapping[int, str]

    @classmethod
    def of(cls, instructions: bytes, names: Mapping[int, str]) -> Program:
        """Of instructions with descriptors in them; ``names``: of each the map's name."""
        maps = {at: names[descriptor] for at, descriptor in _map_descriptors(instructions)}
        return cls(instructions, maps)

    def with_maps(self, descriptors: Mapping[str, int]) -> bytes:
        """The instructions, with the descriptors of these maps in them."""
        code = bytearray(self.instructions)
        for at, name in self.maps.items():
            struct.pack_into("=i", code, at, descriptors[name])
        return bytes(code)


def _map_descriptors(instructions: bytes) -> Iterator[tuple[int, int]]:
    for nth, (code, registers, _, number) in enumerate(_INSTRUCTION.iter_unpack(instructions)):
        source = registers >> 4 if sys.byteorder == "little" else registers & 0xF
        if code == _LOAD_NUMBER and source == _PSEUDO_MAP_FD:
            yield nth * _INSTRUCTION.size + 4, number


@dataclass(frozen=True, slots=True)
class Compiled:
    """All of one C file, by name."""

    maps: Mapping[str, Map]
    programs: Mapping[str, Program]

    def to_entry(self) -> Any:
        """As msgpack can hold it."""
        return [self.maps, self.programs]

    @classmethod
    def from_entry(cls, entry: Any) -> Compiled:
        maps, programs = entry
        return cls(
            {name: Map(*each) for name, each in maps.items()},
            {name: Program(*each) for name, each in programs.items()},
        )
