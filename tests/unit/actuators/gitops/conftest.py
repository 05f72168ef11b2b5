"""Clones that tests leave behind are let go while the interpreter still can."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _let_go() -> Iterator[None]:
    yield
    gc.collect()
