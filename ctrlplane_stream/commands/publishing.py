"""What the commands that write one record share: send it, say where it went, and what the engine made of it."""

import asyncio
import getpass
import os
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import click
import msgspec
from aiokafka import ConsumerRecord

from ctrlplane_stream.commands.options import BROKER_TROUBLE, Finite, broker_failed, fail, print_json, require_broker
from ctrlplane_stream.commands.statuses import DONE, FAILED, end
from ctrlplane_stream.decision.standstill import Standstill
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.answers import Answer, Listening
from ctrlplane_stream.stream.looking import look_for_standstills
from ctrlplane_stream.wire.kafka_clients import publish

SOURCE = "ctrlplane-stream/cli"


class Told(msgspec.Struct, frozen=True):
    """Where a record was written, and what the engine made of it (nothing: nobody said in time, or was asked).

    ``error`` is why nothing came of it, None where something did or nobody said; ``status`` the exit status of the command.
    ``standstills``: where nobody said, environments that stand still, so that it waits there.
    """

    what: str
    topic: str
    partition: int
    offset: int
    answers: tuple[Answer, ...] = ()
    error: str | None = None
    status: int = DONE
    standstills: tuple[Standstill, ...] = ()


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
    text = "How long to wait for the engine's answer; 0: only until the broker has it."
    kind = Finite(0)
    return click.option("--wait", "wait_seconds", metavar="SECONDS", default=10.0, show_default=True, type=kind, help=text)(command)


def send(
    settings: Settings,
    topic: str,
    value: bytes,
    what: str,
    *,
    environment: str | None = None,
    key: str | None = None,
    beside: str | None = None,
    wait: float = 0,
) -> Told:
    """Write the record, wait for the broker, and ``wait`` seconds for the engine; the command fails where the broker does not take it."""
    require_broker(settings)

    def write() -> Awaitable[ConsumerRecord]:
        return publish(settings, topic, value, environment=environment, key=key, beside=beside)

    try:
        return asyncio.run(_sent(settings, topic, write, what, environment, wait))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)


async def _sent(
    settings: Settings, topic: str, write: Callable[[], Awaitable[ConsumerRecord]], what: str, environment: str | None, wait: float
) -> Told:
    if wait == 0:
        done = await write()
        return Told(what, done.topic, done.partition, done.offset)
    async with Listening(settings, environment) as listening:
        done = await write()
        answers = await listening.answers(topic, done.partition, done.offset, wait)
    standstills = () if answers else tuple(await look_for_standstills(settings, environment))
    return Told(what, done.topic, done.partition, done.offset, answers, standstills=standstills)


def report(told: Told, as_json: bool, *, waited: float = 0, wrong: str | None = None, unanswered: int = DONE) -> NoReturn:
    """Print where it went and each answer, and end the command.

    It fails with the reason where nothing came of it, with ``wrong`` where more is known of that than the engine says. ``unanswered``:
    the exit status where an answer was waited for and did not come.
    """
    in_vain = "; ".join(text for answer in told.answers if answer.in_vain for text in answer.reasons)
    error = wrong or in_vain or None
    status = FAILED if error is not None else unanswered if waited and not told.answers else DONE
    if as_json:
        print_json(msgspec.structs.replace(told, error=error, status=status))
    else:
        click.echo("\n".join(_words(told, waited)))
    if error is not None:
        fail(error)
    end(status)


def _words(told: Told, waited: float) -> list[str]:
    place = f"{told.what}: written to {told.topic}, partition {told.partition}, offset {told.offset}"
    if told.standstills:
        return [f"{place}; it is acted on once that goes on:", *(f"  {still.text}; {still.remedy}" for still in told.standstills)]
    if waited and not told.answers:
        return [f"{place}; no engine answered within {waited:g} s: the first that runs acts on it; `ctrlplane-stream doctor` looks closer"]
    said = [f"  {answer.environment}: {text}" for answer in told.answers if not answer.in_vain for text in answer.reasons]
    return [place, *said]
