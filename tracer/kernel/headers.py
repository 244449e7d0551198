# SPDX-License-Identifier: Apache-2.0
"""bcc without the kernel's headers.

bcc changes into $BCC_KERNEL_SOURCE and includes some kernel headers before the program's
first line. A tree of ten tiny files satisfies it (bcc 0.12 to 0.37), and the structs that
the programs read are written out of the running kernel's BTF, with its true offsets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracer.kernel.btf import Btf, BtfError, BtfMissing

_PREFIX = "SKB_DROP_REASON_"
# include/net/dropreason-core.h: "shouldn't be used as a real 'reason'".
_NOT_REASONS = frozenset({"SKB_DROP_REASON_MAX", "SKB_DROP_REASON_SUBSYS_MASK"})

# What libbcc includes: kconfig.h before all else (src/cc/frontends/clang/kbuild_helper.cc;
# loader.cc looks whether it is a file), the others from src/cc/export/ and src/cc/compat/.
_TREE = {
    "include/linux/kconfig.h": """#pragma once
#define CONFIG_BPF_SYSCALL 1
""",
    "include/linux/types.h": """#pragma once
typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __s8 s8;
typedef __u8 u8;
typedef __s16 s16;
typedef __u16 u16;
typedef __s32 s32;
typedef __u32 u32;
typedef __s64 s64;
typedef __u64 u64;
typedef __u16 __le16;
typedef __u16 __be16;
typedef __u32 __le32;
typedef __u32 __be32;
typedef __u64 __le64;
typedef __u64 __be64;
typedef __u16 __sum16;
typedef __u32 __wsum;
typedef unsigned long uintptr_t;
typedef unsigned long size_t;
typedef long ssize_t;
typedef int pid_t;
typedef _Bool bool;
enum { false = 0, true = 1 };
#define __aligned_u64 __u64 __attribute__((aligned(8)))
#define NULL ((void *)0)
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
""",
    "include/linux/version.h": """#pragma once
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#define LINUX_VERSION_CODE {version_code}
""",
    "include/linux/log2.h": """#pragma once
#define roundup_pow_of_two(n) \\
	((n) <= 1 ? 1UL : 1UL << (64 - __builtin_clzl((unsigned long)(n) - 1)))
""",
    "include/asm/page.h": """#pragma once
#define PAGE_SIZE {page_size}
""",
    "include/linux/bpf_common.h": "",
    "include/uapi/linux/bpf.h": "",  # bcc has included its own by then
    "include/uapi/linux/if_packet.h": "",
    "include/uapi/linux/if_ether.h": "",
    "include/uapi/linux/ptrace.h": "",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A member that the programs use.

    ``path`` is where the kernel's BTF has it inside the struct, ``ctype`` its C type here
    (a pointer may point to anything), ``name`` its name here if that is not the path with
    ``_`` for ``.``. An optional member that the kernel lacks is left out; a required one
    is an error. ``open_ended``: the kernel declares an array without a length.
    ``bit_field``: what is here is the byte it lies in.
    """

    path: str
    ctype: str
    name: str = ""
    optional: bool = False
    open_ended: bool = False
    bit_field: bool = False

    @property
    def c_name(self) -> str:
        return self.name or self.path.replace(".", "_")


# include/uapi/linux/ip.h: as far as IPV4_DEVCONF_PROXY_ARP_PVLAN, 25.
_CONF = "int[25]"


def _optional(ctype: str, *paths: str) -> tuple[Member, ...]:
    return tuple(Member(path, ctype, optional=True) for path in paths)


