# SPDX-License-Identifier: Apache-2.0
"""What is wanted of the kernel's BTF, all at once: looking it up takes 50 ms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tracer.kernel import headers
from tracer.kernel.btf import Btf


@dataclass(frozen=True, slots=True)
class Description:
    """``structs`` is C, ``macros`` go with it. ``drop_reasons``: number -> name.

    ``functions``: the BTF ids of those to be probed, as far as BTF has them.
    """

    structs: str
    macros: dict[str, str]
    drop_reasons: dict[int, str]
    functions: dict[str, int]

    @classmethod
    def of(cls, btf: Btf, functions: Iterable[str]) -> Description:
        """Raises BtfError."""
        ids = {name: btf.function_id(name) for name in functions}
        macros = {
            # Packet sockets by namespace come after arp_rcv (net/core/dev.c, 6.15).
            "ARP_IN_COMES_LATE": str(int(btf.has("net.ptype_specific"))),
            **headers.feature_defines(btf),
        }
        return cls(
            headers.closer_definitions(btf),
            macros,
            headers.enum_names(btf),
            {name: number for name, number in ids.items() if number is not None},
        )

    def to_entry(self) -> Any:
        """As msgpack can hold it."""
        return [self.structs, self.macros, list(self.drop_reasons.items()), self.functions]

    @classmethod
    def from_entry(cls, entry: Any) -> Description:
        structs, macros, drop_reasons, functions = entry
        return cls(structs, macros, dict(drop_reasons), functions)
