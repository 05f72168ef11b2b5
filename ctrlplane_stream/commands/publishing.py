"""What the commands that write one record share: send it, say where it went, and what the engine made of it."""

import asyncio
import getpass
import os
import uuid
from collections.abc import Callable
from typing import Any

import click
import msgspec

from ctrlplane_stream.commands.options import BROKER_TROUBLE, broker_failed, fail, print_json, require_broker
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.answers import Answer, Listening
from ctrlplane_stream.wire.kafka_clients import publish

SOURCE = "ctrlplane-stream/cli"


class Told(msgspec.Struct, frozen=True):
    """Where a record was written, and what the engine made of it (nothing: nobody said in time, or was asked)."""

    what: str
    topic: str
    partition: int
    offset: int
    answers: tuple[Answer, ...] = ()


def new_id() -> str:
    """An id that nobody else has: the event's, by which a repetition is known."""
    return str(uuid.uuid4())


def who_am_i() -> str:
    """The user's name, for events that say who sent them; its number where it has no name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def takes_wait(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--wait``, passed as ``wait_seconds``."""
    kind = click.FloatRange(0)
    return click.option("--wait", "wait_seconds", default=10.0, type=kind, help="Wait so many seconds for the engine's answer [10].")(
        command
    )


def send(
    settings: Settings, topic: str, value: bytes, what: str, *, environment: str | None = None, key: str | None = None, wait: float = 0
) -> Told:
    """Write the record, wait for the broker, and ``wait`` seconds for the engine; the command fails where the broker does not take it."""
    require_broker(settings)
    try:
        return asyncio.run(_sent(settings, topic, value, what, environment, key, wait))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)


async def _sent(settings: Settings, topic: str, value: bytes, what: str, environment: str | None, key: str | None, wait: float) -> Told:
    if wait == 0:
        done = await publish(settings, topic, value, environment=environment, key=key)
        return Told(what, done.topic, done.partition, done.offset)
    async with Listening(settings, environment) as listening:
        done = await publish(settings, topic, value, environment=environment, key=key)
        answers = await listening.answers(topic, done.partition, done.offset, wait)
    return Told(what, done.topic, done.partition, done.offset, answers)


def report(told: Told, as_json: bool, *, waited: float = 0) -> None:
    """Print where it went and each answer; the command fails with the reason where one refuses."""
    if as_json:
        print_json(told)
    else:
        click.echo("\n".join(_words(told, waited)))
    refusals = [text for answer in told.answers if answer.refused for text in answer.reasons]
    if refusals:
        fail("; ".join(refusals))


def _words(told: Told, waited: float) -> list[str]:
    place = f"{told.what}: written to {told.topic}, partition {told.partition}, offset {told.offset}"
    if waited and not told.answers:
        return [f"{place}; no engine answered within {waited:g} s: the first that runs acts on it; `ctrlplane-stream doctor` looks closer"]
    said = [f"  {answer.environment}: {text}" for answer in told.answers if not answer.refused for text in answer.reasons]
    return [place, *said]
