# SPDX-License-Identifier: Apache-2.0
"""A reader of BTF, the kernel's description of its own types.

Just what loading needs: offsets, sizes, enums, parameters of functions. The format is
Documentation/bpf/btf.rst and include/uapi/linux/btf.h. The type section is walked once,
to know where each type begins; everything else is looked up when asked for.

Not libbpf's reader: that of a distribution is older than the kernel it may have to read (it
refuses a kind that it does not know: enum64 before 1.0, which Linux 6.0 and later have), and
it tells of the first of several types of one name only.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn, TypeVar

T = TypeVar("T")

VMLINUX = "/sys/kernel/btf/vmlinux"

_MAGIC = 0xEB9F
_VERSION = 1

_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM = 1, 2, 3, 4, 5, 6
_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _FUNC, _FUNC_PROTO = 8, 9, 10, 11, 12, 13
_FLOAT, _TYPE_TAG, _ENUM64 = 16, 18, 19

_COMPOSITE = frozenset({_STRUCT, _UNION})
_ENUMS = frozenset({_ENUM, _ENUM64})
_MODIFIERS = frozenset({_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG})
_SIZED = frozenset({_INT, _STRUCT, _UNION, _ENUM, _FLOAT, _ENUM64})
_INTS, _TYPEDEFS, _FUNCTIONS = frozenset({_INT}), frozenset({_TYPEDEF}), frozenset({_FUNC})
_NAMED = _SIZED | _TYPEDEFS
_WITHOUT_FLAG = bytes(byte & 0x7F for byte in range(256))
_KEYWORDS = {"struct": frozenset({_STRUCT}), "union": frozenset({_UNION}), "enum": _ENUMS}

# Words that follow the three of a type's header: (once, for each of its vlen).
_EXTRA_WORDS = {
    _INT: (1, 0),
    _PTR: (0, 0),
    _ARRAY: (3, 0),
    _STRUCT: (0, 3),
    _UNION: (0, 3),
    _ENUM: (0, 2),
    7: (0, 0),  # FWD
    _TYPEDEF: (0, 0),
    _VOLATILE: (0, 0),
    _CONST: (0, 0),
    _RESTRICT: (0, 0),
    _FUNC: (0, 0),  # its vlen is the linkage
    _FUNC_PROTO: (0, 2),
    14: (1, 0),  # VAR
    15: (0, 3),  # DATASEC
    _FLOAT: (0, 0),
    17: (1, 0),  # DECL_TAG
    _TYPE_TAG: (0, 0),
    _ENUM64: (0, 3),
}

# Deeper than any C declaration; corrupt data can be circular.
_MAX_DEPTH = 64


class BtfError(Exception):
    """BTF that cannot be had or read; the message is one line."""


class BtfMissing(BtfError):  # noqa: N818 - an absence to handle, not a fault
    """The kernel has no such type or member."""


class Bits(NamedTuple):
    """Where a bit-field lies: ``value = (byte at offset >> shift) & ((1 << width) - 1)``."""

    offset: int  # bytes
    shift: int
    width: int


class _Member(NamedTuple):
    bit: int  # from the start of the outermost struct
    type_id: int
    width: int  # of a bit-field, else 0


class _Steps(dict[int, int]):
    """A type's info word -> the words the whole type takes."""

    def __init__(self, extra: dict[int, tuple[int, int]]) -> None:
        super().__init__()
        self._extra = extra

    def __missing__(self, info: int) -> int:
        # 7 and 24 bits since Linux 7.1; before, 5 and 16, and the others were zero.
        kind = info >> 24 & 0x7F
        if kind not in self._extra:
            raise BtfError(f"unknown BTF kind {kind}")
        once, each = self._extra[kind]
        self[info] = words = 3 + once + each * (info & 0xFFFFFF)
        return words


