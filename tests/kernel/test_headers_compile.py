# SPDX-License-Identifier: Apache-2.0
"""The generated headers through the real bcc, on the running kernel."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tracer.kernel.btf import VMLINUX, Btf
from tracer.kernel.headers import WANTED, feature_defines, struct_definitions, write_tree
from tracer.kernel.layout import Header

EVENT_H = Path(__file__).resolve().parents[2] / "bpf" / "event.h"
REQUESTS = 7
NOTHING = "int nothing(void *ctx) { return 0; }\n"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF needs root"),
    pytest.mark.skipif(not Path(VMLINUX).is_file(), reason=f"the kernel has no BTF ({VMLINUX})"),
]

# An ARP request, sent by the process that runs this: argv is the device and how many.
SEND = """
import socket, struct, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
    s.bind((sys.argv[1], 0))
    mac = s.getsockname()[4]
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + bytes((10, 99, 0, 1)) + bytes(6)
    for _ in range(int(sys.argv[2])):
        s.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + arp + bytes((169, 254, 1, 1)))
"""


@pytest.fixture(scope="module")
def bcc() -> ModuleType:
    return pytest.importorskip("bcc", reason="bcc's Python module (python3-bpfcc) is missing")


@pytest.fixture
def btf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Btf:
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(write_tree(tmp_path / "tree")))
    return Btf.load()


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two network namespaces; ``one`` in the first is joined to ``two`` in the second."""
    names = (f"arpwhy-h{os.getpid()}a", f"arpwhy-h{os.getpid()}b")
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("-n", names[0], "link", "add", "one", "type", "veth", "peer", "two", "netns", names[1])
        _ip("-n", names[0], "link", "set", "one", "up")
        _ip("-n", names[1], "link", "set", "two", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _ifindex(namespace: str, device: str) -> int:
    shown = subprocess.run(
        ["ip", "-n", namespace, "-j", "link", "show", device], check=True, capture_output=True
    )
    return int(json.loads(shown.stdout)[0]["ifindex"])


def _compile(bcc: ModuleType, text: str) -> Any:
    return bcc.BPF(text=text.encode())


def test_a_header_free_program_sees_an_arp_request(
    bcc: ModuleType,
    namespaces: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    started = time.perf_counter()
    btf = Btf.load()
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(write_tree(tmp_path)))
    definitions = struct_definitions(btf)
    generated = time.perf_counter()
    program = """
struct seen { u32 ifindex; u32 netns; char name[16]; u8 pkt_type; u8 pad[7]; };
BPF_HASH(seen, struct seen, u64);
RAW_TRACEPOINT_PROBE(netif_receive_skb)
{
	struct sk_buff *skb = (struct sk_buff *)ctx->args[0];
	struct net_device *dev = 0;
	struct net *net = 0;
	struct seen key = {};
	__be16 protocol = 0;

	bpf_probe_read_kernel(&protocol, sizeof(protocol), &skb->protocol);
	if (protocol != __builtin_bswap16(0x0806))
		return 0;
	bpf_probe_read_kernel(&dev, sizeof(dev), &skb->dev);
	bpf_probe_read_kernel(&key.ifindex, sizeof(key.ifindex), &dev->ifindex);
	bpf_probe_read_kernel(&key.name, sizeof(key.name), &dev->name);
	bpf_probe_read_kernel(&net, sizeof(net), &dev->nd_net);
	bpf_probe_read_kernel(&key.netns, sizeof(key.netns), &net->ns_inum);
	bpf_probe_read_kernel(&key.pkt_type, 1, &skb->__pkt_type_offset);
	key.pkt_type = ARPWHY_SK_BUFF_PKT_TYPE(key.pkt_type);
	/* bcc's own way of reading has to agree. */
	if (skb->dev->ifindex == key.ifindex)
		seen.increment(key);
	return 0;
}
"""
    bpf = _compile(bcc, definitions + program)  # attaches it too
    try:
        attached = time.perf_counter()
        inside = ["nsenter", f"--net=/run/netns/{namespaces[0]}"]
        subprocess.run([*inside, sys.executable, "-c", SEND, "one", str(REQUESTS)], check=True)
        inode = Path(f"/run/netns/{namespaces[1]}").stat().st_ino
        for _ in range(200):  # the softirq may be another thread's to run: up to 2 s
            rows = {
                (key.name, key.ifindex, key.pkt_type): count.value
                for key, count in bpf[b"seen"].items()
                if key.netns == inode
            }
            if sum(rows.values()) >= REQUESTS:
                break
            time.sleep(0.01)
    finally:
        bpf.cleanup()
    assert rows == {(b"two", _ifindex(namespaces[1], "two"), socket.PACKET_BROADCAST): REQUESTS}
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    with capfd.disabled():
        print(
            f"\nheaders generated in {1e3 * (generated - started):.0f} ms, "
            f"compiled and attached in {1e3 * (attached - generated):.0f} ms"
        )


def test_the_c_compiler_finds_the_members_where_the_kernel_has_them(
    bcc: ModuleType, btf: Btf, capfd: pytest.CaptureFixture[str]
) -> None:
    asserts = [
        f'_Static_assert(__builtin_offsetof(struct {struct}, {m.c_name}) == {offset}, "");\n'
        for struct, members in WANTED.items()
        for m in members
        if btf.has(f"{struct}.{m.path}")
        for path in (f"{struct}.{m.path}",)
        for offset in (btf.bits(path).offset if m.bit_field else btf.offset(path),)
    ]
    assert len(asserts) > 37
    _compile(bcc, struct_definitions(btf) + "".join(asserts) + NOTHING)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("btf")
def test_a_wrong_assertion_does_not_compile(
    bcc: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    """The two tests around this one can fail."""
    with pytest.raises(Exception, match="Failed to compile"):
        _compile(
            bcc, 'struct s { u32 a; };\n_Static_assert(sizeof(struct s) == 5, "s");\n' + NOTHING
        )
    assert "static_assert" in capfd.readouterr().err.lower()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "enum n { LEN = 3, NEXT };\n"
            "struct a { u8 a; u64 b; s16 c[LEN]; char d[5]; __be32 e; u8 f; };\n"
            "struct b { char a[3]; __s64 b[2]; __be16 c; };\n"
            "struct c { u16 a[NEXT]; u8 b; };\n",
            id="crafted",
        ),
        pytest.param(EVENT_H.read_text(), id="event.h"),
    ],
)
@pytest.mark.usefixtures("btf")
def test_c_lays_out_events_as_python_unpacks_them(
    bcc: ModuleType, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    header = Header.parse(text)
    asserts = []
    for struct in header.structs.values():
        asserts.append(f"sizeof(struct {struct.name}) == {struct.size}")
        for field in struct.fields:
            place = f"struct {struct.name}, {field.name}"
            member = f"((struct {struct.name} *)0)->{field.name}"
            asserts.append(f"__builtin_offsetof({place}) == {field.offset}")
            asserts.append(f"sizeof({member}) == {field.size}")
    for values in header.enums.values():
        asserts += [f"{name} == {value}" for name, value in values.items()]
    checks = "".join(f'_Static_assert({condition}, "");\n' for condition in asserts)
    _compile(bcc, text + checks + NOTHING)
    assert capfd.readouterr() == ("", "")


def test_the_features_are_those_of_the_running_kernel(btf: Btf) -> None:
    """The drop reasons and the argument that tells them came together, in Linux 5.17."""
    assert bool(feature_defines(btf)) == btf.has("skb_drop_reason")
