"""Which environment, service and version a resource speaks for.

A version is, in this order: our injected ``ctrlplane.version``; the image digest; the pod-template hash; ``service.version``.
What our actuators inject outranks the rest, and ``service.version`` comes last because it is often a constant.
"""

from collections.abc import Mapping

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from ctrlplane_stream.model.identity import UNKNOWN_VERSION, VERSION_ATTRIBUTE
from ctrlplane_stream.telemetry.half import Origin
from ctrlplane_stream.wire.gen.otlp_trimmed_pb2 import Attributes, RawAttribute

UNKNOWN_SERVICE = "unknown_service"
"""What OpenTelemetry's resource conventions call a service without a name."""

_LONGEST = 200
"""Characters kept of any name: a hostile resource must not fill the tables."""

LONGEST_KEY_BYTES = 16_384
"""What is larger is understood anew each time: a cache of thousands must not hold ten megabytes a key."""

_TEMPLATE_HASH = ("k8s.pod.label.pod-template-hash", "k8s.pod.labels.pod-template-hash")


def text(value: AnyValue) -> str:
    """An attribute's value as text: the first element of an array, empty for maps and bytes."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return str(value.string_value)[:_LONGEST]
    if kind == "int_value":
        return str(value.int_value)
    if kind == "array_value" and value.array_value.values:
        return text(value.array_value.values[0])
    if kind in {"bool_value", "double_value"}:
        return str(getattr(value, kind))
    return ""


def origin_of(attributes: Mapping[str, str], default_environment: str) -> Origin:
    """The origin that a resource's attributes name; a service without a name is ``unknown_service``."""
    name = attributes.get("service.name") or UNKNOWN_SERVICE
    namespace = attributes.get("service.namespace")
    environment = attributes.get("deployment.environment.name") or attributes.get("deployment.environment") or default_environment
    return Origin(environment, f"{namespace}/{name}" if namespace else name, _version(attributes))


def _version(attributes: Mapping[str, str]) -> str:
    return next((version for find in VERSIONS if (version := find(attributes))), UNKNOWN_VERSION)


def _injected(attributes: Mapping[str, str]) -> str:
    """`ctrlplane.version`, which our actuators inject"""
    return attributes.get(VERSION_ATTRIBUTE, "")


def _digest(attributes: Mapping[str, str]) -> str:
    """the image digest: `container.image.repo_digests`, `oci.manifest.digest` or `container.image.id`"""
    for key in ("container.image.repo_digests", "oci.manifest.digest", "container.image.id"):
        found = attributes.get(key, "")
        at = found.find("sha256:")
        if at >= 0:
            return found[at : at + 71]
    return ""


def _template_hash(attributes: Mapping[str, str]) -> str:
    """the pod-template hash: the pod's label, or the end of `k8s.replicaset.name`"""
    for key in _TEMPLATE_HASH:
        if attributes.get(key):
            return attributes[key]
    replica_set = attributes.get("k8s.replicaset.name", "")
    return replica_set.rpartition("-")[2] if "-" in replica_set else ""


def _declared(attributes: Mapping[str, str]) -> str:
    """`service.version`, which is often a constant"""
    return attributes.get("service.version", "")


VERSIONS = (_injected, _digest, _template_hash, _declared)
"""What a version is taken from, in order."""


def _key_and_text(raw: bytes) -> tuple[str, str]:
    """Key and text of a serialized KeyValue. Nobody before us checks that text is UTF-8, and some cut it within a character."""
    try:
        pair = KeyValue.FromString(raw)
    except DecodeError:
        broken = RawAttribute.FromString(raw)
        return broken.key.decode(errors="replace"), broken.value.string_value.decode(errors="replace")[:_LONGEST]
    return pair.key, text(pair.value)


class Origins:
    """Origins by the bytes of their resource: a resource is decoded once, however many spans carry it."""

    _MOST = 4_096

    def __init__(self, default_environment: str) -> None:
        self._default_environment = default_environment
        self._known: dict[bytes, Origin] = {}

    def of(self, resource: bytes) -> Origin:
        """The origin of a resource. Raises DecodeError where the bytes are no resource."""
        origin = self._known.get(resource)
        if origin is None:
            if len(self._known) >= self._MOST:
                self._known.clear()
            attributes: dict[str, str] = {}
            for raw in Attributes.FromString(resource).attributes:
                attributes.setdefault(*_key_and_text(raw))
            origin = origin_of(attributes, self._default_environment)
            if len(resource) <= LONGEST_KEY_BYTES:
                self._known[resource] = origin
        return origin
