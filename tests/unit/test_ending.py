"""What ends tasks ends them all."""

import asyncio
import contextlib

import pytest

from ctrlplane_stream.ending import end_tasks, to_its_end


async def _deaf(times: int) -> None:
    """Somebody in whom so many cancellations are lost."""
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1e6)
    await asyncio.sleep(1e6)


async def _fails() -> None:
    raise OSError("the connection was closed")


def test_a_task_in_which_cancellations_are_lost_ends_all_the_same() -> None:
    async def play() -> list[bool]:
        tasks = [asyncio.create_task(_deaf(times)) for times in (0, 1, 3)]
        await asyncio.sleep(0)
        await end_tasks(tasks, again_seconds=0.001)
        return [task.cancelled() for task in tasks]

    assert asyncio.run(play()) == [True, True, True]


def test_what_a_task_ended_with_is_nobodys_error_any_more() -> None:
    async def play() -> list[object]:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        tasks = [asyncio.create_task(_fails())]
        await asyncio.sleep(0)
        await end_tasks(tasks)
        del tasks
        return told

    assert asyncio.run(play()) == []


def test_nothing_to_end_is_ended() -> None:
    asyncio.run(end_tasks([]))


@pytest.mark.parametrize("times", [0, 1, 3])
def test_what_must_not_be_left_half_done_is_done_however_often_it_is_cancelled(times: int) -> None:
    """And then the cancellation counts."""

    async def play() -> tuple[bool, list[str]]:
        did: list[str] = []

        async def clean_up() -> None:
            await asyncio.sleep(0.05)
            did.append("cleaned up")

        task = asyncio.create_task(to_its_end(clean_up()))
        for _ in range(times):
            await asyncio.sleep(0.005)
            task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), did

    assert asyncio.run(play()) == (times > 0, ["cleaned up"])


def test_what_goes_wrong_in_it_is_raised() -> None:
    with pytest.raises(OSError, match="the connection was closed"):
        asyncio.run(to_its_end(_fails()))
