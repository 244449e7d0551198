# SPDX-License-Identifier: Apache-2.0
"""The command ``arpwhy``. One file a subcommand; each is imported when it is called."""

from __future__ import annotations

import importlib

import click

from tracer import __version__

# A new command is a file of this name here, and a line.
_COMMANDS = {
    "trace": "A live trace: a line for every request, flag and neighbour event.",
    "export": "Prometheus exporter and status page.",
    "replay": "A recording through the same pipeline as trace.",
    "explain": "The page of a cause: what it means, how it is recognised, the mend.",
    "diagnose": "One look at the node: which interfaces would get no reply, and why.",
    "doctor": "Can this machine trace? What is missing, and how to get it.",
    "cluster": "The flagged interfaces of all nodes, from Prometheus.",
}


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"tracer.cli.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="arpwhy")
def main() -> None:
    """Why does a pod's gateway not answer?

    Follows the kernel's own ARP path with eBPF, judges every request on Calico's
    interfaces at the moment the kernel has decided, and names the cause and the mend.
    """
