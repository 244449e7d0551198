# SPDX-License-Identifier: Apache-2.0
"""Ways in which the API server does not give what it was asked for."""

from __future__ import annotations

import os
import ssl

from tracer.sinks.printable import printable

_LONGEST = 300


class Trouble(Exception):  # noqa: N818 - a state of the API, and not ours
    """The text says why, in one line; ``retry_after_s`` is what the server asked for."""

    def __init__(self, why: str, retry_after_s: float = 0.0) -> None:
        super().__init__(one_line(why))
        self.retry_after_s = retry_after_s


class Unreached(Trouble):
    """The request did not get as far as the API server."""


class Gone(Trouble):
    """410: it no longer knows what happened since then. All must be listed anew."""


class Garbage(Trouble):
    """What came is not what the API promises."""


class Cut(Trouble):
    """An answer broke off, or nothing more came of it."""


def refused(code: object, message: object, retry_after_s: float = 0.0) -> Trouble:
    """For the code and message of the API's Status object."""
    kind = Gone if code == 410 else Trouble
    return kind(f"the API server says {code}: {message}", retry_after_s)


def why(error: BaseException) -> str:
    """What is behind an error of urllib3, whose text names objects and where they are."""
    cause = error
    while True:
        inner = cause.__cause__ or next(
            (arg for arg in cause.args if isinstance(arg, BaseException)), None
        )
        if inner is None and isinstance(cause.__context__, OSError):
            inner = cause.__context__  # urllib3 before 2
        if inner is None:
            break
        cause = inner
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {cause.verify_message}"
    if isinstance(cause, TimeoutError) or "timed out" in str(cause):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.errno:
        text = cause.strerror or os.strerror(cause.errno)
        return text[:1].lower() + text[1:]
    return str(cause) or type(cause).__name__


def one_line(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
