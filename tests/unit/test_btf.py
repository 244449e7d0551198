# SPDX-License-Identifier: Apache-2.0
"""The BTF reader against hand-made blobs, garbage, and the running kernel."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from btf_blob import Blob, example
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.kernel.btf import VMLINUX, Bits, Btf, BtfError, BtfMissing

needs_kernel_btf = pytest.mark.skipif(
    not Path(VMLINUX).is_file(), reason=f"the kernel has no BTF ({VMLINUX})"
)


@pytest.fixture(params=["<", ">"], ids=["little", "big"])
def btf(request: pytest.FixtureRequest) -> Btf:
    return Btf(example(request.param))


@pytest.mark.parametrize(
    ("path", "offset"),
    [
        ("net_device.ifindex", 20),
        ("net_device.name", 0),
        ("sk_buff.next", 0),
        ("sk_buff.dev", 8),  # in a struct in a union, both anonymous
        ("sk_buff.list", 0),
        ("sk_buff.protocol", 20),
        ("sk_buff.nested", 24),
        ("sk_buff.nested.high", 28),  # through const
        ("sk_buff.tail", 60),
        ("possible_net_t.net", 0),  # a struct known by its typedef only
    ],
)
def test_offset(btf: Btf, path: str, offset: int) -> None:
    assert btf.offset(path) == offset
    assert btf.has(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("sk_buff.alloc_cpu", "the kernel's sk_buff has no member alloc_cpu"),
        ("sk_buff.nested.none", "the kernel's sk_buff.nested has no member none"),
        ("sk_buff.dev.ifindex", "the kernel's sk_buff.dev has no member ifindex"),  # a pointer
        ("sk_buff.cb.low", "the kernel's sk_buff.cb has no member low"),  # an array
        ("no_such.dev", "the kernel's BTF has no struct no_such"),
        ("only_declared.dev", "the kernel's BTF has no struct only_declared"),
        ("sk_buff.", "the kernel's sk_buff has no member "),
        ("arp_rcv.skb", "the kernel's BTF has no struct arp_rcv"),
    ],
)
def test_absent_member(btf: Btf, path: str, message: str) -> None:
    assert not btf.has(path)
    with pytest.raises(BtfMissing) as raised:
        btf.offset(path)
    assert str(raised.value) == message


def test_bit_fields_have_no_byte_offset(btf: Btf) -> None:
    for path in ("sk_buff.pkt_type", "sk_buff.cloned", "old_bits.flag"):
        assert btf.has(path)
        with pytest.raises(BtfError, match="is a bit-field"):
            btf.offset(path)
        with pytest.raises(BtfError, match="is a bit-field"):
            btf.size_of(path)


def test_bits() -> None:
    little, big = Btf(example("<")), Btf(example(">"))
    assert little.bits("sk_buff.pkt_type") == Bits(offset=16, shift=0, width=3)
    assert little.bits("sk_buff.cloned") == Bits(offset=16, shift=3, width=1)
    assert little.bits("old_bits.flag") == Bits(offset=1, shift=2, width=5)
    assert big.bits("sk_buff.pkt_type") == Bits(offset=16, shift=5, width=3)
    assert big.bits("sk_buff.cloned") == Bits(offset=16, shift=4, width=1)
    with pytest.raises(BtfError, match="does not lie in one byte"):
        little.bits("sk_buff.wide")
    with pytest.raises(BtfError, match="not a bit-field"):
        little.bits("sk_buff.dev")


@pytest.mark.parametrize(
    ("what", "size"),
    [
        ("struct sk_buff", 64),
        ("sk_buff", 64),
        ("struct net_device", 40),
        ("enum skb_drop_reason", 4),
        ("enum big", 8),
        ("__be16", 2),
        ("double", 8),
        ("unsigned char", 1),
        ("net_device.name", 16),
        ("sk_buff.dev", 8),
        ("sk_buff.cb", 24),
        ("sk_buff.tail", 0),
        ("sk_buff.nested.high", 4),
    ],
)
def test_size_of(btf: Btf, what: str, size: int) -> None:
    assert btf.size_of(what) == size


@pytest.mark.parametrize("what", ["struct none", "union sk_buff", "enum sk_buff", "struct", ""])
def test_size_of_the_absent(btf: Btf, what: str) -> None:
    with pytest.raises(BtfMissing):
        btf.size_of(what)


def test_pointers_of_a_32_bit_kernel_have_4_bytes() -> None:
    b = Blob()
    b.int("long unsigned int", 4)
    b.struct("s", 4, [("p", b.ptr(0), 0)])
    assert Btf(b.build()).size_of("s.p") == 4


def test_enum(btf: Btf) -> None:
    assert btf.enum("skb_drop_reason") == {0: "A", 1: "B", 0xFFFF0000: "MASK"}
    assert btf.enum("signed") == {-2: "MINUS", 0: "ZERO"}
    assert btf.enum("big") == {1 << 40: "HUGE", (1 << 64) - 1: "TOP"}
    assert btf.enum("big_signed") == {-(1 << 40): "MINUS"}
    assert btf.has("skb_drop_reason")
    assert not btf.has("arp_rcv")
    with pytest.raises(BtfMissing, match="no enum sk_buff"):
        btf.enum("sk_buff")


def test_function_parameters(btf: Btf) -> None:
    assert btf.function_parameters("arp_rcv") == ["skb", "dev", ""]
    assert btf.function_parameters("no_parameters") == []
    assert btf.function_parameters("none") is None
    assert btf.function_parameters("twice") is None  # two, and they differ


def test_tracepoint_arguments(btf: Btf) -> None:
    assert btf.tracepoint_arguments("kfree_skb") == 3
    assert btf.tracepoint_arguments("none") is None


def test_definitions_that_disagree_are_refused() -> None:
    b = Blob()
    u32 = b.int("unsigned int", 4)
    b.struct("same", 8, [("a", u32, 0), ("b", u32, 32), ("only_here", u32, 32)])
    b.struct("same", 8, [("a", u32, 0), ("b", u32, 0)])
    btf = Btf(b.build())
    assert btf.offset("same.a") == 0
    assert btf.offset("same.only_here") == 4
    with pytest.raises(BtfError, match=r"several different definitions of same\.b"):
        btf.offset("same.b")


def test_a_kind_of_the_future_is_skipped_by_its_layout() -> None:
    b = Blob()
    u32 = b.int("unsigned int", 4)
    b.add(23, "news", 0, [7, 1, 2, 3, 4], vlen=2)  # one word, then two a piece
    b.struct("s", 4, [("a", u32, 0)])
    with pytest.raises(BtfError, match=r"^unknown BTF kind 23$"):
        Btf(b.build())
    b.layout = bytes(23 * 4) + struct.pack("<BBH", 4, 8, 0)
    assert Btf(b.build()).size_of("s.a") == 4


def test_more_members_than_16_bits_count() -> None:
    b = Blob()
    u8 = b.int("unsigned char", 1)
    b.struct("huge", 65537, [(f"m{i}" if i > 65530 else "", u8, 8 * i) for i in range(65537)])
    assert Btf(b.build()).offset("huge.m65536") == 65536


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a BTF file: too short"),
        (b"\x7fELF\2\1\1\0\0", "not a BTF file: wrong magic number"),
        (b"\x9f\xeb\2\0\x18\0\0\0", "BTF version 2 is not known"),
        (example()[:20], "truncated BTF: the header is cut off or its length is wrong"),
        (example()[:100], "truncated BTF: the string section is cut off"),
        (b"\x9f\xeb\1\0" + struct.pack("<5I", 24, 0, 0, 0, 0), "broken BTF: the string section"),
    ],
)
def test_not_btf(data: bytes, message: str) -> None:
    with pytest.raises(BtfError) as raised:
        Btf(data)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(BtfError, match=rf"{tmp_path}/none: No such file.*--btf FILE"):
        Btf.load(tmp_path / "none")
    (tmp_path / "text").write_text("hello, world")
    with pytest.raises(BtfError, match=rf"^{tmp_path}/text: not a BTF file"):
        Btf.load(tmp_path / "text")
    (tmp_path / "good").write_bytes(example())
    assert Btf.load(tmp_path / "good").offset("sk_buff.dev") == 8


def circular() -> bytes:
    b = Blob()
    b.typedef("loop", 1)
    b.array(2, 2)
    b.struct("s", 8, [("", 3, 0), ("", 3, 0), ("t", 1, 0), ("a", 2, 0)])
    return b.build()


def test_circular_types_end() -> None:
    btf = Btf(circular())
    assert not btf.has("s.none")
    for path in ("s.t.x", "loop.x"):
        with pytest.raises(BtfError, match="does not end"):
            btf.offset(path)
    for what in ("loop", "s.a"):
        with pytest.raises(BtfError, match="does not end"):
            btf.size_of(what)


def ask_everything(data: bytes) -> None:
    """Only right answers, BtfErrors and None may come out."""
    try:
        btf = Btf(data)
    except BtfError:
        return
    questions = [
        *((btf.offset, f"sk_buff.{name}", int) for name in ("dev", "protocol", "nested.high")),
        (btf.bits, "sk_buff.pkt_type", Bits),
        *((btf.size_of, what, int) for what in ("sk_buff.cb", "struct sk_buff", "__be16")),
        (btf.has, "possible_net_t.net", bool),
        *((btf.enum, name, dict) for name in ("skb_drop_reason", "signed", "big")),
        (btf.function_parameters, "arp_rcv", list | None),
        (btf.function_parameters, "twice", list | None),
        (btf.tracepoint_arguments, "kfree_skb", int | None),
    ]
    for question, about, answer in questions:
        try:
            assert isinstance(question(about), answer)
        except BtfError as error:
            assert "\n" not in str(error)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([example("<"), example(">"), circular()]),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=7),
)
def test_flipped_bytes(data: bytes, flips: list[tuple[int, int]]) -> None:
    broken = bytearray(data)
    for at, byte in flips:
        broken[at % len(data)] = byte
    ask_everything(bytes(broken))


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_truncation_is_an_error(order: str) -> None:
    data = example(order)  # type: ignore[arg-type]
    for length in range(len(data)):
        with pytest.raises(BtfError):
            Btf(data[:length])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_noise_behind_a_good_header(noise: bytes) -> None:
    noise = noise[: len(noise) // 4 * 4]
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(noise), len(noise), 9)
    ask_everything(header + noise + b"\0sk_buff\0")


@needs_kernel_btf
def test_running_kernel() -> None:
    btf = Btf.load()
    assert btf.size_of("net_device.name") == 16
    assert btf.size_of("sk_buff.cb") == 48
    assert btf.size_of("sk_buff.dev") == btf.size_of("long unsigned int")
    assert btf.offset("sk_buff.prev") == btf.offset("sk_buff.next") + btf.size_of("sk_buff.next")
    assert btf.offset("net.ns.inum") > btf.offset("net.ns")
    assert btf.bits("sk_buff.pkt_type").width == 3
    assert btf.function_parameters("arp_rcv") == ["skb", "dev", "pt", "orig_dev"]
    assert (btf.tracepoint_arguments("kfree_skb") or 0) >= 2
    assert not btf.has("sk_buff.no_such_member")


@needs_kernel_btf
@pytest.mark.skipif(not shutil.which("bpftool"), reason="no bpftool")
def test_running_kernel_as_bpftool_reads_it() -> None:
    dump = subprocess.run(
        ["bpftool", "btf", "dump", "file", VMLINUX], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    btf = Btf.load()
    for name in ("net_device", "neighbour", "neigh_table", "in_device", "sk_buff_head"):
        start = next(i for i, line in enumerate(dump) if f"] STRUCT '{name}' size=" in line)
        compared = 0
        for line in dump[start + 1 :]:
            if not line.startswith("\t"):
                break
            member, bit = line.split()[0].strip("'"), line.split("bits_offset=")[1].split()[0]
            if member != "(anon)" and "bitfield_size" not in line:
                assert 8 * btf.offset(f"{name}.{member}") == int(bit), f"{name}.{member}"
                compared += 1
        assert compared > 1
