"""``ctrlplane-stream leases``: honour the leases in namespaces of a cluster, with nothing but its API."""

import asyncio

import click

from ctrlplane_stream.actuators.kubernetes.access import AccessError
from ctrlplane_stream.actuators.kubernetes.composition import connect
from ctrlplane_stream.actuators.kubernetes.leases import watch_leases
from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import fail
from ctrlplane_stream.commands.statuses import DONE, FAILED, ends


@click.command(cls=Command)
@click.option(
    "--namespace", "namespaces", multiple=True, required=True, metavar="NAME", help="A namespace that services run in; may be repeated."
)
@click.option("--context", default=None, metavar="NAME", help="The context of the kubeconfig. [the current one, or the Pod's own account]")
@ends({DONE: "told to end", FAILED: "no way to the cluster is known"})
def leases(namespaces: tuple[str, ...], context: str | None) -> None:
    """Move a service back to stable when no engine renews the lease of its partial weight; until stopped.

    It needs no Kafka, no engine and no placement file. Run it apart from the workers; several may run.
    """
    try:
        asyncio.run(_watch(namespaces, context))
    except AccessError as error:
        fail(str(error))


async def _watch(namespaces: tuple[str, ...], context: str | None) -> None:
    async with connect(context) as cluster, asyncio.TaskGroup() as group:
        for namespace in namespaces:
            group.create_task(watch_leases(cluster, namespace))
