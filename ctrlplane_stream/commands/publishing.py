"""What the commands that write one record share: send it, and say where it went."""

import asyncio
import getpass
import os
import uuid

import click

from ctrlplane_stream.commands.options import BROKER_TROUBLE, broker_failed, print_json, require_broker
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.kafka_clients import publish

SOURCE = "ctrlplane-stream/cli"


def new_id() -> str:
    """An id that nobody else has: the event's, by which a repetition is known."""
    return str(uuid.uuid4())


def who_am_i() -> str:
    """The user's name, for events that say who sent them; its number where it has no name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def send(
    settings: Settings, topic: str, value: bytes, what: str, as_json: bool, *, environment: str | None = None, key: str | None = None
) -> None:
    """Write the record, wait for the broker, and report its place; the command fails where the broker does not take it."""
    require_broker(settings)
    try:
        done = asyncio.run(publish(settings, topic, value, environment=environment, key=key))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)
    place = {"topic": done.topic, "partition": done.partition, "offset": done.offset}
    if as_json:
        print_json({"what": what, **place})
    else:
        click.echo(f"{what}: written to {done.topic}, partition {done.partition}, offset {done.offset}")
