# SPDX-License-Identifier: Apache-2.0
"""One named network namespace: run code, netlink, sysctls and commands inside it.

A namespace belongs to a thread, not to a process, so code runs in a helper thread that
enters it: the caller stays where it is. Commands are started by ``nsenter --net=``;
``ip netns exec`` would remount /sys and hide tracefs.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute

from .errors import LabError, Unavailable

T = TypeVar("T")

RUN_NETNS = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
# How nft and tc report a family, hook, qdisc or classifier that the kernel was built without.
_LACKING = re.compile(r"not supported|No such file or directory|not found|unknown", re.IGNORECASE)
_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str | None:
    """What this machine lacks for a lab, or None."""
    if os.geteuid() != 0:
        return "root"
    for tool in ("ip", "nsenter"):
        if shutil.which(tool) is None:
            return f"the {tool} command"
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return None if probe.returncode == 0 else "network namespaces (unshare --net)"


def _setns(fd: int) -> None:
    # os.setns came with Python 3.12.
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


class Netns:
    """A namespace under /run/netns, as ``ip netns`` makes it."""

    def __init__(
        self, name: str, on_child: Callable[[subprocess.Popen[Any]], None] | None = None
    ) -> None:
        self.netns = name
        self.path = RUN_NETNS / name
        self._on_child = on_child

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.netns!r})"

    def exists(self) -> bool:
        return self.path.exists()

    def create(self) -> None:
        """Make it, with IPv6 off: nothing but what is asked for shall appear on its links."""
        _ip("netns", "add", self.netns)
        if self.call(Path("/proc/sys/net/ipv6/conf/all").is_dir):
            self.set_sysctls(
                {f"net/ipv6/conf/{scope}/disable_ipv6": 1 for scope in ("default", "all")}
            )

    def name_ours(self) -> None:
        """Give the caller's own namespace this name; ``remove`` takes the name away again."""
        _ip("netns", "attach", self.netns, str(os.getpid()))

    def remove(self) -> None:
        """Remove the name; the kernel removes the links once no process is inside."""
        if self.exists():
            _ip("netns", "delete", self.netns)

    @property
    def inode(self) -> int:
        """The number the kernel knows the namespace by."""
        return self.path.stat().st_ino

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread (and what it starts) is inside for the length of the block."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            inside = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _setns(inside)
            finally:
                os.close(inside)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)

    def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` in a helper thread inside; its result or exception is the caller's."""
        results: list[T] = []
        errors: list[BaseException] = []

        def inside() -> None:
            try:
                with self.entered():
                    results.append(function())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=inside, name=f"in {self.netns}")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def netlink(self, function: Callable[[Any], T]) -> T:
        """Run ``function(iproute)`` inside.

        The IPRoute lives and dies in the helper thread: pyroute2 0.9 opens a socket per
        thread that uses it, so one handed to another thread asks another namespace.
        """

        def inside() -> T:
            with IPRoute() as ipr:
                return function(ipr)

        return self.call(inside)

    def sysctl(self, key: str) -> str:
        """The value of ``net/ipv4/...`` (slashes: an interface name may hold a dot)."""
        return self.call(lambda: Path("/proc/sys", key).read_text().strip())

    def sysctls(self, pattern: str) -> dict[str, str]:
        """Values by key of all sysctls that match the glob, e.g. net/ipv4/conf/*/forwarding."""

        def inside() -> dict[str, str]:
            root = Path("/proc/sys")
            return {
                str(path.relative_to(root)): path.read_text().strip()
                for path in sorted(root.glob(pattern))
            }

        return self.call(inside)

    def set_sysctls(self, values: Mapping[str, int | str], *, gone_ok: bool = False) -> None:
        """Write them in the given order. ``gone_ok``: skip those of removed interfaces."""

        def inside() -> None:
            for key, value in values.items():
                try:
                    Path("/proc/sys", key).write_text(f"{value}\n")
                except FileNotFoundError:
                    if not gone_ok:
                        raise
                except OSError as error:
                    raise LabError(f"{key} = {value}: {error.strerror}") from error

        self.call(inside)

    def argv(self, args: Sequence[str]) -> list[str]:
        """The command line that runs ``args`` inside. nsenter execs: the pid is the command's."""
        return ["nsenter", f"--net={self.path}", *args]

    def popen(self, args: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command inside; the lab ends it at the latest when it goes down."""
        process: subprocess.Popen[Any] = subprocess.Popen(self.argv(args), **options)
        if self._on_child is not None:
            self._on_child(process)
        return process

    def run(
        self, args: Sequence[str], *, stdin: str | None = None, timeout: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a short command inside and capture its output; the caller judges the exit code."""
        return subprocess.run(
            self.argv(args),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def tool(self, args: Sequence[str], *, package: str, stdin: str | None = None) -> str:
        """Run a tool inside and return its stdout.

        Unavailable if it is not installed or the kernel lacks what it asked for;
        LabError for any other failure, which is then the caller's mistake.
        """
        if shutil.which(args[0]) is None:
            raise Unavailable(f"{args[0]}: not installed (Debian: {package})")
        done = self.run(args, stdin=stdin)
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            kind = Unavailable if _LACKING.search(done.stderr) else LabError
            raise kind(f"{args[0]}: {lines[0] if lines else f'exit {done.returncode}'}")
        return done.stdout


def _ip(*args: str) -> None:
    done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"ip {' '.join(args)}: {done.stderr.strip()}")
