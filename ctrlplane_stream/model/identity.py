"""Who and where: services, environments, targets, artifacts, versions and edges.

A service is written ``namespace/name`` (``service.namespace`` and ``service.name`` of OpenTelemetry's resource), or
just ``name`` where there is no namespace. A version label is the string that telemetry carries; the labels that our
actuators inject are ``#1``, ``#2`` … so that no ``service.version`` can be mistaken for one.
"""

from enum import StrEnum

import msgspec

VERSION_ATTRIBUTE = "ctrlplane.version"
"""Resource attribute that our actuators inject; it outranks every other sign of a version."""

UNKNOWN_VERSION = "unknown"
"""Version label of the missing server half of a failed call, and of spans that name no version at all."""


class EdgeKind(StrEnum):
    """What a caller does to a callee."""

    __hash__ = str.__hash__
    """An enumeration's own is written in Python, and every look-up of an edge would run it."""

    CALL = "call"
    MESSAGE = "message"
    DATABASE = "database"
    EXTERNAL = "external"


class ServiceKind(StrEnum):
    """How a service takes weight: by routed traffic, by its share of instances, or by runs."""

    ROUTED = "routed"
    CONSUMER = "consumer"
    JOB = "job"


class Target(msgspec.Struct, frozen=True, order=True):
    """A service in an environment: the thing that has a stable version and weights."""

    environment: str
    service: str

    def __str__(self) -> str:
        return f"{self.environment}:{self.service}"


class EdgeKey(msgspec.Struct, frozen=True, order=True):
    """A caller, a callee and the kind of what happens between them, in one environment."""

    caller: str
    callee: str
    kind: EdgeKind

    def __str__(self) -> str:
        return f"{self.caller} -{self.kind}-> {self.callee}"


class Artifact(msgspec.Struct, frozen=True, order=True):
    """An OCI image of a service, by digest; the same in every environment.

    ``image`` is the repository without tag or digest (``registry.example/shop/cart``); ``digest`` is
    ``sha256:`` and 64 lower-case hexadecimal digits.
    """

    service: str
    image: str
    digest: str

    def __str__(self) -> str:
        return f"{self.image}@{self.digest}"


def version_label(number: int) -> str:
    """The label that telemetry carries for our version ``number`` of a service (``#3``)."""
    return f"#{number}"


def version_number(label: str) -> int | None:
    """The number of one of our version labels, or None where the label is somebody else's."""
    digits = label[1:]
    return int(digits) if label.startswith("#") and digits.isdecimal() else None
