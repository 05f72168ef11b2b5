"""``ctrlplane-stream plan IMAGE@DIGEST …``: what would happen if these artifacts were pushed now. Changes nothing."""

import asyncio

import click

from ctrlplane_stream.commands.catalog_in_force import unheard_of
from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import BROKER_TROUBLE, broker_failed, fail, print_json, require_broker, takes_json, takes_settings
from ctrlplane_stream.commands.scope import read_reference
from ctrlplane_stream.commands.statuses import DONE, FAILED, end, ends
from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision import planning
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.facts import ReleaseOrder
from ctrlplane_stream.model.identity import Artifact
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.looking import look


@click.command(cls=Command)
@click.argument("references", metavar="IMAGE@DIGEST...", nargs=-1, required=True)
@click.option("--environment", metavar="NAME", required=True, help="Where it would be rolled out.")
@click.option(
    "--callers-first", is_flag=True, help="The change removes something: who calls it takes traffic before it does, and not after."
)
@takes_settings("kafka_", "topic_", "partitions")
@takes_json
@ends({DONE: "a rollout would start, or wait for its turn", FAILED: "nothing would start, with the reason"})
def plan(settings: Settings, as_json: bool, references: tuple[str, ...], environment: str, callers_first: bool) -> None:
    """Say what would happen if IMAGE@DIGEST were pushed now: the version set, what it waits for, and how long each step must last.

    Several artifacts are planned as one release; of one from which several services come, each moves for itself. Nothing is written.
    """
    named = [read_reference(reference) for reference in references]
    require_broker(settings)
    try:
        state = asyncio.run(look(settings, environment)).state
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)
    artifacts = tuple(artifact for image, digest in named for artifact in _artifacts(settings, state, image, digest))
    order = ReleaseOrder.CALLERS_FIRST if callers_first else ReleaseOrder.CALLEES_FIRST
    planned = (planning.plan if len(named) > 1 else planning.plan_push)(state, artifacts, order)
    begins = any(one.rollout is not None for one in (planned, *planned.also))
    if as_json:
        print_json(planned)
    else:
        click.echo("\n".join(planning.in_words(planned)), err=not begins)
    end(DONE if begins else FAILED)


def _artifacts(settings: Settings, state: State, image: str, digest: str) -> list[Artifact]:
    """The artifacts that image and digest stand for here: one for each service that takes images from that repository."""
    catalog = state.find("catalog", e.CatalogEntry)
    if catalog is None:
        fail(unheard_of(settings, state.environment))
    known = [state.find(f"service/{name}", ServiceInEnvironment) for name in catalog.services]
    found = [Artifact(s.service, image, digest) for s in known if s is not None and image in s.images]
    if not found:
        fail(f"no service of {state.environment} takes images from {image}; add it to the service's images in the catalog")
    return found
