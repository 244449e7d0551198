# SPDX-License-Identifier: Apache-2.0
"""Coverage counts the tests with fixed examples alone."""

from collections.abc import Iterator

import pytest
from coverage import Coverage


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Off while hypothesis makes up examples.

    They differ from run to run, and traced they take as long again as all other tests.
    """
    measuring = Coverage.current()
    if measuring is None or item.get_closest_marker("hypothesis") is None:
        return (yield)
    measuring.stop()
    try:
        return (yield)
    finally:
        measuring.start()
