"""``ctrlplane-stream artifact push IMAGE@DIGEST``: offer an artifact, as a CI system would."""

import click

from ctrlplane_stream.commands.groups import Group
from ctrlplane_stream.commands.options import takes_json, takes_settings
from ctrlplane_stream.commands.publishing import SOURCE, new_id, report, send, takes_wait, who_am_i
from ctrlplane_stream.commands.scope import read_reference
from ctrlplane_stream.commands.statuses import DONE, FAILED, ends
from ctrlplane_stream.model.facts import Provenance, ReleaseOrder
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire import cloudevents
from ctrlplane_stream.wire.artifacts import PUSHED, PushedData, read_artifact
from ctrlplane_stream.wire.cloudevents import Unreadable


@click.group(cls=Group)
def artifact() -> None:
    """Offer artifacts to the engine."""


@artifact.command("push")
@click.argument("reference", metavar="IMAGE@DIGEST")
@click.option("--service", metavar="NAME", help="The service, where several share the image repository.")
@click.option("--environment", metavar="NAME", help="Where to roll it out. [where the catalog promotes from no other environment]")
@click.option("--release", metavar="NAME", help="A name of your choice: artifacts that are pushed under one move together, as one rollout.")
@click.option(
    "--release-size", type=click.IntRange(1), metavar="N", help="How many artifacts the release has; none starts before all are here."
)
@click.option(
    "--callers-first", is_flag=True, help="The change removes something: who calls it takes traffic before it does, and not after."
)
@click.option("--commit", metavar="ID", help="The commit that it was built from, for the record.")
@click.option("--build", metavar="ID", help="The build that made it, for the record.")
@click.option("--tag", metavar="TAG", help="The tag that it was pushed under, for the record.")
@click.option("--id", "event_id", metavar="ID", help="The event's id: the same twice is one event. [a new one]")
@takes_wait
@takes_settings("kafka_", "topic_", "partitions")
@takes_json
@ends({
    DONE: "the broker has it, and nobody refused it within --wait seconds; what is known already is no failure",
    FAILED: "refused, with the reason",
})  # fmt: skip
def push(
    settings: Settings, as_json: bool, reference: str, event_id: str | None, callers_first: bool, commit: str | None, build: str | None,
    tag: str | None, service: str | None, environment: str | None, release: str | None, release_size: int | None, wait_seconds: float,
) -> None:  # fmt: skip
    """Offer IMAGE@DIGEST to the engine, and say what it makes of it.

    How it goes on is seen with `ctrlplane-stream rollouts`.
    """
    image, digest = read_reference(reference)
    data = PushedData(
        image=image,
        digest=digest,
        service=service,
        environment=environment,
        release=release,
        release_size=release_size,
        order=ReleaseOrder.CALLERS_FIRST if callers_first else ReleaseOrder.CALLEES_FIRST,
        provenance=Provenance(commit=commit, build=build, actor=who_am_i(), tag=tag),
    )
    value = cloudevents.write(event_id or new_id(), SOURCE, PUSHED, data, subject=image)
    found = read_artifact(value)
    if isinstance(found, Unreadable):
        raise click.UsageError(found.reason)
    report(send(settings, "artifacts", value, reference, key=image, wait=wait_seconds), as_json, waited=wait_seconds)
