"""The registry of made-up images: a digest says how its version behaves, and looks like any other digest.

``digest`` is the SHA-256 of service, behaviour and build number, so that every machine agrees on it without a registry.
``behaviour_of`` reads it back by trying all of them: the digests of one service are few.
"""

import hashlib
from enum import StrEnum
from functools import lru_cache

BUILDS = range(1, 65)
"""The build numbers that have an image."""


class Behaviour(StrEnum):
    """What is wrong with an image, if anything."""

    HEALTHY = "healthy"
    ERRORS = "errors"
    """Three requests in ten fail with status 500."""
    LATENCY = "latency"
    """Every request takes 300 ms longer."""
    CRASH = "crash-at-start"
    """The process ends with status 1 before it listens."""
    NEVER_READY = "never-ready"
    """The process runs and its readiness probe answers 503 for ever."""
    DIES = "dies"
    """The process is gone in the middle of its twentieth request, spans and all."""
    WRONG_CALLS = "wrong-calls"
    """Every call is made twice, and one is made to a service that is none of its business."""


def digest(service: str, behaviour: Behaviour, build: int = 1) -> str:
    """The digest (``sha256:…``) of a service's image with this behaviour. ValueError for a build that has none."""
    if build not in BUILDS:
        raise ValueError(f"build {build} of {service} does not exist: use {BUILDS.start} to {BUILDS.stop - 1}")
    return "sha256:" + hashlib.sha256(f"{service} {behaviour} {build}".encode()).hexdigest()


def behaviour_of(service: str, name: str) -> Behaviour | None:
    """How the image of that digest behaves, or None where the service has no such image.

    A behaviour's own name is taken for itself, for those who start a service by hand.
    """
    return _images(service).get(name)


@lru_cache(maxsize=32)
def _images(service: str) -> dict[str, Behaviour]:
    named = {str(behaviour): behaviour for behaviour in Behaviour}
    return named | {digest(service, behaviour, build): behaviour for behaviour in Behaviour for build in BUILDS}
