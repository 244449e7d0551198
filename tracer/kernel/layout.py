# SPDX-License-Identifier: Apache-2.0
"""The layout of the structs that the kernel side hands over, from their C declaration.

Understood are flat structs of fixed-width integers and arrays of them, enums with integer
values, comments, an include guard, ``#include`` and ``#define``. Anything else is an
error, never a guess.
"""

from __future__ import annotations

import re
import struct
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

# C type -> (format character of struct, bytes). Natural alignment: its size.
_TYPES = {
    "char": ("c", 1),
    **{f"{p}{s}8": (c, 1) for p in ("", "__") for s, c in (("u", "B"), ("s", "b"))},
    **{f"{p}{s}16": (c, 2) for p in ("", "__") for s, c in (("u", "H"), ("s", "h"))},
    **{f"{p}{s}32": (c, 4) for p in ("", "__") for s, c in (("u", "I"), ("s", "i"))},
    **{f"{p}{s}64": (c, 8) for p in ("", "__") for s, c in (("u", "Q"), ("s", "q"))},
    "__be16": ("H", 2),
    "__be32": ("I", 4),
    "__be64": ("Q", 8),
}

_TOKEN = re.compile(
    r"(?P<blank>\s+|/\*.*?\*/|//[^\n]*)"
    r"|(?P<directive>^[ \t]*\#(?:[^\\\n]|\\.)*$)"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<number>-?\d\w*)|(?P<sign>[{}\[\];,=])",
    re.DOTALL | re.MULTILINE,
)


class LayoutError(Exception):
    """A declaration that is not understood, or a buffer that does not fit one."""


@dataclass(frozen=True)
class Field:
    """``count`` is None for a scalar, else the length of an array of ``type``."""

    name: str
    offset: int  # bytes
    size: int  # bytes, of the whole array
    type: str
    count: int | None


class Hole(NamedTuple):
    """Padding that the compiler puts in, whose bytes nobody sets."""

    offset: int
    size: int


@dataclass(frozen=True)
class Layout:
    """One struct. ``fields`` are all of them, in order."""

    name: str
    size: int  # bytes
    alignment: int
    fields: tuple[Field, ...]
    holes: tuple[Hole, ...]
    _struct: struct.Struct = field(repr=False)
    _make: Callable[[list[Any]], Any] = field(repr=False)
    _conversions: tuple[tuple[int, Callable[[Any], Any]], ...] = field(repr=False)

    def unpack(self, buffer: Any) -> Any:
        """One struct at the start of a buffer, as a named tuple of its fields.

        Integers are read as C reads them, ``__be32`` too: it is
        ``struct.pack("=I", value)`` that gives the address's bytes. ``char[]`` is a str up
        to its first NUL, ``u8[]`` bytes, any other array a tuple of ints. Raises
        LayoutError for a buffer that is too short.
        """
        try:
            values: list[Any] = list(self._struct.unpack_from(buffer))
        except struct.error:
            raise LayoutError(
                f"struct {self.name} has {self.size} bytes, the buffer fewer"
            ) from None
        for at, convert in self._conversions:
            values[at] = convert(values[at])
        return self._make(values)


@dataclass(frozen=True)
class Header:
    """What a header declares, by name."""

    structs: dict[str, Layout]
    enums: dict[str, dict[str, int]]

    @classmethod
    def parse(cls, text: str, source: str = "header") -> Header:
        """Parse a header's text; a LayoutError begins with ``source`` and the line."""
        return _Parser(text, source).header()


