# SPDX-License-Identifier: Apache-2.0
"""The header tree and the structs written out of BTF, as text (compiled in tests/kernel)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from btf_blob import Blob
from btf_blob import Member as BlobMember

from tracer.kernel.btf import VMLINUX, Btf, BtfError, BtfMissing
from tracer.kernel.headers import (
    WANTED,
    Member,
    _version_code,
    enum_names,
    feature_defines,
    struct_definitions,
    write_tree,
)


def kernel(reasons: bool = True, arguments: int = 4) -> Btf:
    b = Blob()
    u32, u8, u64 = b.int("unsigned int", 4), b.int("unsigned char", 1), b.int("unsigned long", 8)
    pointer = b.ptr(0)
    members: list[BlobMember] = [
        ("dev", pointer, 128),
        ("pkt_type", u8, 202, 3),
        ("len", u32, 224),
        ("odd", u32, 264),
        ("key", b.array(u8, 0), 320),
    ]
    b.struct("sk_buff", 64, members, flag=1)
    inum = b.struct("ns_common", 16, [("inum", u32, 64)])
    b.struct("net", 64, [("ns", inum, 256)])
    user = b.struct("", 272, [("regs", b.array(u64, 31), 0), ("sp", u64, 1984), ("pc", u64, 2048)])
    b.struct("pt_regs", 280, [("", user, 0), ("orig_x0", u64, 2176)])
    if reasons:
        b.enum(
            "skb_drop_reason",
            [
                ("SKB_NOT_DROPPED_YET", 0),
                ("SKB_CONSUMED", 1),
                ("SKB_DROP_REASON_NOT_SPECIFIED", 2),
                ("SKB_DROP_REASON_MAX", 3),
                ("SKB_DROP_REASON_SUBSYS_MASK", 0xFFFF0000),
            ],
        )
    if arguments:
        b.typedef("btf_trace_kfree_skb", b.ptr(b.func_proto([("", pointer)] * arguments)))
    return Btf(b.build())


def test_tree(tmp_path: Path) -> None:
    root = tmp_path / "some" / "where"
    assert write_tree(root) == root
    files = {str(path.relative_to(root)) for path in root.rglob("*.h")}
    assert len(files) == 10
    # bcc looks for this one to tell a kernel source tree (clang/loader.cc).
    assert "include/linux/kconfig.h" in files
    page = (root / "include/asm/page.h").read_text()
    assert f"#define PAGE_SIZE {os.sysconf('SC_PAGESIZE')}\n" in page
    code = _version_code(os.uname().release)
    assert f"LINUX_VERSION_CODE {code}\n" in (root / "include/linux/version.h").read_text()
    assert write_tree(root) == root  # over itself


@pytest.mark.parametrize(
    ("release", "code"),
    [
        ("6.1.0-56-cloud-amd64", 0x060100),
        ("7.2.13+deb14-cloud-amd64", 0x07020D),
        ("4.19.323", 0x0413FF),
        ("6.18-rc1", 0x061200),
        ("what", 0),
    ],
)
def test_version_code(release: str, code: int) -> None:
    assert _version_code(release) == code


def test_struct_text() -> None:
    wanted = {
        "sk_buff": (
            Member("dev", "struct net_device *"),
            Member("odd", "__u32"),
            Member("key", "__u8[4]", open_ended=True),
            Member("len", "unsigned int", optional=True),
            Member("alloc_cpu", "__u16", optional=True),
            Member("pkt_type", "__u8", name="__pkt_type_offset", bit_field=True),
        ),
        "net": (Member("ns.inum", "__u32"),),
        "absent": (Member("a", "int", optional=True),),
    }
    assert (
        struct_definitions(kernel(), wanted)
        == """\
struct absent;
struct net;
struct net_device;
struct sk_buff;
#define ARPWHY_HAS_SK_BUFF_LEN 1
#define ARPWHY_SK_BUFF_PKT_TYPE(byte) ((byte) >> 2 & 7)
struct sk_buff {
	union {
		struct { char __before_dev[16]; struct net_device *dev; };
		struct { char __before_odd[33]; __u32 odd; } __attribute__((packed));
		struct { char __before_key[40]; __u8 key[4]; };
		struct { char __before_len[28]; unsigned int len; };
		struct { char __before___pkt_type_offset[25]; __u8 __pkt_type_offset; };
	};
};
struct net {
	union {
		struct { char __before_ns_inum[40]; __u32 ns_inum; };
	};
};
""".replace("    ", "\t")
    )


def test_registers_of_arm64() -> None:
    text = struct_definitions(kernel(), {"pt_regs": WANTED["pt_regs"]})
    assert "struct { unsigned long regs[31]; };" in text
    assert "struct { char __before_sp[248]; unsigned long sp; };" in text
    assert "struct { char __before_pc[256]; unsigned long pc; };" in text
    assert "struct { char __before_orig_x0[272]; unsigned long orig_x0; };" in text
    assert " di;" not in text


def test_a_required_member_that_is_missing_is_named() -> None:
    with pytest.raises(BtfMissing, match=r"^the kernel's sk_buff has no member alloc_cpu$"):
        struct_definitions(kernel(), {"sk_buff": (Member("alloc_cpu", "__u16"),)})
    with pytest.raises(BtfMissing, match=r"^the kernel's BTF has no struct neighbour$"):
        struct_definitions(kernel(), {"neighbour": (Member("dev", "void *"),)})


def test_a_member_of_another_size_is_refused() -> None:
    with pytest.raises(BtfError, match=r"^the kernel's sk_buff\.len has 4 bytes, not 8$"):
        struct_definitions(kernel(), {"sk_buff": (Member("len", "unsigned long"),)})
    with pytest.raises(BtfError, match="is a bit-field"):
        struct_definitions(kernel(), {"sk_buff": (Member("pkt_type", "__u8"),)})


def test_drop_reasons() -> None:
    assert enum_names(kernel()) == {0: "SKB_NOT_DROPPED_YET", 1: "SKB_CONSUMED", 2: "NOT_SPECIFIED"}
    assert enum_names(kernel(reasons=False)) == {}


@pytest.mark.parametrize(
    ("arguments", "defines"),
    [
        (0, {}),  # no such tracepoint
        (3, {}),  # with the probe's own void *: skb and location, before 5.17
        (4, {"ARPWHY_DROP_REASON": "1"}),
        (5, {"ARPWHY_DROP_REASON": "1"}),  # the receiving socket too, since 6.11
    ],
)
def test_features(arguments: int, defines: dict[str, str]) -> None:
    assert feature_defines(kernel(arguments=arguments)) == defines


@pytest.mark.skipif(not Path(VMLINUX).is_file(), reason=f"the kernel has no BTF ({VMLINUX})")
def test_running_kernel_has_all_that_is_wanted() -> None:
    btf = Btf.load()
    text = struct_definitions(btf)
    for struct, members in WANTED.items():
        if struct != "pt_regs":
            assert [m.path for m in members if not btf.has(f"{struct}.{m.path}")] == []
        # What is a member of another has to be complete by then.
        before = text.index(f"struct {struct} {{")
        assert not re.search(rf"struct {struct} \w+;", text[:before])
    offset = btf.offset("sk_buff.dev")
    assert f"struct {{ char __before_dev[{offset}]; struct net_device *dev; }};" in text
