"""Topics of a test's own on the session's broker."""

import itertools
import os

import pytest

_numbers = itertools.count(1)


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that no other test uses, also on a broker that outlives this session."""
    return f"t{os.getpid()}-{next(_numbers)}-"
