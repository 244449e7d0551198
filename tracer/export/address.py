# SPDX-License-Identifier: Apache-2.0
"""``--listen HOST:PORT``: where the exporter is to be reached."""

from __future__ import annotations

import socket


class AddressError(Exception):
    """It cannot be listened at; the message is one line."""


def parse(text: str) -> tuple[str, int]:
    """Host and port; the last colon parts them. Raises ValueError.

    The brackets of an IPv6 address may be left out, so that a pod's address can be put there.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"not HOST:PORT: {text}")
    if int(port) > 65535:
        raise ValueError(f"no such port: {port}")
    return host, int(port)


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises AddressError."""
    where = show(host, port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a name"
        raise AddressError(f"cannot listen at {where}: {why}") from None
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # [::] is for IPv4 as well, as people expect
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(address)
        made.listen(128)
    except OSError as error:
        made.close()
        raise AddressError(f"cannot listen at {where}: {error.strerror}") from None
    return made


def show(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound(listener: socket.socket) -> str:
    """HOST:PORT as it was bound, the real port."""
    host, port = listener.getsockname()[:2]
    return show(host, port)
