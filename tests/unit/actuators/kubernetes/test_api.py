"""What the client makes of an API server's answers; nothing is sent anywhere, and time is virtual."""

import asyncio

import aiohttp
import pytest

from ctrlplane_stream.actuators.kubernetes.api import Cluster, Conflict
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused, Reply
from ctrlplane_stream.actuators.port import WorldUnreachable
from tests.unit.actuators import virtual_time

FOUND = b'{"metadata": {"name": "cart", "resourceVersion": "7"}}'


class Scripted:
    """Answers in their order, the last for ever; an exception is raised. Remembers when it was asked."""

    def __init__(self, *answers) -> None:
        self._answers = list(answers)
        self.asked: list[float] = []

    async def send(self, request):
        self.asked.append(asyncio.get_running_loop().time())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        pass


def asked(transport, doing=lambda cluster: cluster.get(Kind.SERVICE, "shop", "cart")):
    """What ``doing`` gives over this transport."""

    async def run():
        async with Cluster(transport, "the server", clock=asyncio.get_running_loop().time) as cluster:
            return await doing(cluster)

    return virtual_time.run(run())


def test_a_busy_server_is_left_alone_as_long_as_it_asks():
    """429 with Retry-After: the next try comes no earlier, and not at just that moment either."""
    transport = Scripted(Reply(429, b'{"message": "too many"}', 2.0), Reply(200, FOUND))
    assert asked(transport)["metadata"]["name"] == "cart"
    assert transport.asked[1] - transport.asked[0] > 2.0


@pytest.mark.parametrize(
    "answer", [Reply(429, b"{}"), Reply(503, b"not ready"), ConnectionResetError(), TimeoutError(), aiohttp.ClientError()]
)
def test_what_stays_away_is_unreachable_after_a_few_tries(answer):
    """The world could not be asked: the caller's own patience goes on from there."""
    transport = Scripted(answer)
    with pytest.raises(WorldUnreachable, match="does not answer GET /api/v1/namespaces/shop/services/cart"):
        asked(transport)
    assert len(transport.asked) == 4


def test_an_answer_that_was_lost_once_is_asked_for_again():
    """A lost answer says nothing of what happened."""
    assert asked(Scripted(ConnectionResetError(), Reply(200, FOUND)))["metadata"]["resourceVersion"] == "7"


def test_what_a_server_forbids_that_is_just_back_is_asked_for_again():
    """It does not know yet who may do what: an abort that meets it must not be given up. Later it is a refusal."""
    forbidden = Reply(403, b'{"message": "forbidden"}')
    assert asked(Scripted(ConnectionResetError(), forbidden, forbidden, Reply(200, FOUND)))["metadata"]["resourceVersion"] == "7"
    with pytest.raises(WorldUnreachable, match="403: forbidden"):
        asked(Scripted(ConnectionResetError(), forbidden))

    async def twice(cluster):
        await cluster.get(Kind.SERVICE, "shop", "cart")
        await asyncio.sleep(31)
        return await cluster.get(Kind.SERVICE, "shop", "cart")

    with pytest.raises(ApiRefused, match="forbidden"):
        asked(Scripted(ConnectionResetError(), Reply(200, FOUND), forbidden), twice)


@pytest.mark.parametrize(
    ("status", "said", "raised"),
    [
        (401, "Unauthorized", WorldUnreachable),
        (403, "forbidden", ApiRefused),
        (409, "the object has been modified", Conflict),
        (404, "not found", Conflict),
        (422, "the server rejected our request due to an error in our request", Conflict),
        (422, "spec.replicas: must be greater than or equal to 0", ApiRefused),
    ],
)
def test_a_guarded_patch_that_is_not_made_says_why(status, said, raised):
    """Changed meanwhile is a conflict; what will never do is refused; credentials may be renewed, so that they are no refusal."""
    transport = Scripted(Reply(status, b'{"message": "%s"}' % said.encode()))
    with pytest.raises(raised):
        asked(transport, lambda cluster: cluster.patch(Kind.SERVICE, "shop", "cart", []))
    assert len(transport.asked) == 1


def test_an_older_state_than_was_seen_before_is_no_answer():
    """A server that lags behind is asked again; what it then says is newer, and rules."""
    older, newer = FOUND, FOUND.replace(b'"7"', b'"12"')
    transport = Scripted(Reply(200, newer), Reply(200, older), Reply(200, older), Reply(200, newer))

    async def twice(cluster):
        first = await cluster.get(Kind.SERVICE, "shop", "cart")
        return first, await cluster.get(Kind.SERVICE, "shop", "cart")

    assert [each["metadata"]["resourceVersion"] for each in asked(transport, twice)] == ["12", "12"]
    assert len(transport.asked) == 4


def test_an_object_that_was_written_is_never_read_as_it_was_before():
    """Not even by a server that does not know yet."""
    transport = Scripted(Reply(200, FOUND.replace(b'"7"', b'"12"')), Reply(200, FOUND))

    async def written(cluster):
        await cluster.patch(Kind.SERVICE, "shop", "cart", [])
        await cluster.get(Kind.SERVICE, "shop", "cart")

    with pytest.raises(WorldUnreachable, match="older state"):
        asked(transport, written)
