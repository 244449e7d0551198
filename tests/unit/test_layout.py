# SPDX-License-Identifier: Apache-2.0
"""C declarations parsed, laid out and unpacked."""

from __future__ import annotations

import ctypes
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.kernel.layout import Field, Header, Hole, LayoutError

EVENT_H = Path(__file__).resolve().parents[2] / "bpf" / "event.h"

TEXT = """\
/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef E_H
#define E_H
#include <linux/types.h>
#define NOT_USED(x) \\
	struct { x }

enum kind { A, B = 5, C, D = 0x10, E = -1, F, OCTAL = 010, AGAIN = B };
enum {{guard}} { LAST = 7u };

struct event { // one line; with a ; and a }
	u8 first;
	u32 second; /* over
	two lines */
	__be32 ip;
	char name[16];
	__u8 mac[6];
	u16 pairs[3];
	__s64 delta;
	u8 last;
};
struct tail { u64 a; char c; };
#endif
""".replace("{{guard}}", "word")

CTYPES = {
    "char": ctypes.c_char,
    "u8": ctypes.c_uint8,
    "s16": ctypes.c_int16,
    "__be16": ctypes.c_uint16,
    "__u32": ctypes.c_uint32,
    "s32": ctypes.c_int32,
    "u64": ctypes.c_uint64,
    "__s64": ctypes.c_int64,
}


def test_offsets_sizes_and_padding() -> None:
    event = Header.parse(TEXT).structs["event"]
    assert event.fields == (
        Field("first", 0, 1, "u8", None),
        Field("second", 4, 4, "u32", None),
        Field("ip", 8, 4, "__be32", None),
        Field("name", 12, 16, "char", 16),
        Field("mac", 28, 6, "__u8", 6),
        Field("pairs", 34, 6, "u16", 3),
        Field("delta", 40, 8, "__s64", None),
        Field("last", 48, 1, "u8", None),
    )
    assert (event.name, event.size, event.alignment) == ("event", 56, 8)
    assert event.holes == (Hole(1, 3), Hole(49, 7))


def test_trailing_padding() -> None:
    tail = Header.parse(TEXT).structs["tail"]
    assert (tail.size, tail.holes) == (16, (Hole(9, 7),))
    assert tail.unpack(struct.pack("=Qc7x", 3, b"z")) == (3, "z")


def test_enums() -> None:
    assert Header.parse(TEXT).enums == {
        "kind": {"A": 0, "B": 5, "C": 6, "D": 16, "E": -1, "F": 0, "OCTAL": 8, "AGAIN": 5},
        "word": {"LAST": 7},
    }


def test_an_enumerator_is_an_array_length() -> None:
    header = Header.parse("enum n { LEN = 3, };\nstruct s { u32 a[LEN]; };")
    assert header.structs["s"].size == 12


def test_unpack() -> None:
    data = struct.pack(
        "=B3xI4s16s6s3HqB7x",
        1, 2**32 - 1, b"\xa9\xfe\x01\x01", b"cali1\0junk", b"\xee" * 6, 1, 2, 65535, -3, 7,
    )  # fmt: skip
    event = Header.parse(TEXT).structs["event"].unpack(data)
    assert socket.inet_ntoa(struct.pack("=I", event.ip)) == "169.254.1.1"
    assert event._replace(ip=0) == (
        1, 2**32 - 1, 0, "cali1", b"\xee" * 6, (1, 2, 65535), -3, 7,
    )  # fmt: skip
    assert event.name == "cali1"
    assert event.delta == -3


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"0123456789abcdef", "0123456789abcdef"),  # no NUL at all
        (b"\0", ""),
        (b"caf\xc3\xa9", "café"),
        (b"\xff\xfe", r"\xff\xfe"),
    ],
)
def test_text(raw: bytes, text: str) -> None:
    layout = Header.parse("struct s { char name[16]; };").structs["s"]
    assert layout.unpack(raw.ljust(16, b"\0")).name == text


