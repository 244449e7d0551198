# SPDX-License-Identifier: Apache-2.0
"""arpwhy: why a pod's gateway does not answer ARP."""

__version__ = "0.1.0"
