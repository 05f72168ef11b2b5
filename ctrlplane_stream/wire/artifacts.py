"""What a source says of an artifact, in the forms that are understood.

- our own CloudEvent, type ``stream.ctrlplane.artifact.pushed.v1``;
- CDEvents ``dev.cdevents.artifact.packaged`` and ``…published`` (subject id is a package URL of type ``oci``).

A registry's own notifications are read by ``registry.py``. Which service an image belongs to, and which environments it starts in, is the
catalog's to say (``decision/routing.py``); an event may name them to be explicit.
"""

import re
from urllib.parse import parse_qs, unquote

import msgspec

from ctrlplane_stream.model.facts import Provenance, ReleaseOrder
from ctrlplane_stream.wire import cloudevents
from ctrlplane_stream.wire.cloudevents import CloudEvent, Unreadable

PUSHED = "stream.ctrlplane.artifact.pushed.v1"
_CDEVENTS = re.compile(r"dev\.cdevents\.artifact\.(packaged|published)\.\d+\.\d+\.\d+(-\w+)?$")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}$")
_IMAGE = re.compile(r"[a-z0-9]+([._:-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$")
_MAX_NAME = 255


class ArtifactEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One artifact that a source offers. ``service`` and ``environment`` are None where the catalog is to decide."""

    event_id: str
    image: str
    digest: str
    service: str | None = None
    environment: str | None = None
    release: str | None = None
    release_size: int | None = None
    order: ReleaseOrder = ReleaseOrder.CALLEES_FIRST
    provenance: Provenance = Provenance()


class PushedData(msgspec.Struct, frozen=True, omit_defaults=True):
    """``data`` of our own event type."""

    image: str
    digest: str
    service: str | None = None
    environment: str | None = None
    release: str | None = None
    release_size: int | None = None
    order: ReleaseOrder = ReleaseOrder.CALLEES_FIRST
    provenance: Provenance = Provenance()


class _Subject(msgspec.Struct, frozen=True):
    id: str
    source: str | None = None


class _CDEventsData(msgspec.Struct, frozen=True):
    subject: _Subject


def read_artifact(value: bytes | None) -> ArtifactEvent | Unreadable:
    """The artifact that an event offers; or why it cannot be read. Never raises."""
    event = cloudevents.read(value)
    if isinstance(event, Unreadable):
        return event
    if event.type == PUSHED:
        found = _from_ours(event)
    elif _CDEVENTS.match(event.type):
        found = _from_cdevents(event)
    else:
        return Unreadable(f"event type {event.type[:100]!r} is not known here; send {PUSHED} or a CDEvents artifact event")
    return found if isinstance(found, Unreadable) else _checked(found)


def _from_ours(event: CloudEvent) -> ArtifactEvent | Unreadable:
    data = cloudevents.decode(event.data, PushedData, f"{PUSHED} data")
    if isinstance(data, Unreadable):
        return data
    return ArtifactEvent(
        event.id, data.image, data.digest, data.service, data.environment, data.release, data.release_size, data.order, data.provenance
    )


def _from_cdevents(event: CloudEvent) -> ArtifactEvent | Unreadable:
    data = cloudevents.decode(event.data, _CDEventsData, "CDEvents artifact event")
    if isinstance(data, Unreadable):
        return data
    found = _from_package_url(data.subject.id)
    if isinstance(found, Unreadable):
        return found
    image, digest, tag = found
    return ArtifactEvent(event.id, image, digest, provenance=Provenance(actor=event.source, tag=tag))


def _from_package_url(url: str) -> tuple[str, str, str | None] | Unreadable:
    """Image, digest and tag of ``pkg:oci/name@sha256%3A…?repository_url=…&tag=…`` (the purl specification's oci type)."""
    head, _, query = url.partition("?")
    kind, _, rest = head.partition("/")
    name, _, version = rest.rpartition("@")
    if kind != "pkg:oci" or not name:
        return Unreadable(f"subject id {url[:100]!r} is not a package URL of type oci with a digest")
    qualifiers = parse_qs(query)
    repository = qualifiers.get("repository_url", [unquote(name)])[0]
    image = repository if repository.split("/")[-1] == unquote(name) else f"{repository}/{unquote(name)}"
    return image, unquote(version), qualifiers.get("tag", [None])[0]


def _checked(event: ArtifactEvent) -> ArtifactEvent | Unreadable:
    if (wrong := named_wrongly(event.image, event.digest)) is not None:
        return Unreadable(wrong)
    if any(text is not None and not 0 < len(text) <= _MAX_NAME for text in (event.service, event.environment, event.release)):
        return Unreadable(f"service, environment and release must have 1 to {_MAX_NAME} characters where given")
    return event


def named_wrongly(image: str, digest: str) -> str | None:
    """Why image and digest name no artifact, or None."""
    if not _DIGEST.match(digest):
        return f"digest {digest[:80]!r} is not sha256: and 64 hexadecimal digits; a tag alone names no artifact"
    if len(image) > _MAX_NAME or not _IMAGE.match(image):
        return f"image {image[:80]!r} is not a repository name without tag or digest"
    return None
