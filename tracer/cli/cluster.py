# SPDX-License-Identifier: Apache-2.0
"""``arpwhy cluster``: the flagged interfaces of all nodes, from Prometheus."""

from __future__ import annotations

import os
import sys
import urllib.parse
from pathlib import Path

import click

from tracer.cli.display import STDOUT, standard_output
from tracer.cli.failure import fail, say
from tracer.cli.formats import object_format
from tracer.cluster import record
from tracer.cluster.prometheus import Access, Prometheus, PrometheusError, QueryError
from tracer.cluster.questions import ask
from tracer.cluster.text import Text
from tracer.output import OutputBlocked, OutputClosed, OutputFailed
from tracer.sinks.printable import printable
from tracer.stop import StopSignals

PROBLEM = 3


def _url(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[str, str | None, str | None]:
    """The URL without user and password, and these."""
    # Not to be repeated: there may be a password in it.
    wrong = click.BadParameter("not a URL such as http://HOST:9090 or https://HOST/PREFIX")
    try:
        parts = urllib.parse.urlsplit(value)
        port = parts.port
    except ValueError:
        raise wrong from None
    plain = value.isprintable() and " " not in value
    if not plain or parts.scheme not in ("http", "https") or not parts.hostname:
        raise wrong
    if parts.query or parts.fragment or port == 0:
        raise wrong
    place = parts.netloc.rpartition("@")[2]
    bare = urllib.parse.urlunsplit((parts.scheme, place, parts.path, "", ""))
    words = (parts.username, parts.password)
    user, password = (None if each is None else urllib.parse.unquote(each) for each in words)
    return bare, user, password


def _match(context: click.Context, parameter: click.Parameter, value: str) -> str:
    return value.strip().removeprefix("{").removesuffix("}").strip(" ,")


@click.command(name="cluster", short_help="All nodes at a glance, from Prometheus.")
@click.option(
    "--prometheus",
    "place",
    required=True,
    callback=_url,
    envvar="ARPWHY_PROMETHEUS",
    show_envvar=True,
    metavar="URL",
    help="The Prometheus that scrapes the nodes' exporters.",
)
@click.option(
    "--match",
    default="",
    callback=_match,
    envvar="ARPWHY_MATCH",
    metavar="MATCHERS",
    show_default="all nodes",
    help="""Only series with these labels, as in PromQL: 'cluster="a",job="arpwhy"'.""",
)
@object_format
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=3600),
    default=10.0,
    envvar="ARPWHY_TIMEOUT",
    metavar="SECONDS",
    show_default=True,
    help="How long the answers may take, all together.",
)
@click.option(
    "--user",
    envvar="ARPWHY_USER",
    metavar="NAME",
    help="For basic authentication; the password is that of --password-file.",
)
@click.option(
    "--password-file",
    type=click.Path(dir_okay=False),
    envvar="ARPWHY_PASSWORD_FILE",
    metavar="FILE",
    show_default="$ARPWHY_PASSWORD",
    help="Holds the password, on its first line.",
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False),
    envvar="ARPWHY_TOKEN_FILE",
    metavar="FILE",
    show_default="$ARPWHY_TOKEN",
    help="Holds a bearer token, on its first line.",
)
@click.option(
    "--ca",
    type=click.Path(dir_okay=False),
    envvar="ARPWHY_CA",
    metavar="FILE",
    show_default="the system's",
    help="Certificates to trust, for https.",
)
def command(
    place: tuple[str, str | None, str | None],
    match: str,
    form: str,
    timeout: float,
    user: str | None,
    password_file: str | None,
    token_file: str | None,
    ca: str | None,
) -> None:
    """Show the interfaces of all nodes that get no reply from their gateway, worst first.

    Asks the Prometheus that scrapes the nodes' exporters. A node whose exporter does not
    answer is shown as such. Exit status 3 if an interface is flagged, the state of a node is
    unknown or Prometheus warns that its answers are not whole, 1 if it cannot be asked or has
    no metrics of arpwhy.
    """
    url, url_user, url_password = place
    access = _access(
        user or url_user,
        _secret(password_file, "ARPWHY_PASSWORD") or url_password,
        _secret(token_file, "ARPWHY_TOKEN"),
        ca,
    )
    try:
        found = ask(Prometheus(url, access, timeout), match)
    except QueryError as error:
        if match:
            raise click.UsageError(f"--match: {error}") from None
        fail(f"{url}: {error}")
    except PrometheusError as error:
        fail(str(error))
    if found is None:
        of = f" that match {match}" if match else ""
        fail(f"{url} has no metrics of arpwhy{of}, nor a job called arpwhy: nothing is known")
    try:
        with StopSignals() as stop:
            output = standard_output(stop)
            if form == "json":
                output.write(record.line(found, url))
            else:
                colour = os.isatty(STDOUT) and "NO_COLOR" not in os.environ
                for each in found.warnings:
                    say(f"arpwhy: not all may be here: {each}")
                output.write(Text(colour=colour).whole(found))
            output.flush()
    except (OutputClosed, OutputBlocked):
        pass
    except OutputFailed as error:
        fail(str(error))
    sys.exit(0 if found.well else PROBLEM)


def _access(user: str | None, password: str | None, token: str | None, ca: str | None) -> Access:
    if token is not None and user is not None:
        raise click.UsageError("a user and a bearer token: only one of them")
    if token is not None:
        if not (token.isascii() and token.isprintable()):
            fail("the bearer token is not printable ASCII")
        return Access.bearer(token, ca)
    if user is None:
        return Access(ca=ca)
    if ":" in user:
        raise click.UsageError("a user's name has no colon")
    return Access.basic(user, password or "", ca)


def _secret(path: str | None, variable: str) -> str | None:
    """What is on the first line of the file, else in the environment variable."""
    if path is None:
        return os.environ.get(variable) or None
    try:
        secret = Path(path).read_text("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        fail(printable(f"cannot read {path}: {why}"))
    if not secret:
        fail(printable(f"{path}: its first line is empty"))
    return secret
