"""``ctrlplane-stream artifact push IMAGE@DIGEST``: offer an artifact, as a CI system would."""

import click

from ctrlplane_stream.commands.options import fail, takes_json, takes_settings
from ctrlplane_stream.commands.publishing import SOURCE, new_id, report, send, takes_wait, who_am_i
from ctrlplane_stream.model.facts import Provenance, ReleaseOrder
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire import cloudevents
from ctrlplane_stream.wire.artifacts import PUSHED, PushedData, read_artifacts
from ctrlplane_stream.wire.cloudevents import Unreadable


@click.group()
def artifact() -> None:
    """Offer artifacts to the engine."""


@artifact.command("push")
@click.argument("reference", metavar="IMAGE@DIGEST")
@click.option("--service", help="The service, where several share the image repository.")
@click.option("--environment", help="Where to roll it out; default: where the catalog takes artifacts directly.")
@click.option("--release", help="Artifacts of one release move together.")
@click.option("--release-size", type=click.IntRange(1), help="How many services the release has; none starts before all are here.")
@click.option("--callers-first", is_flag=True, help="The change removes something: callers take weight before callees.")
@click.option("--commit", help="The commit that it was built from.")
@click.option("--build", help="The build that made it.")
@click.option("--tag", help="The tag that it was pushed under, for the record.")
@click.option("--id", "event_id", help="The event's id; the same id twice is one event. Default: a new one.")
@takes_wait
@takes_settings("kafka_", "topic_", "partitions")
@takes_json
def push(
    settings: Settings, as_json: bool, reference: str, event_id: str | None, callers_first: bool, commit: str | None, build: str | None,
    tag: str | None, service: str | None, environment: str | None, release: str | None, release_size: int | None, wait_seconds: float,
) -> None:  # fmt: skip
    """Offer IMAGE@DIGEST to the engine, and say what it makes of it.

    Exit status 0: the broker has it, and nobody refused it within --wait seconds; 1: refused, with the reason. How it goes on is seen with
    `ctrlplane-stream rollouts`.
    """
    image, separator, digest = reference.partition("@")
    if not separator:
        fail(f"{reference} names no digest: give IMAGE@sha256:…, since a tag may mean something else tomorrow")
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
    found = read_artifacts(value)
    if isinstance(found, Unreadable):
        fail(found.reason)
    report(send(settings, "artifacts", value, reference, key=image, wait=wait_seconds), as_json, waited=wait_seconds)
