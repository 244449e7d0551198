# SPDX-License-Identifier: Apache-2.0
"""kallsyms: a crafted one, and the running kernel's."""

from __future__ import annotations

from pathlib import Path

import msgpack
import pytest

from tracer.kernel.symbols import KALLSYMS, Symbols, SymbolsError, state

TEXT = """\
0000000000000000 A per_cpu_thing
ffffffff81000000 T _stext
ffffffff81000100 t arp_rcv
ffffffff81000100 T a_global_alias
ffffffff81000200 t arp_process
ffffffff81000400 W weak_one
ffffffff81000500 t arp_process.cold
ffffffff81000520 t twice
ffffffff81000540 t twice
ffffffff81000580 D some_data
ffffffffc0200000 t nft_do_chain\t[nf_tables]
ffffffff810000f0 t out_of_order
"""


@pytest.fixture
def symbols(tmp_path: Path) -> Symbols:
    (tmp_path / "kallsyms").write_text(TEXT)
    return Symbols.load(tmp_path / "kallsyms")


def test_has(symbols: Symbols) -> None:
    assert all(map(symbols.has, ("arp_process", "nft_do_chain", "some_data", "twice")))
    assert not any(map(symbols.has, ("arp_proces", "rp_process", "nf_tables", "", "arp")))


def test_a_cold_twin_is_not_its_function(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text("ffffffff81000500 t arp_process.cold\n")
    symbols = Symbols.load(path)
    assert not symbols.has("arp_process")
    assert symbols.address("arp_process") is None


def test_address(symbols: Symbols) -> None:
    assert symbols.address("arp_process") == 0xFFFFFFFF81000200
    assert symbols.address("nft_do_chain") == 0xFFFFFFFFC0200000
    assert symbols.address("twice") == 0xFFFFFFFF81000520
    assert symbols.address("none") is None


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0xFFFFFFFF81000200, "arp_process"),
        (0xFFFFFFFF81000201, "arp_process+0x1"),
        (0xFFFFFFFF810003FF, "arp_process+0x1ff"),
        (0xFFFFFFFF81000400, "weak_one"),
        (0xFFFFFFFF81000100, "a_global_alias"),
        (0xFFFFFFFF81000110, "a_global_alias+0x10"),
        (0xFFFFFFFF810000FF, "out_of_order+0xf"),
        (0xFFFFFFFF81000507, "arp_process"),  # its cold part
        (0xFFFFFFFF81000590, "twice+0x50"),  # data is not looked at
        (0xFFFFFFFFC0200012, "nft_do_chain+0x12"),
        (0xFFFFFFFFC0400000, None),  # beyond all
        (0xFFFFFFFF80FFFFFF, None),  # before all
        (0, None),
        (-1, None),
        (1 << 64, None),
    ],
)
def test_name(symbols: Symbols, address: int, name: str | None) -> None:
    assert symbols.name(address) == name


def test_hidden_addresses(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text("".join(f"{'0' * 16}{line[16:]}\n" for line in TEXT.splitlines()))
    symbols = Symbols.load(path)
    assert symbols.hidden
    assert symbols.has("arp_process")
    assert symbols.address("arp_process") is None
    assert symbols.name(0xFFFFFFFF81000200) is None
    assert symbols.name(0) is None


def test_addresses_shown_are_not_hidden(symbols: Symbols) -> None:
    assert not symbols.hidden


@pytest.mark.parametrize("text", ["", "no symbols here", "\n\n"])
def test_a_strange_file_has_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(text)
    symbols = Symbols.load(path)
    assert not symbols.has("arp_process")
    assert symbols.name(0xFFFFFFFF81000200) is None


def test_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    symbols = Symbols.load(tmp_path / "none")
    with pytest.raises(SymbolsError, match="none: No such file or directory"):
        symbols.has("arp_process")


@pytest.mark.skipif(not Path(KALLSYMS).is_file(), reason=f"the kernel has no {KALLSYMS}")
def test_running_kernel() -> None:
    symbols = Symbols.load()
    assert symbols.has("arp_rcv")
    assert not symbols.has("no_such_function_at_all")
    address = symbols.address("arp_rcv")
    if symbols.hidden:
        pytest.skip("the kernel hides its addresses (kptr_restrict)")
    assert address is not None
    assert symbols.name(address) == "arp_rcv"
    assert symbols.name(address + 3) == "arp_rcv+0x3"


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(
        "ffffffff81000000 T arp_rcv\nffffffff81000100 t arp_process\nffffffff81000200 T last\n"
    )
    first = Symbols.load(path)
    asked = (
        first.has("arp_rcv"),
        first.has("none"),
        first.address("arp_process"),
        first.address("none"),
        first.extents(["arp_rcv", "none", "arp_process"]),
        first.hidden,
    )
    again = Symbols.load(tmp_path / "none", msgpack.unpackb(msgpack.packb(first.answers)))
    assert asked == (
        again.has("arp_rcv"),
        again.has("none"),
        again.address("arp_process"),
        again.address("none"),
        again.extents(["arp_rcv", "none", "arp_process"]),
        again.hidden,
    )
    with pytest.raises(SymbolsError):
        again.has("another")


def test_the_state_stays_while_nothing_happens() -> None:
    assert state() == state()
    assert "True" in state().split() or "False" in state().split()
