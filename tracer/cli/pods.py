# SPDX-License-Identifier: Apache-2.0
"""The options of the pods' names."""

from __future__ import annotations

import click

from tracer.options import DEFAULT_PREFIXES, POD_MODES


def _prefixes(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """Each may be a list with commas, as Felix takes it."""
    prefixes = tuple(filter(None, (part.strip() for text in value for part in text.split(","))))
    if not prefixes:
        raise click.BadParameter("no prefix in it.")
    for prefix in prefixes:
        if not prefix.isascii() or not prefix.isprintable() or "/" in prefix or " " in prefix:
            raise click.BadParameter(f"{prefix!r} cannot begin an interface's name.")
    return tuple(dict.fromkeys(prefixes))


POD_OPTIONS = (
    click.option(
        "--pods",
        type=click.Choice(POD_MODES),
        default="auto",
        envvar="ARPWHY_PODS",
        show_default=True,
        help="Name the pods behind interfaces, from the Kubernetes API;"
        " auto does where a service account is mounted.",
    ),
    click.option(
        "--pods-prefix",
        "prefixes",
        multiple=True,
        default=DEFAULT_PREFIXES,
        callback=_prefixes,
        envvar="ARPWHY_PODS_PREFIX",
        metavar="PREFIX",
        show_default=True,
        help="What Calico's interface names begin with (FELIX_INTERFACEPREFIX);"
        " may be given again.",
    ),
    click.option(
        "--kubeconfig",
        type=click.Path(),
        envvar="ARPWHY_KUBECONFIG",
        metavar="FILE",
        show_default="service account, $KUBECONFIG, ~/.kube/config",
        help="How to reach the API for --pods kubernetes.",
    ),
    click.option(
        "--node-name",
        envvar=["ARPWHY_NODE_NAME", "NODE_NAME"],
        metavar="NAME",
        show_default="$NODE_NAME, host name",
        help="This node's name in the cluster, whose pods are asked for.",
    ),
)
