# SPDX-License-Identifier: Apache-2.0
"""States of neighbour entries: NUD_* of include/uapi/linux/neighbour.h, in lower case."""

from __future__ import annotations

NUD_NAMES = {
    0x00: "none",
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x40: "noarp",
    0x80: "permanent",
}


def nud_name(state: int) -> str:
    return NUD_NAMES.get(state, f"{state:#04x}")
