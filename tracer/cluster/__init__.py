# SPDX-License-Identifier: Apache-2.0
"""All nodes at a glance, from the Prometheus that scrapes their exporters."""
