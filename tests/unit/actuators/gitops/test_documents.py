"""What doctor asks a cluster about Flux and Argo CD."""

import asyncio
from typing import Any, cast

import pytest

from ctrlplane_stream.actuators.gitops.documents import NotTold, _get
from ctrlplane_stream.actuators.kubernetes.transport import Reply, Request, Transport


class Busy:
    """Answers 429 so often, then with an empty list."""

    def __init__(self, times: int) -> None:
        self.times = times

    async def send(self, request: Request, **more: Any) -> Reply:
        self.times -= 1
        return Reply(429, b"", 0.01) if self.times >= 0 else Reply(200, b'{"items": []}')


def test_a_server_that_is_busy_is_asked_again() -> None:
    """As one is for a moment that just learned of a kind."""
    assert asyncio.run(_get(cast("Transport", Busy(3)), "/apis")) == {"items": []}


def test_one_that_stays_busy_is_said_to_have_told_nothing() -> None:
    with pytest.raises(NotTold, match="GET /apis gave 429"):
        asyncio.run(_get(cast("Transport", Busy(9)), "/apis"))
