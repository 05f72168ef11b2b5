"""Any manifests onto the API server, as whoever one is to it: for set-up, where the actuator's narrow client has no verbs."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp

from ctrlplane_stream.actuators.kubernetes.access import Access
from ctrlplane_stream.actuators.kubernetes.objects import MANAGER, Manifest
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused, FieldsTaken, HttpTransport, Request, fields_taken, message_of
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.wire.json_words import WrongJson, read_json

_FIELD_MANAGER = f"{MANAGER}-install"
"""Not the actuator's own: what it sets and what an installation sets are told apart."""
_SERVED_SECONDS = 20.0
_PLURALS = {"CustomResourceDefinition": "customresourcedefinitions", "Gateway": "gateways", "GatewayClass": "gatewayclasses"}
_CLUSTER_WIDE = ("Namespace", "Node", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "GatewayClass")


async def apply_manifests(
    access: Access, manifests: Sequence[Manifest], namespace: str = "", *, force: bool = False, dry_run: bool = False
) -> list[Manifest]:
    """The objects after a server-side apply, in their order; waits until new kinds are served.

    ``namespace`` is where those go that name none. ``force`` takes fields over that somebody else set. Raises ApiRefused,
    FieldsTaken for such a field without ``force``, and WorldUnreachable.
    """
    query = {"fieldManager": _FIELD_MANAGER, "force": str(force).lower()} | ({"dryRun": "All"} if dry_run else {})
    transport = HttpTransport(access)
    try:
        return [await _apply(transport, manifest, namespace, query) for manifest in manifests]
    except WrongJson as error:
        raise WorldUnreachable(f"{access.server} answered what is no object of Kubernetes ({error})") from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise WorldUnreachable(f"the API server at {access.server} does not answer: {error!r}") from error
    finally:
        await transport.close()


async def _apply(transport: HttpTransport, manifest: Manifest, namespace: str, query: dict[str, str]) -> Manifest:
    path = f"{_collection(manifest, namespace)}/{manifest['metadata']['name']}"
    reply = await transport.send(Request("PATCH", path, query, manifest, "application/apply-patch+yaml"))
    if fields_taken(reply):
        raise FieldsTaken(f"{manifest['kind']} {manifest['metadata']['name']}: {message_of(reply)}")
    if reply.status >= 300:
        raise ApiRefused(f"PATCH {path} ({reply.status}): {message_of(reply)}")
    made = read_json(reply.body, dict[str, Any])
    if manifest["kind"] == "CustomResourceDefinition" and "dryRun" not in query:
        await _served(transport, manifest)
    return made


async def _served(transport: HttpTransport, definition: Manifest) -> None:
    """Wait until objects of a new kind can be listed."""
    spec = definition["spec"]
    version = next(each["name"] for each in spec["versions"] if each["storage"])
    async with asyncio.timeout(_SERVED_SECONDS):
        while (await transport.send(Request("GET", f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"))).status != 200:
            await asyncio.sleep(0.05)


def _collection(manifest: Manifest, namespace: str) -> str:
    version, kind = str(manifest["apiVersion"]), str(manifest["kind"])
    plural = _PLURALS.get(kind, kind.lower() + ("es" if kind.lower().endswith("s") else "s"))
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    within = manifest["metadata"].get("namespace") or namespace
    return f"{root}/{plural}" if kind in _CLUSTER_WIDE else f"{root}/namespaces/{within}/{plural}"
