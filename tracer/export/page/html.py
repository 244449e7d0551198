# SPDX-License-Identifier: Apache-2.0
"""The page as HTML, from its template; style and script are inside it."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from tracer.causes import CAUSES
from tracer.events import Started
from tracer.export.page.sparkline import HEIGHT, WIDTH
from tracer.export.page.status import Texts
from tracer.sinks.instant import duration
from tracer.sinks.printable import printable

_HERE = Path(__file__).parent
_STYLE = (_HERE / "status.css").read_text()
_SCRIPT = (_HERE / "status.js").read_text()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(_STYLE)}",
        f"script-src {_hash(_SCRIPT)}",
        "connect-src 'self'",
        "img-src data:",  # the icon, lest the browser ask for /favicon.ico
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing but the page's own style, script and updates: a name that got through the
escaping could still do nothing."""


class Html:
    """``node`` is the name at its head."""

    def __init__(self, node: str) -> None:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters.update(utc=_utc, iso=_iso)
        environment.globals.update(
            node=printable(node),
            style=Markup(_STYLE),
            script=Markup(_SCRIPT),
            causes=CAUSES,
            width=WIDTH,
            height=HEIGHT,
        )
        self._template = environment.get_template("status.html")

    def render(self, status: Texts, started: Started, now_ns: int) -> str:
        """``now_ns`` (since the Unix epoch) is what ages are told from."""
        return self._template.render(
            status=status,
            started=started,
            targets=_listed(started.targets),
            now=now_ns // 1_000_000,
            age=lambda since: _age(now_ns / 1e9 - since / 1e3),
        )


def _listed(targets: Sequence[str]) -> str:
    return "any address" if "any" in targets else ", ".join(targets)


def _utc(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(milliseconds // 1000))


def _iso(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(milliseconds // 1000))


def _age(seconds: float) -> str:
    whole = max(0, int(seconds))
    return f"{whole}s" if whole < 60 else duration(whole)
