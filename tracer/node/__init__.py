# SPDX-License-Identifier: Apache-2.0
"""The look at the node: sysctls, and the kernel's own answer to the route question."""

from tracer.node.look import Look, RouteAnswer

__all__ = ["Look", "RouteAnswer"]
