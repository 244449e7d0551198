# SPDX-License-Identifier: Apache-2.0
"""Who may ask: basic authentication by a file as ``htpasswd -B`` writes it, certificates."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
from collections.abc import Callable, Mapping

import bcrypt

from tracer.export.response import Request, Response
from tracer.export.watched import FileError, Watched, read

_HASH = re.compile(rb"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_MOST_REMEMBERED = 256
# Of a password, what bcrypt takes; htpasswd cuts off the rest without a word.
_BCRYPT_BYTES = 72

_WHO = Response.text(
    401, "a user and password are needed", {"WWW-Authenticate": 'Basic realm="arpwhy"'}
)
_NO_CERTIFICATE = Response.text(403, "a client certificate is needed")


def users(path: str) -> dict[bytes, bytes]:
    """Hashes by user; raises FileError, whose text holds none."""
    found: dict[bytes, bytes] = {}
    for number, line in enumerate(read(path, "the passwords").splitlines(), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        user, colon, hashed = line.strip().partition(b":")
        if not user or not colon:
            raise FileError(f"{path}:{number}: not a line of USER:HASH")
        if not _HASH.fullmatch(hashed):
            raise FileError(f"{path}:{number}: not a bcrypt hash: htpasswd -B makes one")
        found[user] = hashed
    if not found:
        raise FileError(f"no user in {path}")
    return found


class Passwords:
    """The users of a file, read anew when it changes.

    A password that was right is remembered, as a keyed hash, so that not every scrape costs
    what bcrypt is meant to cost. A user who is not there costs as much as one who is.
    """

    def __init__(self, path: str, say: Callable[[str], object]) -> None:
        self._users: Watched[Mapping[bytes, bytes]] = Watched([path], lambda: users(path), say)
        self._key = secrets.token_bytes(32)
        self._right: set[bytes] = set()
        # Guessing takes one CPU at most, and does not delay who is remembered.
        self._turn = threading.Lock()

    def right(self, authorization: str) -> bool:
        """Is this header that of a user with the right password?"""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, colon, password = base64.b64decode(token, validate=True).partition(b":")
        except ValueError:
            return False
        if not colon or b"\0" in password:
            return False
        known = self._users.current()
        hashed = known.get(user)
        seen = self._seen(user, password, hashed)
        if seen in self._right:
            return True
        with self._turn:
            right = bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed or next(iter(known.values())))
        if not right or hashed is None:
            return False
        if len(self._right) >= _MOST_REMEMBERED:
            self._right.clear()
        self._right.add(seen)
        return True

    def _seen(self, user: bytes, password: bytes, hashed: bytes | None) -> bytes:
        told = b"".join(len(part).to_bytes(4) + part for part in (user, password, hashed or b""))
        return hashlib.blake2b(told, key=self._key, digest_size=32).digest()


def admission(
    passwords: Passwords | None, *, certificates: bool
) -> Callable[[Request], Response | None]:
    """What refuses a request; both are asked for if both are configured."""

    def refusal(request: Request) -> Response | None:
        if certificates and not request.certified:
            return _NO_CERTIFICATE
        if passwords and not passwords.right(request.headers.get("authorization", "")):
            return _WHO
        return None

    return refusal
