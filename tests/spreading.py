"""How several pytest workers share the tests (``pytest -n``): each real part is started once by each worker that uses it.

Tests on real parts mostly wait, for windows to close, sessions to end, leases to lapse. Two workers run at once: a third was
faster, and now and then made the demo's services so slow for some windows that the judge found harm, rightly by what it saw.
Tests of a file stay together and in order, as they share its fixtures. Those of one cluster do so too, and the demo's.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

_TOGETHER = ("tests/integration/test_demo", "tests/kubernetes/")
"""Beginnings of names whose tests one worker runs. They take longest, so they begin first."""


def group(nodeid: str) -> str:
    """What a test is run together with: a beginning of ``_TOGETHER``, else its file."""
    return next((name for name in _TOGETHER if nodeid.startswith(name)), nodeid.partition("::")[0])


def longest_first(items: list[pytest.Item]) -> None:
    """Put what takes longest first, everything else in the order that it has."""
    order = {name: place for place, name in enumerate(_TOGETHER)}
    items.sort(key=lambda item: order.get(group(item.nodeid), len(order)))


def by_group(config: pytest.Config, log: object) -> "LoadScopeScheduling":
    """Hands whole groups to workers: who is done takes the next."""
    from xdist.scheduler import LoadScopeScheduling  # without -n nobody needs it

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    config.option.loadscopereorder = False
    return ByGroup(config, log)