def test_any_buffer_of_at_least_its_size() -> None:
    layout = Header.parse("struct s { u32 a; };").structs["s"]
    data = struct.pack("=II", 7, 8)
    buffers = [data, bytearray(data), memoryview(data), ctypes.create_string_buffer(data, 8)]
    assert [layout.unpack(buffer).a for buffer in buffers] == [7, 7, 7, 7]
    with pytest.raises(LayoutError, match="struct s has 4 bytes, the buffer fewer"):
        layout.unpack(data[:3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("struct s { int a; };", "header:1: type 'int' is not understood"),
        ("struct s {\nunsigned int a; };", "header:2: type 'unsigned' is not understood"),
        ("struct s { struct t a; };", "header:1: type 'struct' is not understood"),
        ("struct s { enum t a; };", "header:1: type 'enum' is not understood"),
        ("struct s { u8 *a; };", "header:1: '*' is not understood"),
        ("struct s { u8 a:3; };", "header:1: ':' is not understood"),
        ("struct s { u8 a, b; };", "header:1: expected ';', not ','"),
        ("struct s { u8 a[2][3]; };", "header:1: expected ';', not '['"),
        ("struct s { u8 a[0]; };", "header:1: array a has no elements"),
        ("struct s { u8 a[]; };", "header:1: expected a number, not ']'"),
        ("struct s { u8 a[N]; };", "header:1: expected a number, not 'N'"),
        ("#define N 4\nstruct s { u8 a[N]; };", "header:2: the macro N is not expanded"),
        ("#define u8 u64\nstruct s { u8 a; };", "header:2: the macro u8 is not expanded"),
        ("struct s { u8 a; u8 a; };", "header:1: field a is declared twice"),
        ("struct s { u8 a; };\nstruct s { u8 a; };", "header:2: struct s is declared twice"),
        ("enum e { A, A };", "header:1: A is declared twice"),
        ("enum e { A };\nenum f { A };", "header:2: A is declared twice"),
        ("enum e { A = 1 << 2 };", "header:1: '<' is not understood"),
        ("enum e { A = B };", "header:1: expected a number, not 'B'"),
        ("enum e { A = 08 };", "header:1: expected a number, not '08'"),
        ("enum e { };", "header:1: an enum without values"),
        ("struct s { };", "header:1: struct s is empty"),
        ("struct s { u8 a; } __attribute__((packed));", "header:1: '(' is not understood"),
        ("struct s { u8 a; } packed;", "header:1: expected ';', not 'packed'"),
        ("struct { u8 a; };", "header:1: expected a name, not '{'"),
        ("struct s { u8 a;", "header:1: the text ends in the middle of a declaration"),
        ("struct s", "header:1: the text ends in the middle of a declaration"),
        ("typedef u8 t;", "header:1: expected '{', not 't'"),
        ("union s { u8 a; };", "header:1: expected struct or enum, not 'union'"),
        ("static u8 a;", "header:1: expected '{', not 'a'"),
        ("\n#ifdef X\nstruct s { u8 a; };\n#endif", "header:2: #ifdef is not understood"),
        ("#ifndef X\nstruct s { u8 a; };\n#endif", "header:1: #ifndef is not understood"),
        ("#ifndef\n#define\n#endif\n#pragma pack(1)", "header:1: #ifndef is not understood"),
        ("#pragma pack(1)\nstruct s { u8 a; };", "header:1: #pragma is not understood"),
        ("struct s { u8 class; };", "header:1: struct s: Type names and field names cannot be"),
        ("struct s { u8 _a; };", "header:1: struct s: Field names cannot start with"),
        ("/* never closed\nstruct s { u8 a; };", "header:1: '/' is not understood"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, message: str) -> None:
    with pytest.raises(LayoutError) as raised:
        Header.parse(text)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


FIELDS = st.lists(
    st.tuples(st.sampled_from(sorted(CTYPES)), st.none() | st.integers(1, 19)),
    min_size=1,
    max_size=13,
)


@given(FIELDS, st.data())
def test_agrees_with_ctypes(fields: list[tuple[str, int | None]], data: st.DataObject) -> None:
    """ctypes lays structs out as this machine's C compiler does."""
    lines, declared = [], []
    for i, (ctype, count) in enumerate(fields):
        lines.append(f"{ctype} f{i}{'' if count is None else f'[{count}]'};")
        declared.append((f"f{i}", CTYPES[ctype] * count if count else CTYPES[ctype]))
    oracle = type("Oracle", (ctypes.Structure,), {"_fields_": declared})
    layout = Header.parse(f"struct s {{ {' '.join(lines)} }};").structs["s"]
    assert (layout.size, layout.alignment) == (ctypes.sizeof(oracle), ctypes.alignment(oracle))
    for field in layout.fields:
        slot = getattr(oracle, field.name)
        assert (field.offset, field.size) == (slot.offset, slot.size), field
    assert sum(f.size for f in layout.fields) + sum(h.size for h in layout.holes) == layout.size

    raw = data.draw(st.binary(min_size=layout.size, max_size=layout.size))
    expected, unpacked = oracle.from_buffer_copy(raw), layout.unpack(raw)
    for (ctype, count), field in zip(fields, layout.fields, strict=True):
        here, there = getattr(unpacked, field.name), getattr(expected, field.name)
        if ctype == "char":
            there = bytes(there).partition(b"\0")[0].decode(errors="backslashreplace")
        elif count is not None:
            there = bytes(there) if ctype == "u8" else tuple(there)
        assert here == there, field


@given(st.text(alphabet="structenm {}[];,=_#/*\n09xu8 AB", max_size=60))
def test_noise_is_parsed_or_refused(text: str) -> None:
    try:
        header = Header.parse(text)
    except LayoutError:
        return
    assert all(layout.size > 0 for layout in header.structs.values())


def test_the_events_have_no_padding_of_the_compilers() -> None:
    """Its bytes would be unset stack memory: the verifier refuses, or it leaks."""
    header = Header.parse(EVENT_H.read_text(), "event.h")
    assert {"request_event", "neighbour_event"} <= set(header.structs)
    assert {name: layout.holes for name, layout in header.structs.items() if layout.holes} == {}
