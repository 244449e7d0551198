# SPDX-License-Identifier: Apache-2.0
"""Options that trace, top and export share; each also reads ARPWHY_<OPTION>."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable
from typing import Any

import click

from tracer.cli.pods import POD_OPTIONS
from tracer.kernel import filters
from tracer.kernel.engines.names import NAMES
from tracer.options import DEFAULT_GLOBS, DEFAULT_TARGETS, Options, PodOptions, parse_targets


def _globs(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    try:
        filters.name_macro(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value


def _targets(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[ipaddress.IPv4Address, ...] | None:
    try:
        return parse_targets(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_OPTIONS = (
    click.option(
        "-i",
        "--interface",
        "globs",
        multiple=True,
        default=DEFAULT_GLOBS,
        callback=_globs,
        envvar="ARPWHY_INTERFACE",
        metavar="GLOB",
        show_default=True,
        help="Interfaces to trace; may be given again.",
    ),
    click.option(
        "--target",
        "targets",
        multiple=True,
        default=DEFAULT_TARGETS,
        callback=_targets,
        envvar="ARPWHY_TARGET",
        metavar="IP",
        show_default=True,
        help="Judge requests for this address, or 'any'; may be given again.",
    ),
    click.option(
        "--engine",
        type=click.Choice(["auto", *NAMES]),
        default="auto",
        envvar="ARPWHY_ENGINE",
        show_default=True,
        help="How to follow the kernel; auto takes the cheapest that works.",
    ),
    click.option(
        "--all-netns",
        is_flag=True,
        envvar="ARPWHY_ALL_NETNS",
        show_default="off",
        help="Trace every network namespace, not only our own.",
    ),
    click.option(
        "--btf",
        type=click.Path(),
        envvar="ARPWHY_BTF",
        metavar="FILE",
        show_default="/sys/kernel/btf/vmlinux",
        help="The kernel's BTF.",
    ),
    click.option(
        "--no-cache",
        is_flag=True,
        envvar="ARPWHY_NO_CACHE",
        show_default="off",
        help="Compile anew: neither take programs from the cache nor keep them there.",
    ),
    *POD_OPTIONS,
)


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the shared options; the command gets them as one ``options: Options``."""

    @functools.wraps(command)
    def with_options(
        globs: tuple[str, ...],
        targets: tuple[ipaddress.IPv4Address, ...] | None,
        engine: str,
        all_netns: bool,
        btf: str | None,
        no_cache: bool,
        pods: str,
        prefixes: tuple[str, ...],
        kubeconfig: str | None,
        node_name: str | None,
        **rest: Any,
    ) -> Any:
        wanted = None if engine == "auto" else engine
        named = PodOptions(pods, prefixes, kubeconfig, node_name)
        options = Options(globs, targets, wanted, all_netns, btf, named, not no_cache)
        return command(options=options, **rest)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options
