"""Whoever waits for the topics to show something is told why they cannot."""

import asyncio

import pytest

from ctrlplane_stream.local.demo.audience import Audience, NotSeen
from ctrlplane_stream.settings import Settings


def test_whoever_waits_hears_of_a_part_that_ended_though_no_record_comes() -> None:
    """A worker that died decides nothing that would wake anybody: its last words are the answer, and not that the time was up."""
    looks = iter([[], []])
    audience = Audience(Settings(), "demo")
    audience.troubles = lambda: next(looks, ["worker ended with status -9: killed"])
    with pytest.raises(NotSeen, match="a rollout: not seen; worker ended with status -9"):
        asyncio.run(audience.until(lambda: False, 200.0, "a rollout"))