# A struct that is a member of another comes before it.
WANTED: Mapping[str, Sequence[Member]] = {
    "net": (
        Member("ns.inum", "__u32"),
        Member("ipv4.devconf_all", "struct ipv4_devconf *"),
        *_optional("unsigned long *", "dev_index_head"),
    ),
    "ipv4_devconf": (Member("data", _CONF, name="conf", open_ended=True),),
    "net_device": (
        Member("ifindex", "int"),
        Member("name", "char[16]"),
        Member("nd_net.net", "struct net *", name="nd_net"),  # in a possible_net_t
        Member("dev_addr", "unsigned char *"),
        Member("ip_ptr", "struct in_device *"),
        Member("flags", "unsigned int"),
        *_optional("struct rtnl_link_ops *", "rtnl_link_ops"),
        *_optional("unsigned long[2]", "index_hlist"),
    ),
    "sk_buff": (
        Member("next", "struct sk_buff *"),
        Member("prev", "struct sk_buff *"),
        Member("dev", "struct net_device *"),
        Member("skb_iif", "int"),
        Member("protocol", "__be16"),
        Member("network_header", "__u16"),
        Member("head", "unsigned char *"),
        Member("data", "unsigned char *"),
        Member("destructor", "void *"),
        Member("cb", "char[48]"),
        Member("tail", "__u32"),  # an offset, on 64 bits (sk_buff_data_t)
        Member("end", "__u32"),
        Member("sk", "struct sock *"),
        Member("mac_header", "__u16"),
        *_optional("__u16", "vlan_tci"),
        Member("pkt_type", "__u8", name="__pkt_type_offset", bit_field=True),
        Member("redirected", "__u8", name="__redirected_offset", optional=True, bit_field=True),
    ),
    "skb_shared_info": (Member("dataref", "int"),),
    "sock": (
        Member("__sk_common.skc_family", "__u16", name="sk_family"),
        Member("__sk_common.skc_net.net", "struct net *", name="sk_net"),
    ),
    "rtnl_link_ops": (Member("kind", "char *"),),
    "sk_buff_head": (
        Member("next", "struct sk_buff *"),
        Member("prev", "struct sk_buff *"),
        Member("qlen", "__u32"),
    ),
    "neigh_table": (
        Member("family", "int"),
        Member("proxy_queue", "struct sk_buff_head"),
    ),
    "neigh_parms": (Member("tbl", "struct neigh_table *"),),
    "in_device": (
        Member("arp_parms", "struct neigh_parms *"),
        Member("cnf.data", _CONF, name="conf", open_ended=True),
    ),
    "neighbour": (
        Member("dev", "struct net_device *"),
        Member("tbl", "struct neigh_table *"),
        Member("nud_state", "__u8"),
        Member("ha", "unsigned char[32]"),
        Member("primary_key", "__u8[4]", open_ended=True),  # an IPv4 address
    ),
    # What bcc's PT_REGS_ macros name, on x86_64, then on arm64.
    "pt_regs": (
        *_optional("unsigned long", "di", "si", "dx", "cx", "r8", "r9"),
        *_optional("unsigned long", "r10", "ax", "bp", "ip", "sp"),
        *_optional("unsigned long", "pc", "orig_x0"),
        *_optional("unsigned long[31]", "regs"),
    ),
}

# What the closer look reads besides (bpf/closer.h). A kernel that lacks one of these does
# without it.
CLOSER: Mapping[str, Sequence[Member]] = {
    "sk_buff": (*WANTED["sk_buff"], Member("_skb_refdst", "unsigned long")),
    "rtable": (
        Member("dst.dev", "struct net_device *"),
        Member("dst.error", "short"),
        Member("rt_type", "__u16"),
    ),
    "flowi4": (Member("saddr", "__be32"), Member("daddr", "__be32")),
    "fib_nh_common": (Member("nhc_dev", "struct net_device *"),),
}

_SIZES = {
    **dict.fromkeys(("char", "__u8"), 1),
    **dict.fromkeys(("short", "__be16", "__u16"), 2),
    **dict.fromkeys(("int", "__be32", "__u32"), 4),
    "long": 8,
}


def tree() -> dict[str, str]:
    """The files of the header tree, as this kernel wants them."""
    values = {
        "version_code": str(_version_code(os.uname().release)),
        "page_size": str(os.sysconf("SC_PAGESIZE")),
    }
    return {
        name: re.sub(r"{(version_code|page_size)}", lambda m: values[m[1]], text)
        for name, text in _TREE.items()
    }


