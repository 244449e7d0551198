# SPDX-License-Identifier: Apache-2.0
"""The macros that select in the kernel, evaluated as C would."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.kernel import filters


def traced(macro: str, name: str) -> bool:
    """What the C macro says of a device's name."""
    words = struct.unpack("=2Q", name.encode().ljust(16, b"\0"))
    python = re.sub(r"WORD\(name, (\d)\)", lambda found: str(words[int(found[1])]), macro)
    return bool(eval(python.replace("ull", "").replace("||", "or")))


@pytest.mark.parametrize(
    ("globs", "name", "expected"),
    [
        (["cali*"], "calic577831ffc7", True),
        (["cali*"], "cali", True),
        (["cali*"], "cal", False),
        (["cali*"], "eth0", False),
        (["eth0"], "eth0", True),
        (["eth0"], "eth01", False),
        (["*"], "anything", True),
        (["cali*", "tap*"], "tap1", True),
        (["cali*", "tap*"], "veth1", False),
        (["abcdefghijklmno"], "abcdefghijklmno", True),
        (["abcdefghijklmno"], "abcdefghijklmnp", False),
        (["abcdefghijklm*"], "abcdefghijklmno", True),
        (["abcdefghijklm*"], "abcdefghijkl", False),
    ],
)
def test_names(globs: list[str], name: str, expected: bool) -> None:
    assert traced(filters.name_macro(globs), name) is expected


@given(
    st.lists(st.text("abc*?[]!", min_size=1, max_size=8), min_size=1, max_size=3),
    st.text("abc", min_size=1, max_size=15),
)
def test_never_filters_out_what_a_glob_matches(globs: list[str], name: str) -> None:
    if any(fnmatch.fnmatchcase(name, glob) for glob in globs):
        assert traced(filters.name_macro(globs), name)


def test_a_glob_that_no_name_is_long_enough_for() -> None:
    with pytest.raises(ValueError, match="longer than an interface name"):
        filters.name_macro(["abcdefghijklmnop*"])


def test_targets() -> None:
    both = [ipaddress.IPv4Address("169.254.1.1"), ipaddress.IPv4Address("10.0.0.1")]
    assert filters.target_macro(None) == "1"
    assert filters.target_macro(both) == (
        "((ip) == __builtin_bswap32(0xa9fe0101u) || (ip) == __builtin_bswap32(0x0a000001u))"
    )


def test_netns() -> None:
    assert filters.netns_macro(None) == "1"
    assert filters.netns_macro(4026531840) == "((inode) == 4026531840u)"
