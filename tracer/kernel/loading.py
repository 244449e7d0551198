# SPDX-License-Identifier: Apache-2.0
"""The loading process as its parent sees it. Imports little: it is to begin at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tracer.kernel.handover import Loaded, LoadError, Order, order_line, parse_reply

_MAX_DESCRIPTORS = 64


class Loading:
    """The loading process at work. Other things can be got ready meanwhile.

    A context manager: the process ends with it, if it has not yet.
    """

    def __init__(self, order: Order) -> None:
        self._noise = os.memfd_create("arpwhy")  # the child reads there what bcc said
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._loader = subprocess.Popen(
                # -P: never import from the directory we happen to be in. -S: where to
                # import from is what we were told; finding it out again takes 10 ms.
                [sys.executable, "-PS", "-m", "tracer.kernel.loader", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._noise,
                stderr=self._noise,
                env={**os.environ, "PYTHONPATH": import_path()},
            )
        self._ours.sendall(order_line(order))

    def loaded(self) -> tuple[Loaded, dict[str, int]]:
        """Wait for it: what is loaded, and descriptors by name, which are the caller's.

        Raises LoadError with one line on why it could not load.
        """
        try:
            line, descriptors = _receive(self._ours)
        except OSError:
            line, descriptors = b"", []
        self._loader.wait()
        said = os.pread(self._noise, 1 << 20, 0).decode(errors="replace").strip()
        if os.environ.get("ARPWHY_DEBUG") and said:
            print(said, file=sys.stderr)
        if not line.endswith(b"\n"):
            last = said.splitlines()[-1] if said else f"exit status {self._loader.returncode}"
            raise LoadError(f"the loading process failed: {last} (ARPWHY_DEBUG=1 shows all)")
        loaded = parse_reply(line)
        return loaded, dict(zip(loaded.descriptors, descriptors, strict=True))

    def __enter__(self) -> Loading:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ours.close()
        self._loader.kill()
        self._loader.wait()
        os.close(self._noise)


def _receive(ours: socket.socket) -> tuple[bytes, list[int]]:
    line, descriptors = b"", []
    while not line.endswith(b"\n"):
        data, received, _, _ = socket.recv_fds(ours, 1 << 16, _MAX_DESCRIPTORS)
        if not data:
            break
        line += data
        descriptors += received
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return line, descriptors


def import_path() -> str:
    """Where a child finds this package, and what else we find: not beside our own script."""
    ours = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join((ours, *sys.path[not sys.flags.safe_path :]))
