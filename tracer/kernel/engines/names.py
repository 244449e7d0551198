# SPDX-License-Identifier: Apache-2.0
"""The engines' names, the cheapest first: --engine auto takes the first that can run."""

NAMES = ("fentry", "kprobe", "tracepoint")
