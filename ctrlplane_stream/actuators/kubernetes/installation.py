"""The manifests of an installation: the Kustomize base of ``deploy/`` with one's own settings, and the rights in each namespace."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import yaml

from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.actuators.kubernetes.placement import PlacementError
from ctrlplane_stream.shipped import shipped

NAMESPACE = "ctrlplane-stream"
"""Where the worker lives, which uninstalling removes: no place for targets."""

_EVERYWHERE = ("base/namespace.yaml", "base/account.yaml", "base/leases.yaml")
_WORKER = "base/worker.yaml"
_RIGHTS = "namespaced/rights.yaml"


class Installation(msgspec.Struct, frozen=True):
    """What differs between installations. ``namespaces`` are those where targets live; ``environment`` the worker's variables.

    Without ``worker`` it is for a further cluster, on which a worker elsewhere acts: the rights and the watcher of leases.
    """

    namespaces: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    placement: Path | None = None
    image: str | None = None
    worker: bool = True


def manifests(installation: Installation) -> list[Manifest]:
    """Everything to apply, in order.

    Raises PlacementError where the placement's files cannot travel in one ConfigMap, or a target would live with the worker.
    """
    if NAMESPACE in installation.namespaces:
        raise PlacementError(
            f"no target may live in the namespace {NAMESPACE}: uninstalling the worker removes it, and its traffic with it"
        )
    files = (*_EVERYWHERE, _WORKER) if installation.worker else _EVERYWHERE
    made = [_adapted(manifest, installation) for name in files for manifest in _read(name)]
    return made + [_within(manifest, namespace) for namespace in installation.namespaces for manifest in _read(_RIGHTS)]


def _read(name: str) -> list[Manifest]:
    return [manifest for manifest in yaml.safe_load_all((shipped("deploy") / name).read_text()) if manifest]


def _adapted(manifest: Manifest, installation: Installation) -> Manifest:
    match manifest["kind"], manifest["metadata"]["name"]:
        case "ConfigMap", "ctrlplane-stream-settings":
            manifest["data"] |= installation.environment
        case "ConfigMap", "ctrlplane-stream-placement" if installation.placement is not None:
            manifest["data"] = dict(_files(installation.placement))
        case "Deployment", name:
            container = manifest["spec"]["template"]["spec"]["containers"][0]
            container["image"] = installation.image or container["image"]
            if name == "ctrlplane-stream-leases":
                container["args"] = ["leases", *(f"--namespace={each}" for each in installation.namespaces)]
                manifest["spec"]["replicas"] = 1 if installation.namespaces else 0
        case _:
            pass
    return manifest


def _within(manifest: Manifest, namespace: str) -> Manifest:
    manifest["metadata"]["namespace"] = namespace
    return manifest


def _files(placement: Path) -> Iterable[tuple[str, str]]:
    """The placement file and the templates that it names, by the names that they have in the ConfigMap."""
    yield "placement.yaml", placement.read_text()
    file = yaml.safe_load(placement.read_text())
    entries = [o for s in file["services"].values() for o in (s, *(s.get("environments") or {}).values())]
    for name in sorted({str(entry["template"]) for entry in entries if entry and entry.get("template")}):
        if "/" in name:
            raise PlacementError(f"{placement}: the template {name} must lie beside it to travel in one ConfigMap")
        yield name, (placement.parent / name).read_text()
