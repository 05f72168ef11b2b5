"""A real control plane for the session, and a namespace for each test in which the product has its least rights and no more."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctrlplane_stream.local.control_plane.binary import missing_parts
from ctrlplane_stream.local.control_plane.lab import Lab, open_lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the control plane, which a cold cache has to build first."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kubernetes)
            item.add_marker(pytest.mark.timeout(1500))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The cluster of the session; a test that stops a part of it brings it back."""
    missing = missing_parts()
    if missing and os.environ.get("REQUIRE_REAL") == "1":
        pytest.fail("; ".join(missing), pytrace=False)
    if missing:
        pytest.skip("; ".join(missing))
    with open_lab() as lab:
        yield lab
