"""One version at work: an operation's stages in their order, with the faults of the version's conduct."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from random import Random
from typing import assert_never

import msgspec

from ctrlplane_stream.local.shop import touched
from ctrlplane_stream.local.shop.calls import Answer, Caller
from ctrlplane_stream.local.shop.database import Database
from ctrlplane_stream.local.shop.surroundings import Surroundings
from ctrlplane_stream.local.shop.topology import Action, Call, Operation, Publish, Query
from ctrlplane_stream.local.shop.touched import Touched

_OK, _OUR_FAULT, _CALLEES_FAULT = 200, 500, 502


class Performance(msgspec.Struct, frozen=True):
    """How an operation ended: an HTTP status, and every version that it touched."""

    status: int
    touched: Touched

    @property
    def ok(self) -> bool:
        """Whether it went well."""
        return self.status == _OK


class Version:
    """Performs the operations of one version of a service. ``publish`` must be given where the service publishes."""

    def __init__(
        self,
        surroundings: Surroundings,
        caller: Caller,
        database: Database,
        random: Random,
        publish: Callable[[Publish, bytes], None] | None = None,
    ) -> None:
        self._conduct = surroundings.conduct
        self._stray = surroundings.service.stray if surroundings.conduct.strays else None
        self._itself = touched.itself(surroundings.service.name, surroundings.version)
        self._caller = caller
        self._database = database
        self._publish = publish
        self._random = random
        self._begun = 0

    async def perform(self, operation: Operation) -> Performance:
        """Do the operation. A version that dies does not come back from here, and tells nobody."""
        self._begun += 1
        if self._begun == self._conduct.dies_at_request:
            os.kill(os.getpid(), signal.SIGKILL)
        work = self._random.uniform(0.5, 1.5) * operation.work_milliseconds
        await asyncio.sleep((work + self._conduct.delay_milliseconds) / 1000.0)
        if self._random.random() < self._conduct.error_share:
            return Performance(_OUR_FAULT, self._itself)
        return await self._stages(operation)

    async def _stages(self, operation: Operation) -> Performance:
        so_far = self._itself
        for stage in operation.stages:
            answers = await asyncio.gather(*(self._act(action) for action in self._actions(stage)))
            so_far = touched.join([so_far, *(answer.touched for answer in answers)])
            if not all(answer.ok for answer in answers):
                return Performance(_CALLEES_FAULT, so_far)
        if self._stray is not None:
            so_far |= (await self._caller.call(self._stray)).touched
        return Performance(_OK, so_far)

    def _actions(self, stage: tuple[Action, ...]) -> Iterator[Action]:
        for action in stage:
            repeats = self._conduct.calls_each if isinstance(action, Call) else 1
            yield from [action] * repeats

    async def _act(self, action: Action) -> Answer:
        match action:
            case Call():
                return await self._caller.call(action)
            case Query():
                self._database.run(action)
                return Answer(True)
            case Publish():
                assert self._publish is not None, "a service that publishes was given nothing to publish with"
                self._publish(action, b"an order")
                return Answer(True)
            case _:
                assert_never(action)
