# SPDX-License-Identifier: Apache-2.0
"""Names of the pods behind interfaces: ``--pods``. See docs/pods.md.

::

    with open_pods(options, say) as pods:
        pods("calic440f455693")   # {"namespace": "default", "name": "nginx"} or None

A look-up is one in a dictionary, from any thread; what fills it runs on threads of its
own. Names are not in a recording: a replay has none.
"""

from __future__ import annotations

from tracer.pods.opening import PodNames, PodsError, open_pods

__all__ = ["PodNames", "PodsError", "open_pods"]
