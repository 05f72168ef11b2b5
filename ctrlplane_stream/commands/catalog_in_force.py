"""The catalog in force, as anybody reads it from its topic, and what is said of an environment that it has not."""

import asyncio
from contextlib import suppress

from ctrlplane_stream.commands.options import BROKER_TROUBLE, broker_failed, require_broker
from ctrlplane_stream.model.catalog import no_such_environment
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.editions import TAKES_OFF, TOPIC, Editions, InForce
from ctrlplane_stream.wire.kafka_clients import read_to_end, take_off


def in_force(settings: Settings) -> InForce | None:
    """The catalog in force, None before the first; ends the command where no broker answers."""
    require_broker(settings)
    try:
        return asyncio.run(newest(settings))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)


def take_off_needless(settings: Settings) -> None:
    """Take off the topic what nobody needs any more; where the broker is gone by now, whoever applies next does."""

    async def taken_off() -> None:
        if needless := (await read_editions(settings)).needless:
            await take_off(settings, TOPIC, needless, TAKES_OFF)

    with suppress(*BROKER_TROUBLE):
        asyncio.run(taken_off())


def unknown_environment(settings: Settings, environment: str) -> str | None:
    """That there is no such environment, with those that there are; None where the catalog in force has it."""
    current = in_force(settings)
    return no_such_environment(environment, current.record.catalog if current is not None else None)


def unheard_of(settings: Settings, environment: str) -> str:
    """Why the engine has no catalog of an environment: there is no such environment, or no engine has read of it yet."""
    not_read = f"no engine has read the catalog of {environment} yet: does a worker of the role engine run? `ctrlplane-stream doctor` says"
    return unknown_environment(settings, environment) or not_read


async def newest(settings: Settings) -> InForce | None:
    """The catalog in force, None before the first. Raises what the client does where no broker answers."""
    return (await read_editions(settings)).in_force


async def read_editions(settings: Settings) -> Editions:
    """All that the topic holds. Raises what the client does where no broker answers."""
    editions = Editions()
    async for found in read_to_end(settings, TOPIC):
        editions.take((found.partition, found.key), found.value, found.timestamp)
    return editions
