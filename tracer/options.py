# SPDX-License-Identifier: Apache-2.0
"""What a trace is asked to do, checked."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from tracer.events import GATEWAY
from tracer.kernel import filters
from tracer.kernel.engines.names import NAMES
from tracer.kernel.handover import Order

DEFAULT_GLOBS = ("cali*",)
DEFAULT_TARGETS = (GATEWAY,)
DEFAULT_PREFIXES = ("cali",)
FORMATS = ("text", "json")
ONLY = ("all", "unanswered", "flags")
POD_MODES = ("auto", "off", "kubernetes")


@dataclass(frozen=True, slots=True)
class PodOptions:
    """As the options --pods, --pods-prefix, --kubeconfig and --node-name."""

    mode: str = "off"
    prefixes: tuple[str, ...] = DEFAULT_PREFIXES
    kubeconfig: str | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """``targets`` None is any; ``engine`` None is auto; ``cache``: as of Order."""

    globs: tuple[str, ...]
    targets: tuple[ipaddress.IPv4Address, ...] | None
    engine: str | None
    all_netns: bool
    btf: str | None
    pods: PodOptions = PodOptions()
    cache: bool = True

    @property
    def target_names(self) -> tuple[str, ...]:
        return ("any",) if self.targets is None else tuple(str(t) for t in self.targets)

    def order(self) -> Order:
        return Order(
            engines=NAMES if self.engine is None else (self.engine,),
            name_macro=filters.name_macro(self.globs),
            netns_macro=filters.netns_macro(None if self.all_netns else own_netns()),
            target_macro=filters.target_macro(self.targets),
            btf=self.btf,
            cache=self.cache,
        )


def own_netns() -> int:
    """The inode of this process's network namespace."""
    return Path("/proc/self/ns/net").stat().st_ino


def parse_targets(texts: tuple[str, ...]) -> tuple[ipaddress.IPv4Address, ...] | None:
    """Raises ValueError naming what is not an IPv4 address."""
    if "any" in texts:
        return None
    return tuple(dict.fromkeys(ipaddress.IPv4Address(text) for text in texts))
