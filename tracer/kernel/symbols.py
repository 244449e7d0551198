# SPDX-License-Identifier: Apache-2.0
"""The kernel's symbols, from /proc/kallsyms: which functions there are, and where."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from functools import cached_property
from itertools import pairwise
from pathlib import Path

KALLSYMS = "/proc/kallsyms"

# Further than any function is long: the address is in no function that is listed.
_MAX_OFFSET = 1 << 20
_TEXT = (b" t ", b" T ", b" w ", b" W ")


class SymbolsError(Exception):
    """The symbols cannot be read; the message is one line."""


class Symbols:
    """The symbols as they are when first asked for; load again once modules have come.

    Any method raises SymbolsError if the file cannot be read.
    """

    def __init__(self, path: str | Path = KALLSYMS) -> None:
        self._path = Path(path)

    @classmethod
    def load(cls, path: str | Path = KALLSYMS) -> Symbols:
        """Nothing is read before the first question."""
        return cls(path)

    def has(self, name: str) -> bool:
        """Is there a symbol of exactly this name (so not its ``.cold`` twin)?"""
        return self._line(name) is not None

    def address(self, name: str) -> int | None:
        """Its address, the first one's if the name is used twice.

        None if there is no such symbol, or if the kernel hides addresses (:attr:`hidden`).
        """
        line = self._line(name)
        return int(line.split(b" ", 1)[0], 16) or None if line else None

    def name(self, address: int) -> str | None:
        """The function at an address as ``"nft_do_chain+0x12"``, or bare if at its start.

        An address in a function's ``.cold`` part gives the bare name too: its distance
        says nothing. None for what is in no function, or if addresses are hidden.
        """
        if self.hidden or address < 0:
            return None
        key = b"%0*x" % (self._digits, address)
        # "~" sorts after the space that follows an address: past every line of this one.
        at = bisect_right(self._text, key + b"~") - 1
        if at < 0:
            return None
        start = int(self._text[at][: self._digits], 16)
        if address - start > _MAX_OFFSET:
            return None
        name = self._name_at(at)
        base, cold, _ = name.partition(".cold")
        return base if cold or address == start else f"{name}+{address - start:#x}"

    def extents(self, names: Collection[str]) -> tuple[tuple[int, int, str], ...]:
        """(first address, address after the last, name) of these functions.

        A function's clones (``.constprop.0``, ``.isra.0``, ``.cold``) count as it. Empty if
        addresses are hidden.
        """
        if self.hidden:
            return ()
        wanted = {name.encode() for name in names}
        digits = self._digits
        found = []
        end = None
        for line, following in pairwise(reversed(self._text)):
            # Backwards, for a function may have several names, one line each.
            if line[:digits] != following[:digits]:
                end = int(line[:digits], 16)
            name = following[digits + 3 :].split(b"\t")[0].split(b".")[0]
            if name in wanted and end is not None:
                found.append((int(following[:digits], 16), end, name.decode()))
        return tuple(sorted(found))

    @property
    def hidden(self) -> bool:
        """Are all addresses zero (kptr_restrict, or not enough privilege)?"""
        return not self._text or not int(self._text[-1][: self._digits], 16)

    @cached_property
    def _data(self) -> bytes:
        try:
            return b"\n" + self._path.read_bytes()
        except OSError as error:
            raise SymbolsError(
                f"cannot read the kernel's symbols from {self._path}: {error.strerror}"
            ) from error

    @cached_property
    def _digits(self) -> int:
        return self._data.find(b" ") - 1

    @cached_property
    def _text(self) -> list[bytes]:
        """The lines of functions in the order of their addresses.

        The digits are padded to one width, so the order of the bytes is that of the numbers.
        """
        digits = self._digits
        kind = slice(digits, digits + 3)
        # Sorting is quick: the file is nearly in order.
        return sorted(line for line in self._data.split(b"\n") if line[kind] in _TEXT)

    def _name_at(self, at: int) -> str:
        """Of several names for one address, a global one if there is one."""
        address = self._text[at][: self._digits]
        first = at
        while first and self._text[first - 1].startswith(address):
            first -= 1
        # Upper-case types sort first: "T" and "W" are global.
        return self._text[first][self._digits + 3 :].split(b"\t")[0].decode(errors="replace")

    def _line(self, name: str) -> bytes | None:
        key = b" " + name.encode()
        for end in (b"\n", b"\t"):  # a module's name follows the tab
            at = self._data.find(key + end)
            if at >= 0:
                return self._data[self._data.rfind(b"\n", 0, at) + 1 : at]
        return None
