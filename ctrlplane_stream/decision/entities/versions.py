"""What was offered: versions by number, and sets that are still being collected."""

import msgspec

from ctrlplane_stream.model.facts import Provenance, ReleaseOrder
from ctrlplane_stream.model.identity import Artifact


class Served(msgspec.Struct, frozen=True):
    """When a version was stable, in the log's milliseconds: from and until, None where it still is."""

    from_ms: int
    until_ms: int | None = None


class VersionEntry(msgspec.Struct, frozen=True):
    """A version: an artifact with a configuration, numbered once and for ever."""

    label: str
    artifact: Artifact
    manifest_hash: str
    configuration: dict[str, str]
    provenance: Provenance
    first_seen_ms: int
    gone_back: bool = False
    """A rollout of it was stopped by what was found or by a person, or a person returned from it to another: no catalog brings it back by
    saying the same once more."""
    turned_down: bool = False
    """Its set was refused or never became whole, so that nothing moves it before it is offered again."""
    told_as: str | None = None
    """The label that its telemetry carries, where that is not ``label``: what was adopted lacks our resource attribute."""
    served: tuple[Served, ...] = ()
    """The last times that it was stable. Versions of two services whose times overlap have been seen together."""
    template: str | None = None
    """The template of its service in the catalog that numbered it."""
    offered_to: tuple[str, ...] | None = None
    """The environments that its artifact had been offered to by its last bake, with whatever configuration; None before that, where it was
    adopted, and where it baked by a build that did not note this."""
    outlived_steady: int | None = None
    """When so many had baked after it that its target no longer counts it among those that baked, which it did; else None."""


class PairEntry(msgspec.Struct, frozen=True):
    """The number that (artifact, manifest) has."""

    number: int


class OfferedEntry(msgspec.Struct, frozen=True):
    """By which events an artifact was offered, the oldest first: the first 16 hexadecimal digits of the SHA-256 of their ids."""

    events: tuple[str, ...]


class ReleaseEntry(msgspec.Struct, frozen=True):
    """A set that is still being collected: members of a declared release, or of a ``group`` that moves together, by service and version
    label."""

    release: str
    size: int | None
    members: dict[str, str]
    order: ReleaseOrder
    due_steady: int
    cause: str = "release"
    again: tuple[str, ...] = ()
    """Members whose version came before and does not serve: they go along with what is new, and alone they are nothing."""
    group: bool = False
    """What it was as it began: a catalog that dissolves the group meanwhile makes no release of it that somebody must make whole."""
