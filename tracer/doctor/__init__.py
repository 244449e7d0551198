# SPDX-License-Identifier: Apache-2.0
"""Can this machine trace? What is asked of it, and what follows.

``facts`` reads, ``trial`` really loads and attaches (in a child, ``probe``); ``checks``
and ``ways`` judge what came of it, and ``text`` and ``record`` say it. Only the first
three touch the machine.
"""
