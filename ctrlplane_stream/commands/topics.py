"""``ctrlplane-stream topics plan|apply``: the topics of a broker against ``topics/``."""

import asyncio

import click

from ctrlplane_stream.commands.groups import Group
from ctrlplane_stream.commands.options import (
    BROKER_TROUBLE,
    broker_failed,
    fail,
    print_json,
    require_broker,
    takes_json,
    takes_settings,
)
from ctrlplane_stream.commands.statuses import DIFFERENT, DONE, FAILED, end, ends
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.topic_admin import TopicError, admin_client, ensure_topics, plan_topics
from ctrlplane_stream.wire.topic_plan import Change, Counted, Refuse, sentence


@click.group(cls=Group)
def topics() -> None:
    """Compare the broker's topics with the specification, and create or alter them."""


@topics.command("plan")
@takes_settings("kafka_", "topic_", "partitions", "replication_")
@takes_json
@ends({DONE: "every topic is as specified", FAILED: "no broker answered", DIFFERENT: "`topics apply` would change something, or refuse to"})
def plan_command(settings: Settings, as_json: bool) -> None:
    """Say what `topics apply` would do, changing nothing."""
    changes = _run(settings, apply=False)
    _report(changes, as_json, nothing="every topic is as specified")
    if changes:
        end(DIFFERENT)


@topics.command("apply")
@takes_settings("kafka_", "topic_", "partitions", "replication_")
@takes_json
@ends({DONE: "every topic is as specified now", FAILED: "no broker answered, or a change was refused after everything else was done"})
def apply_command(settings: Settings, as_json: bool) -> None:
    """Create missing topics and alter configuration that differs.

    Partitions and copies of a topic that is there are never changed: that is refused, after everything else was done.
    """
    changes = _run(settings, apply=True)
    _report(changes, as_json, nothing="every topic was as specified already")
    for of in Counted:
        refused = [c.topic for c in changes if isinstance(c, Refuse) and c.of is of]
        if refused:
            fail(f"refused to change the {of} of {', '.join(refused)}")


def _run(settings: Settings, *, apply: bool) -> list[Change]:
    require_broker(settings)
    try:
        return asyncio.run(ensure_topics(settings) if apply else _plan(settings))
    except TopicError as error:
        fail(str(error))
    except TimeoutError:
        fail("the broker did not show the topics as set in time; somebody may be changing them: run `topics plan`")
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)


async def _plan(settings: Settings) -> list[Change]:
    async with admin_client(settings) as client:
        return await plan_topics(client, settings)


def _report(changes: list[Change], as_json: bool, *, nothing: str) -> None:
    if as_json:
        print_json(changes)
        return
    for change in changes:
        click.echo(sentence(change))
    if not changes:
        click.echo(nothing)
