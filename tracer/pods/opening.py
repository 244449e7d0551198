# SPDX-License-Identifier: Apache-2.0
"""What --pods asks for, opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracer.options import Options


class PodsError(Exception):
    """Names were asked for and cannot be had; the text is one line for the user."""


class PodNames:
    """An interface's name -> ``{"namespace": ..., "name": ...}``, or None if no pod is known."""

    def __call__(self, interface: str) -> Mapping[str, str] | None:
        return None

    def close(self) -> None:
        """End the threads. What was known stays known."""

    def __enter__(self) -> PodNames:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_pods(options: Options, say: Callable[[str], None]) -> PodNames:
    """The names that ``options.pods`` asks for; with ``off`` there are none.

    ``say`` takes a line for the user, from any thread. Raises PodsError.
    """
    return PodNames()
