# SPDX-License-Identifier: Apache-2.0
"""This kernel as an order needs it, and the engines compiled for it, perhaps before."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256

from tracer.kernel import btf, compiler, headers, symbols
from tracer.kernel.btf import Btf, BtfError
from tracer.kernel.cache import Cache, key, place
from tracer.kernel.compiled import Compiled
from tracer.kernel.description import Description
from tracer.kernel.engines import fentry, kprobe, tracepoint
from tracer.kernel.engines.engine import Engine
from tracer.kernel.handover import Order
from tracer.kernel.programs import TRAMPOLINES
from tracer.kernel.symbols import Symbols

ENGINES = {each.name: each for each in (fentry.ENGINE, kprobe.ENGINE, tracepoint.ENGINE)}


class Prepared:
    """``functions``: BTF ids of those that fentry and fexit can be attached to."""

    def __init__(self, order: Order) -> None:
        """Raises BtfError, SymbolsError."""
        self._order = order
        self._cache = Cache(place() if order.cache else None)
        self._symbols_at = key("symbols", symbols.state())
        self.symbols = Symbols.load(answers=self._cache.load(self._symbols_at))
        self._known = len(self.symbols.answers)
        self.description = self._described(order.btf or btf.VMLINUX)
        self.functions = self.description.functions
        if order.btf:  # the kernel takes ids of its own BTF alone
            self.functions = {}
            with suppress(BtfError):
                self.functions = self._described(btf.VMLINUX).functions

    def keep_symbols(self) -> None:
        """For the next start: what was asked of them till now."""
        if len(self.symbols.answers) > self._known:
            self._cache.store(self._symbols_at, self.symbols.answers)

    @property
    def remarks(self) -> list[str]:
        """What was wrong with the cache, a line each."""
        return self._cache.remarks

    def compiled(self, engine: Engine, arp_in_netns: int) -> Compiled:
        """``arp_in_netns``: as of compiler.c_text(). Raises LoadError."""
        text = compiler.c_text(engine, self._order, self.description, self.symbols, arp_in_netns)
        made_by = (compiler.bcc_version(), os.uname().machine, *headers.tree().values())
        at = key("engine", text, *made_by)
        entry = self._cache.load(at)
        if entry is not None:
            return Compiled.from_entry(entry)
        compiled = compiler.compile_engine(engine, text)
        self._cache.store(at, compiled.to_entry())
        return compiled

    def _described(self, path: str) -> Description:
        hooks = (hook for engine in ENGINES.values() for hook in engine.hooks.steady)
        functions = sorted({hook.place for hook in hooks if hook.kind in TRAMPOLINES})
        at = key("description", sha256(btf.read(path)).digest(), *functions)
        entry = self._cache.load(at)
        if entry is not None:
            return Description.from_entry(entry)
        description = Description.of(Btf.load(path), functions)
        self._cache.store(at, description.to_entry())
        return description
