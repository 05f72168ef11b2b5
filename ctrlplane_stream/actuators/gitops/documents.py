"""Manifests to be judged: those in a repository, and those that a cluster has."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml
from dulwich.objects import ObjectID

from ctrlplane_stream.actuators.gitops.clone import Clone
from ctrlplane_stream.actuators.gitops.owned import Document, Owned
from ctrlplane_stream.actuators.gitops.yaml_text import FieldTrouble
from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.transport import Request, Transport

_LONGEST = 1_000_000
_AGENTS = (
    "apis/argoproj.io/v1alpha1/applications",
    "apis/kustomize.toolkit.fluxcd.io/v1/kustomizations",
    "apis/helm.toolkit.fluxcd.io/v2/helmreleases",
)
_GATEWAY = "gateway.networking.k8s.io"


class NotTold(Exception):
    """The cluster does not tell us about agents there; the text says what was asked for."""


def owned_at(place: Place) -> tuple[Owned, ...]:
    """What is ours of objects that others may sync, at a place in a cluster."""
    found = []
    if place.route is not None:
        found.append(Owned(_GATEWAY, place.route.kind, place.namespace, place.route.name, place.route.rule))
    if place.adopt is not None:
        found.append(Owned("apps", "Deployment", place.namespace, place.adopt))
    return tuple(found)


def documents_in(clone: Clone, head: ObjectID) -> tuple[Document, ...]:
    """Every manifest in the YAML files of a commit; what is no plain YAML (a chart's template, an encrypted file) is passed over."""
    found: list[Document] = []
    for file in clone.files(head):
        if not file.endswith((".yaml", ".yml")):
            continue
        try:
            text = clone.text(head, file)
            documents = list(yaml.safe_load_all(text)) if len(text) <= _LONGEST else []
        except (FieldTrouble, yaml.YAMLError, ValueError, RecursionError):
            continue
        found += [Document(file, each) for each in documents if _is_manifest(each)]
    return tuple(found)


async def documents_live(transport: Transport, owned: Sequence[Owned]) -> tuple[Document, ...]:
    """What is ours as the cluster has it, and every Argo CD Application, Flux Kustomization and HelmRelease. Raises NotTold."""
    found: list[Document] = []
    for each in owned:
        plural = f"{each.kind.lower()}s"
        manifest = await _get(transport, f"/apis/{each.group}/v1/namespaces/{each.namespace}/{plural}/{each.name}")
        found += [Document("", manifest)] if manifest is not None else []
    for path in _AGENTS:
        listed = await _get(transport, f"/{path}")
        kind, version = (str((listed or {}).get(key)) for key in ("kind", "apiVersion"))
        found += [
            Document("", {**item, "kind": kind.removesuffix("List"), "apiVersion": version}) for item in (listed or {}).get("items") or []
        ]
    return tuple(found)


_TOO_MANY, _TRIES = 429, 5
"""What a server answers that has too much to do, or that just learned of a kind; asked again when it says, so often."""


async def _get(transport: Transport, path: str) -> Manifest | None:
    reply = await transport.send(Request("GET", path))
    for _ in range(_TRIES):
        if reply.status != _TOO_MANY:
            break
        await asyncio.sleep(reply.retry_after_seconds or 1.0)
        reply = await transport.send(Request("GET", path))
    if reply.status == 404:
        return None
    if reply.status >= 300:
        raise NotTold(f"GET {path} gave {reply.status}")
    found: Manifest = msgspec.json.decode(reply.body, type=dict[str, Any])
    return found


def _is_manifest(document: object) -> bool:
    return isinstance(document, dict) and isinstance(document.get("kind"), str) and isinstance(document.get("metadata"), dict)
