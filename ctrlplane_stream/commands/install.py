"""``ctrlplane-stream install``: the worker into a cluster, with the least rights in the namespaces of its targets."""

import asyncio
from pathlib import Path

import click
import yaml

from ctrlplane_stream.actuators.kubernetes.access import find_access
from ctrlplane_stream.actuators.kubernetes.api import ApiRefused
from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.actuators.kubernetes.placement import PlacementError, read_placements
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.commands.options import fail, print_json, takes_json, takes_settings
from ctrlplane_stream.local.control_plane.installation import Installation, manifests
from ctrlplane_stream.local.control_plane.setting_up import apply_manifests
from ctrlplane_stream.settings import Settings


@click.command()
@click.option("--dry-run", is_flag=True, help="Print the manifests and apply nothing.")
@click.option("--namespace", "namespaces", multiple=True, help="Where targets live, once for each. [those of the placement file]")
@click.option("--image", default=None, help="Of the worker, by digest where you can.")
@click.option("--context", default=None, help="Of the kubeconfig. [the current one]")
@takes_settings("kafka_bootstrap_servers", "kubernetes_placement")
@takes_json
def install(settings: Settings, as_json: bool, dry_run: bool, namespaces: tuple[str, ...], image: str | None, context: str | None) -> None:
    """Apply the worker, the watcher of leases and their rights, by server-side apply as whoever you are to the cluster.

    Uninstalling is `install --dry-run | kubectl delete -f -`: traffic stays where it is.
    """
    try:
        made = manifests(_installation(settings, namespaces, image))
        if dry_run:
            if as_json:
                print_json({"apiVersion": "v1", "kind": "List", "items": made})
            else:
                click.echo(yaml.safe_dump_all(made, sort_keys=False), nl=False)
            return
        applied = [_line(each) for each in asyncio.run(apply_manifests(find_access(context), made))]
        if as_json:
            print_json({"applied": applied})
        else:
            click.echo("\n".join(applied))
    except (PlacementError, ApiRefused, WorldUnreachable, OSError) as error:
        fail(str(error))


def _installation(settings: Settings, namespaces: tuple[str, ...], image: str | None) -> Installation:
    placement = Path(settings.kubernetes_placement) if settings.kubernetes_placement else None
    named = read_placements(placement).namespaces() if placement is not None else ()
    servers = settings.kafka_bootstrap_servers
    return Installation(
        namespaces=namespaces or tuple(dict.fromkeys(namespace for _, namespace in named)),
        environment={"KAFKA_BOOTSTRAP_SERVERS": servers} if servers else {},
        placement=placement,
        image=image,
    )


def _line(manifest: Manifest) -> str:
    namespace = manifest["metadata"].get("namespace")
    return f"{manifest['kind']} {namespace + '/' if namespace else ''}{manifest['metadata']['name']}"
