"""The manifests of an installation: the Kustomize base of ``deploy/`` with one's own settings, and the rights in each namespace."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ctrlplane_stream.actuators.kubernetes.handing_over import GITOPS_FILE, SECRET, SECRET_FOLDER, HandedOver
from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.actuators.kubernetes.placement import PlacementError
from ctrlplane_stream.shipped import shipped
from ctrlplane_stream.wire.yaml_documents import yaml_document

NAMESPACE = "ctrlplane-stream"
"""Where the worker lives, which uninstalling removes: no place for targets."""

_EVERYWHERE = ("base/namespace.yaml", "base/account.yaml", "base/leases.yaml")
_WORKER = "base/worker.yaml"
_RIGHTS = "namespaced/rights.yaml"


class Installation(msgspec.Struct, frozen=True):
    """What differs between installations. ``namespaces`` are those where targets live; ``handed`` is what the worker is told.

    ``gitops`` is the placement file of that actuator, which travels with the other. Without ``worker`` it is for a further cluster,
    on which a worker elsewhere acts: the rights and the watcher of leases.
    """

    namespaces: tuple[str, ...] = ()
    handed: HandedOver = HandedOver()
    placement: Path | None = None
    gitops: Path | None = None
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
            manifest["data"] |= installation.handed.environment
        case "ConfigMap", "ctrlplane-stream-placement":
            manifest["data"] |= dict(_files(installation))
        case "Deployment", _:
            container = _container(manifest, installation)
            container["args"] = ["leases", *(f"--namespace={each}" for each in installation.namespaces)]
            manifest["spec"]["replicas"] = 1 if installation.namespaces else 0
        case "StatefulSet", _:
            _tell(manifest["spec"]["template"], _container(manifest, installation), installation)
        case _:
            pass
    return manifest


def _container(manifest: Manifest, installation: Installation) -> dict[str, Any]:
    """The container of a workload, with the image of this installation."""
    container: dict[str, Any] = manifest["spec"]["template"]["spec"]["containers"][0]
    container["image"] = installation.image or container["image"]
    return container


def _tell(pod: dict[str, Any], container: dict[str, Any], installation: Installation) -> None:
    """Secrets and files into the Pod of the worker, and a mark by which it is replaced when what it is told is another.

    It reads placement and templates when it starts.
    """
    handed = installation.handed
    container["env"] += [{"name": name, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": name}}} for name in handed.secrets]
    if handed.files:
        items = [{"key": key, "path": key} for key in handed.files]
        pod["spec"]["volumes"].append({"name": "secret", "secret": {"secretName": SECRET, "items": items}})
        container["volumeMounts"].append({"name": "secret", "mountPath": SECRET_FOLDER, "readOnly": True})
    told = hashlib.sha256(msgspec.json.encode([handed.environment, dict(_files(installation))], order="sorted")).hexdigest()
    pod["metadata"]["annotations"] = {"ctrlplane-stream/settings": told[:16]}


def _within(manifest: Manifest, namespace: str) -> Manifest:
    manifest["metadata"]["namespace"] = namespace
    return manifest


def _files(installation: Installation) -> Iterable[tuple[str, str]]:
    """The placement files and the templates that they name, by the names that they have in the ConfigMap."""
    if installation.placement is not None:
        yield from _placement_files(installation.placement)
    if installation.gitops is not None:
        yield GITOPS_FILE, installation.gitops.read_text()


def _placement_files(placement: Path) -> Iterable[tuple[str, str]]:
    yield "placement.yaml", placement.read_text()
    file = yaml_document(placement.read_text())
    entries = [o for s in file["services"].values() for o in (s, *(s.get("environments") or {}).values())]
    for name in sorted({str(entry["template"]) for entry in entries if entry and entry.get("template")}):
        if "/" in name:
            raise PlacementError(f"{placement}: the template {name} must lie beside it to travel in one ConfigMap")
        yield name, (placement.parent / name).read_bytes().decode()  # Byte by byte: its digest is known by them.
