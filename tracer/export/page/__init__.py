# SPDX-License-Identifier: Apache-2.0
"""The status page of a node: what gets no reply, why, and the mend, for a person."""

from tracer.export.page.page import Page

__all__ = ["Page"]
