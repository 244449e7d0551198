# SPDX-License-Identifier: Apache-2.0
"""Names as they may be shown: an interface's name can hold an escape sequence."""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def printable(text: str) -> str:
    """``text`` with everything a terminal could act upon written as ``\\x1b`` or ``\\u202e``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def without_surrogates(text: str) -> str:
    """``text`` with what was no UTF-8 written as ``\\xff``: no encoder or parser refuses it."""
    return _SURROGATE.sub(lambda match: _escaped(match[0]), text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, by the error handler surrogateescape
        code -= 0xDC00
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