class Btf:
    """The types of one kernel.

    Every method raises BtfError on data that makes no sense, never anything else.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < 8:
            raise BtfError("not a BTF file: too short")
        self._order: Literal["little", "big"]
        if int.from_bytes(data[:2], "little") == _MAGIC:
            self._order = "little"
        elif int.from_bytes(data[:2], "big") == _MAGIC:
            self._order = "big"
        else:
            raise BtfError("not a BTF file: wrong magic number")
        if data[2] != _VERSION:
            raise BtfError(f"BTF version {data[2]} is not known")
        header_len = int.from_bytes(data[4:8], self._order)
        if header_len < 24 or header_len > len(data) or header_len % 4:
            raise BtfError("truncated BTF: the header is cut off or its length is wrong")
        prefix = "<" if self._order == "little" else ">"
        header = struct.unpack_from(f"{prefix}{header_len // 4 - 2}I", data, 8)
        type_off, type_len, string_off, string_len = header[:4]
        self._strings = _section(data, header_len + string_off, string_len, "string")
        if not self._strings or self._strings[0] or self._strings[-1]:
            raise BtfError("broken BTF: the string section is not terminated")
        types = _section(data, header_len + type_off, type_len, "type")
        if type_off % 4 or len(types) % 4:
            raise BtfError("broken BTF: the type section is not aligned")
        self._words = array("I", types)
        self._top_bytes = types[7 if self._order == "little" else 4 :: 4]
        self._found: dict[tuple[str, frozenset[int]], list[int]] = {}
        self._places: dict[str, _Member] = {}
        self._indexes: dict[frozenset[int], tuple[list[int], list[int]]] = {}
        if self._order != sys.byteorder:
            self._words.byteswap()
        layout = b""
        if len(header) >= 6:
            layout = _section(data, header_len + header[4], header[5], "layout")
        self._starts = self._walk({**_layout_words(layout), **_EXTRA_WORDS})

    @classmethod
    def load(cls, path: str | Path = VMLINUX) -> Btf:
        """Read a raw BTF file, the running kernel's by default."""
        data = read(path)
        try:
            return cls(data)
        except BtfError as error:
            raise BtfError(f"{path}: {error}") from error

    def offset(self, path: str) -> int:
        """Offset in bytes of ``"struct.member[.member...]"``.

        Members of anonymous structs and unions are found by their own name. Pointers
        are not followed. Raises BtfMissing for what is not there, BtfError for a
        bit-field (see :meth:`bits`).
        """
        member = self._locate(path)
        if member.width or member.bit % 8:
            raise BtfError(f"{path} is a bit-field: it has no byte offset")
        return member.bit // 8

    def bits(self, path: str) -> Bits:
        """Where a bit-field of at most one byte lies; raises as :meth:`offset` does."""
        member = self._locate(path)
        if not member.width:
            raise BtfError(f"{path} is not a bit-field")
        offset, first = divmod(member.bit, 8)
        if first + member.width > 8:
            raise BtfError(f"{path} does not lie in one byte")
        # Big-endian machines fill a byte from its highest bit.
        shift = first if self._order == "little" else 8 - first - member.width
        return Bits(offset, shift, member.width)

    def size_of(self, what: str) -> int:
        """Size in bytes of ``"struct X"``, ``"union X"``, ``"enum X"``, a typedef or basic
        type by its bare name, or of the member ``"X.member"``. A flexible array has 0.
        """
        if "." in what:
            member = self._locate(what)
            if member.width:
                raise BtfError(f"{what} is a bit-field: it has no size in bytes")
            return self._size(member.type_id)
        keyword, _, name = what.rpartition(" ")
        if keyword in _KEYWORDS:
            ids = self._named(name, _KEYWORDS[keyword])
        else:
            ids = self._named(what, _SIZED | _TYPEDEFS)
        if not ids:
            raise BtfMissing(f"the kernel's BTF has no {what}")
        return _agreed([self._size(type_id) for type_id in ids], what)

    def has(self, path: str) -> bool:
        """Is there such a struct, union or enum, or, dotted, such a member?"""
        if "." not in path:
            return bool(self._named(path, _COMPOSITE | _ENUMS | _TYPEDEFS))
        try:
            self._locate(path)
        except BtfMissing:
            return False
        return True

    def enum(self, name: str) -> dict[int, str]:
        """Value -> name; of names with the same value the first. Raises BtfMissing."""
        ids = self._named(name, _ENUMS)
        if not ids:
            raise BtfMissing(f"the kernel's BTF has no enum {name}")
        return _agreed([self._values(type_id) for type_id in ids], f"enum {name}")

    def function_parameters(self, name: str) -> list[str] | None:
        """Names of a function's parameters ("" for an unnamed one).

        None if there is no such function, or several different ones of that name.
        """
        found = [
            [self._string(at) for at, _ in self._pairs(self._kinded(proto, _FUNC_PROTO))]
            for proto in (self._words[self._at(i) + 2] for i in self._named(name, _FUNCTIONS))
        ]
        if not found or any(names != found[0] for names in found):
            return None
        return found[0]

    def function_id(self, name: str) -> int | None:
        """The function's BTF id; None as of :meth:`function_parameters`."""
        if self.function_parameters(name) is None:
            return None
        return self._named(name, _FUNCTIONS)[0]

    def tracepoint_arguments(self, name: str) -> int | None:
        """How many arguments a raw tracepoint has; None if there is no such tracepoint.

        From the type of its probes, ``btf_trace_NAME`` (include/trace/bpf_probe.h),
        whose first parameter is the probe's own ``void *``.
        """
        ids = self._named(f"btf_trace_{name}", _TYPEDEFS)
        if not ids:
            return None
        return _agreed([self._probe_arguments(i) for i in ids], f"tracepoint {name}")

    def _walk(self, extra: dict[int, tuple[int, int]]) -> list[int]:
        """Type id -> index of its first word. Id 0 is void; its entry is a filler."""
        infos, steps = self._words[1:], _Steps(extra)
        starts, at = [0], 0
        add = starts.append
        try:
            while True:  # ends by IndexError: this loop is most of the start-up time
                add(at)
                at += steps[infos[at]]
        except IndexError:
            starts.pop()
        if at != len(self._words):
            raise BtfError("truncated BTF: its last type is cut off")
        return starts

    @cached_property
    def _kinds(self) -> bytes:
        """Type id -> kind, void's being 0."""
        kinds = map(self._top_bytes.__getitem__, self._starts[1:])
        return b"\0" + bytes(kinds).translate(_WITHOUT_FLAG)

    def _index(self, kinds: frozenset[int]) -> tuple[list[int], list[int]]:
        """The ids of all types of these kinds, and the offsets of their names."""
        if kinds not in self._indexes:
            chosen = self._kinds.translate(bytes(kind in kinds for kind in range(256)))
            names = map(self._words.__getitem__, compress(self._starts, chosen))
            self._indexes[kinds] = list(compress(range(len(chosen)), chosen)), list(names)
        return self._indexes[kinds]

    @cached_property
    def _pointer_size(self) -> int:
        """A long and a pointer are of one size in the kernel."""
        for name in ("long unsigned int", "unsigned long", "long int"):
            for type_id in self._named(name, _INTS):
                return self._words[self._at(type_id) + 2]
        return 8

    def _at(self, type_id: int) -> int:
        if not 0 < type_id < len(self._starts):
            self._broken(f"no type has the id {type_id}")
        return self._starts[type_id]

    def _kind(self, type_id: int) -> int:
        if type_id >= len(self._kinds):
            self._broken(f"no type has the id {type_id}")
        return self._kinds[type_id]

    def _kinded(self, type_id: int, kind: int) -> int:
        if self._kind(type_id) != kind:
            self._broken(f"type {type_id} is not of kind {kind}")
        return type_id

    def _string(self, offset: int) -> str:
        if offset >= len(self._strings):
            self._broken("a name lies outside the string section")
        end = self._strings.index(b"\0", offset)
        return self._strings[offset:end].decode(errors="replace")

    def _named(self, name: str, kinds: frozenset[int]) -> list[int]:
        """The ids of the types of these kinds with this name, lowest first."""
        if not name or "\0" in name:
            return []
        if (name, kinds) not in self._found:
            self._found[name, kinds] = self._find(name, kinds)
        return self._found[name, kinds]

    def _find(self, name: str, kinds: frozenset[int]) -> list[int]:
        # libbpf and pahole put each string in once, whole.
        offset = self._strings.find(b"\0" + name.encode() + b"\0") + 1
        ids, offsets = self._index(_FUNCTIONS if kinds == _FUNCTIONS else _NAMED)
        found: list[int] = []
        at = -1
        with suppress(ValueError):
            while offset:
                at = offsets.index(offset, at + 1)
                found.append(ids[at])
        return [type_id for type_id in found if self._kinds[type_id] in kinds]

    def _strip(self, type_id: int) -> int:
        """The type behind typedefs and qualifiers."""
        for _ in range(_MAX_DEPTH):
            if self._kind(type_id) not in _MODIFIERS:
                return type_id
            type_id = self._words[self._at(type_id) + 2]
        return self._broken("a chain of typedefs does not end")

    def _size(self, type_id: int) -> int:
        count = 1
        for _ in range(_MAX_DEPTH):
            type_id = self._strip(type_id)
            kind = self._kind(type_id)
            if kind == _PTR:
                return count * self._pointer_size
            if kind in _SIZED:
                return count * self._words[self._at(type_id) + 2]
            if kind != _ARRAY:
                raise BtfError(f"a BTF type of kind {kind} has no size")
            at = self._at(type_id)
            type_id, count = self._words[at + 3], count * self._words[at + 5]
        return self._broken("an array of arrays does not end")

    def _pairs(self, type_id: int) -> Iterator[tuple[int, int]]:
        """Enumerators or parameters: two words each."""
        at = self._at(type_id)
        for i in range(at + 3, at + 3 + 2 * (self._words[at + 1] & 0xFFFFFF), 2):
            yield self._words[i], self._words[i + 1]

    def _triples(self, type_id: int) -> Iterator[tuple[int, int, int]]:
        """Members or 64-bit enumerators: three words each."""
        at = self._at(type_id)
        for i in range(at + 3, at + 3 + 3 * (self._words[at + 1] & 0xFFFFFF), 3):
            yield self._words[i], self._words[i + 1], self._words[i + 2]

    def _values(self, type_id: int) -> dict[int, str]:
        wide = self._kind(type_id) == _ENUM64
        half = 1 << (63 if wide else 31)
        # As libbpf has it: the flag says that the values are signed.
        signed = self._words[self._at(type_id) + 1] >> 31
        entries = (
            ((name, low | high << 32) for name, low, high in self._triples(type_id))
            if wide
            else self._pairs(type_id)
        )
        values: dict[int, str] = {}
        for name, value in entries:
            if signed and value >= half:
                value -= 2 * half
            values.setdefault(value, self._string(name))
        return values

    def _probe_arguments(self, type_id: int) -> int:
        pointer = self._kinded(self._strip(type_id), _PTR)
        proto = self._kinded(self._strip(self._words[self._at(pointer) + 2]), _FUNC_PROTO)
        parameters = self._words[self._at(proto) + 1] & 0xFFFFFF
        if not parameters:
            self._broken("a tracepoint's probe has no parameters")
        return parameters - 1

    def _locate(self, path: str) -> _Member:
        if path not in self._places:
            self._places[path] = self._search(path)
        return self._places[path]

    def _search(self, path: str) -> _Member:
        """A dotted path, in every definition of the struct; they have to agree."""
        owner, *names = path.split(".")
        ids = self._named(owner, _COMPOSITE) or self._named(owner, _TYPEDEFS)
        if not ids:
            raise BtfMissing(f"the kernel's BTF has no struct {owner}")
        found, missing = [], BtfMissing(f"{path} names no member")
        for type_id in ids:
            try:
                found.append(self._follow(type_id, names, path))
            except BtfMissing as error:
                missing = error
        if not found:
            raise missing
        _agreed([(member.bit, member.width) for member in found], path)
        return found[0]

    def _follow(self, type_id: int, names: list[str], path: str) -> _Member:
        place = _Member(0, type_id, 0)
        for i, name in enumerate(names):
            owner = self._strip(place.type_id)
            inner = None
            if self._kind(owner) in _COMPOSITE:
                inner = self._member(owner, name, set())
            if not inner:
                done = ".".join(path.split(".")[: i + 1])
                raise BtfMissing(f"the kernel's {done} has no member {name}")
            place = _Member(place.bit + inner.bit, inner.type_id, inner.width)
        return place

    def _member(self, owner: int, name: str, seen: set[int], depth: int = 0) -> _Member | None:
        """A member of the struct or of an anonymous one in it; None: not there."""
        seen.add(owner)
        if depth > _MAX_DEPTH:
            self._broken("anonymous structs are nested without end")
        flagged = self._words[self._at(owner) + 1] >> 31
        for name_offset, type_id, where in self._triples(owner):
            bit, width = (where & 0xFFFFFF, where >> 24) if flagged else (where, 0)
            found = self._string(name_offset)
            if found and found == name:
                return self._old_bit_field(_Member(bit, type_id, width))
            inner_id = 0 if found else self._strip(type_id)
            if inner_id not in seen and self._kind(inner_id) in _COMPOSITE:
                inner = self._member(inner_id, name, seen, depth + 1)
                if inner:
                    return inner._replace(bit=bit + inner.bit)
        return None

    def _old_bit_field(self, member: _Member) -> _Member:
        """Without the struct's flag, it is the integer type that tells of a bit-field."""
        base = self._strip(member.type_id)
        if member.width or self._kind(base) != _INT:
            return member
        at = self._at(base)
        width, shift = self._words[at + 3] & 0xFF, self._words[at + 3] >> 16 & 0xFF
        if width == 8 * self._words[at + 2] and not shift and not member.bit % 8:
            return member
        return _Member(member.bit + shift, member.type_id, width)

    def _broken(self, why: str) -> NoReturn:
        raise BtfError(f"broken BTF: {why}")


def read(path: str | Path = VMLINUX) -> bytes:
    """A file's bytes. Raises BtfError if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        if isinstance(error, FileNotFoundError) and str(path) == VMLINUX:
            why = "the kernel was built without CONFIG_DEBUG_INFO_BTF"
        raise BtfError(
            f"cannot read BTF from {path}: {why}; give this kernel's BTF by --btf FILE"
        ) from error


def _section(data: bytes, start: int, length: int, name: str) -> bytes:
    if start + length > len(data):
        raise BtfError(f"truncated BTF: the {name} section is cut off")
    return data[start : start + length]


def _layout_words(layout: bytes) -> dict[int, tuple[int, int]]:
    """Sizes of kinds newer than this reader, from struct btf_layout (since Linux 7.1)."""
    if len(layout) % 4:
        raise BtfError("broken BTF: the layout section is not aligned")
    return {
        kind: (once // 4, each // 4)
        for kind, (once, each, _flags) in enumerate(struct.iter_unpack("<BBH", layout))
        if kind and not once % 4 and not each % 4
    }


def _agreed(answers: list[T], what: str) -> T:
    if any(answer != answers[0] for answer in answers):
        raise BtfError(f"the kernel's BTF has several different definitions of {what}")
    return answers[0]