class _Parser:
    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._line = 1
        self._macros: set[str] = set()
        self._tokens = list(self._scan(text))
        self._next = 0
        self._constants: dict[str, int] = {}

    def header(self) -> Header:
        structs: dict[str, Layout] = {}
        enums: dict[str, dict[str, int]] = {}
        while self._next < len(self._tokens):
            keyword, name = self._word(), self._word()
            if name in (structs if keyword == "struct" else enums):
                self._fail(f"{keyword} {name} is declared twice")
            self._expect("{")
            if keyword == "struct":
                structs[name] = self._struct(name)
            elif keyword == "enum":
                enums[name] = self._enum()
            else:
                self._fail(f"expected struct or enum, not {keyword!r}")
        return Header(structs, enums)

    def _scan(self, text: str) -> Iterator[tuple[str, int]]:
        at, directives = 0, []
        while at < len(text):
            match = _TOKEN.match(text, at)
            if not match:
                self._fail(f"{text[at]!r} is not understood")
            if match.lastgroup == "directive":
                directives.append((match[0].strip(), self._line))
            elif match.lastgroup != "blank":
                yield match[0], self._line
            self._line += match[0].count("\n")
            at = match.end()
        self._check_directives(directives)

    def _check_directives(self, directives: list[tuple[str, int]]) -> None:
        """What is compiled must not depend on a condition, but for the guard."""
        words = [(re.split(r"\W+", text[1:].strip()), line) for text, line in directives]
        names = [word[0] for word, _ in words]
        guarded = names[:2] == ["ifndef", "define"] and names[-1] == "endif"
        if guarded and words[0][0][1:] == words[1][0][1:]:
            words = words[1:-1]
        for word, self._line in words:
            if word[0] == "define":
                self._macros |= set(word[1:2])
            if word[0] not in {"define", "include"} and word[:2] != ["pragma", "once"]:
                self._fail(f"#{word[0]} is not understood")

    def _struct(self, name: str) -> Layout:
        fields: list[Field] = []
        holes: list[Hole] = []
        end, alignment = 0, 1
        while not self._accept("}"):
            ctype = self._word()
            if ctype not in _TYPES:
                self._fail(f"type {ctype!r} is not understood")
            member, count = self._word(), None
            if self._accept("["):
                count = self._integer()
                self._expect("]")
                if count < 1:
                    self._fail(f"array {member} has no elements")
            self._expect(";")
            if any(member == other.name for other in fields):
                self._fail(f"field {member} is declared twice")
            unit = _TYPES[ctype][1]
            offset = -end % unit + end
            if offset > end:
                holes.append(Hole(end, offset - end))
            fields.append(Field(member, offset, unit * (count or 1), ctype, count))
            end, alignment = offset + fields[-1].size, max(alignment, unit)
        self._expect(";")
        if not fields:
            self._fail(f"struct {name} is empty")
        size = -end % alignment + end
        if size > end:
            holes.append(Hole(end, size - end))
        try:
            return _layout(name, size, alignment, fields, holes)
        except ValueError as error:  # a name that Python does not take
            self._fail(f"struct {name}: {error}")

    def _enum(self) -> dict[str, int]:
        values: dict[str, int] = {}
        value = -1
        while not self._accept("}"):
            name = self._word()
            if name in self._constants:
                self._fail(f"{name} is declared twice")
            value = self._integer() if self._accept("=") else value + 1
            values[name] = self._constants[name] = value
            if not self._accept(","):
                self._expect("}")
                break
        self._expect(";")
        if not values:
            self._fail("an enum without values")
        return values

    def _integer(self) -> int:
        """A number, or an earlier enumerator's name."""
        token = self._take()
        if token in self._constants:
            return self._constants[token]
        match = re.fullmatch(r"(-?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)[uUlL]{0,3}", token)
        if not match:
            self._fail(f"expected a number, not {token!r}")
        sign, digits = match.groups()
        octal = digits[0] == "0" and digits.isdigit()
        return int(sign + digits, 8 if octal else 0)

    def _take(self) -> str:
        if self._next == len(self._tokens):
            self._fail("the text ends in the middle of a declaration")
        token, self._line = self._tokens[self._next]
        self._next += 1
        if token in self._macros:
            self._fail(f"the macro {token} is not expanded")
        return token

    def _word(self) -> str:
        token = self._take()
        if not re.fullmatch(r"[A-Za-z_]\w*", token):
            self._fail(f"expected a name, not {token!r}")
        return token

    def _accept(self, sign: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next][0] == sign:
            self._next += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        token = self._take()
        if token != sign:
            self._fail(f"expected {sign!r}, not {token!r}")

    def _fail(self, why: str) -> NoReturn:
        raise LayoutError(f"{self._source}:{self._line}: {why}")


def _layout(name: str, size: int, alignment: int, fields: list[Field], holes: list[Hole]) -> Layout:
    """Raises ValueError if a field's name cannot be one of a named tuple."""
    tuple_type = namedtuple(name, [f.name for f in fields])  # type: ignore[misc]
    formats, conversions, end = "=", [], 0
    for at, member in enumerate(fields):
        character, convert = _format(member)
        formats += f"{member.offset - end}x{character}"
        end = member.offset + member.size
        if convert:
            conversions.append((at, convert))
    packed = struct.Struct(f"{formats}{size - end}x")
    if packed.size != size:
        raise AssertionError(f"struct {name}: {packed.size} bytes unpacked, {size} declared")
    return Layout(
        name,
        size,
        alignment,
        tuple(fields),
        tuple(holes),
        packed,
        tuple_type._make,
        tuple(conversions),
    )


def _format(member: Field) -> tuple[str, Callable[[Any], Any] | None]:
    """How the struct module is to read a field, and what is done to it after."""
    character, _ = _TYPES[member.type]
    raw = f"{member.size}s"
    if member.type == "char":
        return raw, _text
    if member.count is None:
        return character, None
    if character == "B":
        return raw, None
    return raw, struct.Struct(f"={member.count}{character}").unpack


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode(errors="backslashreplace")
