# SPDX-License-Identifier: Apache-2.0
"""The kernel's symbols, from /proc/kallsyms: which functions there are, and where."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

KALLSYMS = "/proc/kallsyms"

# Further than any function is long: the address is in no function that is listed.
_MAX_OFFSET = 1 << 20
_TEXT = (b" t ", b" T ", b" w ", b" W ")
# What may follow a function's name: the line's end, a module's name, a clone's suffix.
_ENDS = (b"\n", b"\t", b".")


class SymbolsError(Exception):
    """The symbols cannot be read; the message is one line."""


class Symbols:
    """The symbols as they are when first asked for; load again once modules have come.

    Any method raises SymbolsError if the file cannot be read.
    """

    def __init__(self, path: str | Path = KALLSYMS, answers: dict[str, Any] | None = None) -> None:
        self._path = Path(path)
        # What was asked and answered; as msgpack can hold it.
        self.answers: dict[str, Any] = {} if answers is None else answers

    @classmethod
    def load(cls, path: str | Path = KALLSYMS, answers: dict[str, Any] | None = None) -> Symbols:
        """Nothing is read before the first question that ``answers`` does not know.

        ``answers``: of one that was asked before, while :func:`state` was the same.
        """
        return cls(path, answers)

    def _answer(self, question: str, find: Callable[[], Any]) -> Any:
        if question not in self.answers:
            self.answers[question] = find()
        return self.answers[question]

    def has(self, name: str) -> bool:
        """Is there a symbol of exactly this name (so not its ``.cold`` twin)?"""
        return bool(self._answer(f"has {name}", lambda: self._line(name) is not None))

    def address(self, name: str) -> int | None:
        """Its address, the first one's if the name is used twice.

        None if there is no such symbol, or if the kernel hides addresses (:attr:`hidden`).
        """
        found = self._answer(f"address {name}", lambda: self._address(name))
        return None if found is None else int(found)

    def _address(self, name: str) -> int | None:
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

    def extents(self, names: Iterable[str]) -> tuple[tuple[int, int, str], ...]:
        """(first address, address after the last, name) of these functions.

        A function's clones (``.constprop.0``, ``.isra.0``, ``.cold``) count as it. The end
        is where the next symbol of the file begins, which is in the order of addresses
        (kernel/kallsyms.c). Empty if addresses are hidden.
        """
        if self.hidden:
            return ()
        return tuple(
            (first, end, name)
            for name in names
            for first, end in self._answer(f"extents {name}", lambda: list(self._extents(name)))  # noqa: B023
        )

    def _extents(self, name: str) -> Iterator[tuple[int, int]]:
        data, digits = self._data, self._digits
        key = b" " + name.encode()
        at = data.find(key)
        while at >= 0:
            line = at - digits - 2
            if data[at - 2 : at + 1] in _TEXT and data[at + len(key) : at + len(key) + 1] in _ENDS:
                first = following = data[line : line + digits]
                while following == first:  # a function may have several names
                    line = data.find(b"\n", line) + 1
                    following = data[line : line + digits]
                if following:
                    yield int(first, 16), int(following, 16)
            at = data.find(key, at + 1)

    @property
    def hidden(self) -> bool:
        """Are all addresses zero (kptr_restrict, or not enough privilege)?"""
        return bool(self._answer("hidden", self._hidden))

    def _hidden(self) -> bool:
        last = self._data.rfind(b"\n", 0, -1) + 1  # the first lines may be per-CPU: 0
        return not self._data[last : last + self._digits].strip(b"0")

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


def state() -> str:
    """Differs if an answer may: at each boot, with other modules, with addresses hidden.

    Raises SymbolsError.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        with Path(KALLSYMS).open("rb", buffering=0) as file:
            first = file.read(4096)
    except OSError as error:
        raise SymbolsError(
            f"cannot read the kernel's symbols: {error.filename}: {error.strerror}"
        ) from error
    shown = any(line.split(b" ")[0].strip(b"0") for line in first.splitlines()[:-1])
    modules = Path("/proc/modules")  # a kernel may be without
    loaded = [each.split() for each in modules.read_text().splitlines()] if modules.exists() else []
    # Name, size and address: not how many use it.
    return " ".join((boot, str(shown), *(f"{m[0]} {m[1]} {m[5]}" for m in loaded)))
