"""Notifications of an OCI registry, as CNCF Distribution sends them: an envelope of ``events``, few of which offer an artifact.

A registry tells of all that happens to it: of pulls, of each layer that is pushed, of the manifest of each platform before the index that
names them, and of what is attached to an image later. An artifact is a manifest or an index by its media type that was pushed under a
tag of its own; all else is left out for a reason that is counted. One event that cannot be used does not keep the others.
"""

import re
from enum import StrEnum

import msgspec

from ctrlplane_stream.model.facts import Provenance
from ctrlplane_stream.wire import cloudevents
from ctrlplane_stream.wire.artifacts import ArtifactEvent, named_wrongly
from ctrlplane_stream.wire.cloudevents import Unreadable

_BEGINS = re.compile(rb'\s*\{\s*"events"\s*:')
_MANIFESTS = frozenset({
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
})  # fmt: skip
_ATTACHED = re.compile(r"sha256-[0-9a-f]{64}(\.\w+)?$")
"""The tags of signatures and the like: the fallback of the OCI distribution specification for referrers, and cosign's own."""


class LeftOut(StrEnum):
    """Why an event of a registry offers no artifact."""

    NO_PUSH = "no push"
    NO_MANIFEST = "no manifest"
    NO_TAG = "no tag"
    ATTACHED = "attached to an image"


class Notification(msgspec.Struct, frozen=True):
    """The events of an envelope: artifacts that were pushed, what is wrong with others, and why the rest offers none."""

    pushed: tuple[ArtifactEvent, ...]
    wrong: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


class _Target(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str | None = None
    repository: str | None = None
    digest: str | None = None
    tag: str | None = None


class _Request(msgspec.Struct, frozen=True):
    host: str | None = None


class _Actor(msgspec.Struct, frozen=True):
    name: str | None = None


class _Event(msgspec.Struct, frozen=True):
    id: str
    action: str
    target: _Target = _Target()
    request: _Request = _Request()
    actor: _Actor = _Actor()


class _Envelope(msgspec.Struct, frozen=True):
    events: tuple[msgspec.Raw, ...]


def is_notification(value: bytes | None) -> bool:
    """Whether a record is meant as a registry's envelope, indented or not."""
    return value is not None and _BEGINS.match(value) is not None


def read_notification(value: bytes) -> Notification | Unreadable:
    """What an envelope tells of, at least one event; or why it cannot be read. Never raises."""
    if len(value) > cloudevents.MAX_BYTES:
        return Unreadable(f"{len(value)} bytes are over the limit of {cloudevents.MAX_BYTES} for an event")
    envelope = cloudevents.decode(value, _Envelope, "registry notification")
    if isinstance(envelope, Unreadable):
        return envelope
    if not envelope.events:
        return Unreadable("the registry notification holds no event")
    read = [_read(raw) for raw in envelope.events]
    return Notification(
        pushed=tuple(event for event in read if isinstance(event, ArtifactEvent)),
        wrong=tuple(event.reason for event in read if isinstance(event, Unreadable)),
        left_out=tuple(event for event in read if isinstance(event, LeftOut)),
    )


def _read(raw: msgspec.Raw) -> ArtifactEvent | Unreadable | LeftOut:
    event = cloudevents.decode(raw, _Event, "event of a registry")
    if isinstance(event, Unreadable):
        return event
    if (why := _left_out(event)) is not None:
        return why
    target = event.target
    image = f"{event.request.host}/{target.repository}" if event.request.host else str(target.repository)
    if (wrong := named_wrongly(image, str(target.digest)) or cloudevents.wrong_id(event.id)) is not None:
        return Unreadable(wrong)
    return ArtifactEvent(event.id, image, str(target.digest), provenance=Provenance(actor=event.actor.name, tag=target.tag))


def _left_out(event: _Event) -> LeftOut | None:
    if event.action != "push":
        return LeftOut.NO_PUSH
    if event.target.media_type not in _MANIFESTS:
        return LeftOut.NO_MANIFEST
    if not event.target.tag:
        return LeftOut.NO_TAG
    return LeftOut.ATTACHED if _ATTACHED.match(event.target.tag) else None
