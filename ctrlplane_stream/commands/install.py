"""``ctrlplane-stream install``: the worker into a cluster, with the least rights in the namespaces of its targets."""

import asyncio
from pathlib import Path

import click
import yaml

from ctrlplane_stream.actuators.kubernetes.access import find_access
from ctrlplane_stream.actuators.kubernetes.applying import apply_manifests
from ctrlplane_stream.actuators.kubernetes.handing_over import hand_over, secret_command
from ctrlplane_stream.actuators.kubernetes.installation import NAMESPACE, Installation, manifests
from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.actuators.kubernetes.placement import PlacementError, read_placements
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused, FieldsTaken
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import fail, print_json, require_broker, takes_json, takes_settings
from ctrlplane_stream.commands.statuses import DONE, FAILED, ends
from ctrlplane_stream.settings import Settings

_NO_IMAGE = (
    "say which image the Pods run: --image YOUR_REGISTRY/ctrlplane-stream:TAG, which you built (docs/operations.md); none is published"
)

_TAKEN = (
    "--force takes these fields over, as is right where this was applied by other means before (kubectl apply); else ask whose they are"
)


@click.command(cls=Command)
@click.option("--dry-run", is_flag=True, help="Print the manifests and apply nothing.")
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAME",
    help="A namespace that services run in; may be repeated. [those of the placement file]",
)
@click.option(
    "--image", default=None, metavar="IMAGE", help="The worker's image, by digest where you can: one that you built (docs/operations.md)."
)
@click.option("--context", default=None, metavar="NAME", help="The context of the kubeconfig. [the current one]")
@click.option("--without-worker", is_flag=True, help="Rights and the watcher of leases alone: for a further cluster that a worker acts on.")
@click.option("--force", is_flag=True, help="Take over what somebody else set on our own objects, as `kubectl scale` does.")
@takes_settings("kafka_", "topic_prefix", "partitions", "kubernetes_placement", "gitops_placement")
@takes_json
@ends({DONE: "applied, or printed with --dry-run", FAILED: "the cluster refused or does not answer, or a setting that it needs is not set"})
def install(
    settings: Settings,
    as_json: bool,
    dry_run: bool,
    namespaces: tuple[str, ...],
    image: str | None,
    context: str | None,
    without_worker: bool,
    force: bool,
) -> None:
    """Apply the worker, the watcher of leases and their rights, by server-side apply as whoever you are to the cluster.

    The worker is told every setting that you have otherwise than by default. Secrets and certificates stay with you: it finds them in
    one Secret, and standard error says how to make that. With a placement file the namespaces are those that it has in this
    context. Uninstalling is the same command with --dry-run, piped to `kubectl delete -f -`: versions, routes and traffic stay as
    they are.
    """
    if image is None and not dry_run:
        raise click.UsageError(_NO_IMAGE)
    if not without_worker:
        require_broker(settings)
    try:
        named = namespaces or _namespaces(settings, context, home=not without_worker)
        made = manifests(_installation(settings, named, image, worker=not without_worker))
        if dry_run:
            if as_json:
                print_json({"apiVersion": "v1", "kind": "List", "items": made})
            else:
                click.echo(yaml.safe_dump_all(made, sort_keys=False), nl=False)
            _say_secret(settings, worker=not without_worker)
            return
        applied = [_line(each) for each in asyncio.run(apply_manifests(find_access(context), made, force=force))]
        if as_json:
            print_json({"applied": applied})
        else:
            click.echo("\n".join(applied))
        _say_secret(settings, worker=not without_worker)
    except FieldsTaken as error:
        fail(f"{error}\n{_TAKEN}")
    except (PlacementError, ApiRefused, WorldUnreachable, OSError) as error:
        fail(str(error))


def _namespaces(settings: Settings, context: str | None, *, home: bool) -> tuple[str, ...]:
    """The namespaces of the placement file that are in the cluster of this context, each once. Those that it has without a context are in
    the worker's own (``home``), whatever a kubeconfig calls that."""
    if not settings.kubernetes_placement:
        return ()
    placed = read_placements(Path(settings.kubernetes_placement)).namespaces()
    return tuple(dict.fromkeys(namespace for where, namespace in placed if where == context or (where is None and home)))


def _installation(settings: Settings, namespaces: tuple[str, ...], image: str | None, *, worker: bool) -> Installation:
    return Installation(
        namespaces=namespaces,
        handed=hand_over(settings),
        placement=Path(settings.kubernetes_placement) if settings.kubernetes_placement else None,
        gitops=Path(settings.gitops_placement) if settings.gitops_placement else None,
        image=image,
        worker=worker,
    )


def _say_secret(settings: Settings, *, worker: bool) -> None:
    """On standard error, how to make the Secret that the worker's Pods wait for."""
    command = secret_command(hand_over(settings), NAMESPACE) if worker else None
    if command is not None:
        click.echo(
            f"The worker's Pods wait for a Secret with what is not for manifests. Where there is none yet (bash):\n  {command}", err=True
        )


def _line(manifest: Manifest) -> str:
    namespace = manifest["metadata"].get("namespace")
    return f"{manifest['kind']} {namespace + '/' if namespace else ''}{manifest['metadata']['name']}"
