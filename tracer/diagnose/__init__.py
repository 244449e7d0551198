# SPDX-License-Identifier: Apache-2.0
"""What the node's configuration says of each interface, judged by the causes."""

from tracer.diagnose.diagnosis import Diagnosis, Found, diagnose

__all__ = ["Diagnosis", "Found", "diagnose"]