def write_tree(root: Path) -> Path:
    """Write the header tree below ``root`` and give it back, for $BCC_KERNEL_SOURCE."""
    for name, text in tree().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def _version_code(release: str) -> int:
    """``"6.1.0-56-cloud-amd64"`` as LINUX_VERSION_CODE has it."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    if not match:
        return 0
    major, minor, patch = (int(number or 0) for number in match.groups())
    return (major << 16) + (minor << 8) + min(patch, 255)


def struct_definitions(btf: Btf, wanted: Mapping[str, Sequence[Member]] = WANTED) -> str:
    """C for the structs, each member at this kernel's offset.

    For an optional member that is there ``ARPWHY_HAS_STRUCT_MEMBER`` is defined, and for a
    bit-field ``ARPWHY_STRUCT_MEMBER(byte)`` takes it out of its byte. Raises BtfMissing
    for a required member that is not there, BtfError for one of another size than its C
    type here.
    """
    named = set(wanted)
    for members in wanted.values():
        named |= {name for m in members for name in re.findall(r"struct (\w+)", m.ctype)}
    text = [f"struct {name};" for name in sorted(named)]
    for struct, members in wanted.items():
        present = [m for m in members if not m.optional or btf.has(f"{struct}.{m.path}")]
        for member in present:
            text += _defines(btf, struct, member)
        if present:
            lines = (f"\t\t{_member(btf, struct, member)}" for member in present)
            text += [f"struct {struct} {{", "\tunion {", *lines, "\t};", "};"]
    return "\n".join(text) + "\n"


def _defines(btf: Btf, struct: str, member: Member) -> list[str]:
    name = f"{struct}_{member.c_name if not member.bit_field else member.path}".upper()
    defines = [f"#define ARPWHY_HAS_{name} 1"] if member.optional else []
    if member.bit_field:
        _, shift, width = btf.bits(f"{struct}.{member.path}")
        defines.append(f"#define ARPWHY_{name}(byte) ((byte) >> {shift} & {(1 << width) - 1})")
    return defines


def _member(btf: Btf, struct: str, member: Member) -> str:
    path = f"{struct}.{member.path}"
    ctype, _, length = member.ctype.partition("[")
    alignment = _check_size(btf, path, member)
    offset = btf.bits(path).offset if member.bit_field else btf.offset(path)
    gap = f"char __before_{member.c_name}[{offset}]; " if offset else ""
    space = "" if ctype.endswith("*") else " "
    declared = f"{ctype}{space}{member.c_name}{'[' + length if length else ''};"
    # Packed only if it must be: bcc programs read pt_regs directly, and clang reads what
    # is packed byte by byte.
    packed = "" if offset % alignment == 0 else " __attribute__((packed))"
    return f"struct {{ {gap}{declared} }}{packed};"


def _check_size(btf: Btf, path: str, member: Member) -> int:
    """The alignment of the C type, once the kernel's size was seen to be the same."""
    ctype, _, length = member.ctype.partition("[")
    if ctype.startswith("struct ") and not ctype.endswith("*"):
        return 8
    size = 8 if ctype.endswith("*") else _SIZES[ctype.removeprefix("unsigned ")]
    here = size * int(length.rstrip("]") or 1) if length else size
    if not member.bit_field and not member.open_ended and btf.size_of(path) != here:
        raise BtfError(f"the kernel's {path} has {btf.size_of(path)} bytes, not {here}")
    return size


def closer_definitions(btf: Btf) -> str:
    """As :func:`struct_definitions`, with what the closer look needs, if it is all there.

    ``ARPWHY_CLOSER`` is defined then.
    """
    try:
        return struct_definitions(btf, {**WANTED, **CLOSER}) + "#define ARPWHY_CLOSER 1\n"
    except BtfError:
        return struct_definitions(btf)


def enum_names(btf: Btf) -> dict[int, str]:
    """Drop reasons, number -> name without ``SKB_DROP_REASON_``; {} before Linux 5.17."""
    try:
        values = btf.enum("skb_drop_reason")
    except BtfMissing:
        return {}
    return {
        number: name.removeprefix(_PREFIX)
        for number, name in values.items()
        if name not in _NOT_REASONS
    }


def feature_defines(btf: Btf) -> dict[str, str]:
    """Macros for what differs between kernels, to be given to the compiler.

    ``ARPWHY_DROP_REASON``: the raw tracepoint kfree_skb has the drop's reason as its third
    argument (include/trace/events/skb.h, since Linux 5.17).
    """
    arguments = btf.tracepoint_arguments("kfree_skb")
    return {"ARPWHY_DROP_REASON": "1"} if arguments is not None and arguments >= 3 else {}
