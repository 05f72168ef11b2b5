"""What a service's process is told by whoever starts it: its environment variables, read once and checked.

| variable | meaning |
|---|---|
| ``SERVICE`` | ``namespace/name`` of ``topology.py`` |
| ``PORT`` | where to listen on 127.0.0.1 |
| ``IMAGE``, ``DIGEST`` | the image repository, and the digest (or a behaviour's name) that decides the behaviour |
| ``CTRLPLANE_VERSION`` | the label of this version (``#2``), for the resource attribute ``ctrlplane.version`` |
| ``CTRLPLANE_ROUTES`` | JSON object: service → base URL of whatever stands in front of it |
| ``CONFIG_<KEY>`` | one configuration value each |
| ``KAFKA_BOOTSTRAP_SERVERS`` | only for the services that use a topic |
| ``CTRLPLANE_TOPIC_PREFIX`` | put before the shop's topic and its consumer group, where several shops share a broker |
| ``OTEL_…`` | read by the OpenTelemetry SDK itself; without an endpoint nothing is exported |
"""

from collections.abc import Mapping

import msgspec

from ctrlplane_stream.local.shop.conduct import BadConfiguration, Conduct, conduct
from ctrlplane_stream.local.shop.images import behaviour_of
from ctrlplane_stream.local.shop.topology import Service, service_named

_CONFIG = "CONFIG_"


class BadSurroundings(ValueError):
    """The process was started with variables it cannot run on; the text says which and what to give."""


class Surroundings(msgspec.Struct, frozen=True):
    """Everything that one process of the shop is told. ``version`` is "" where nobody labelled it."""

    service: Service
    port: int
    image: str
    digest: str
    version: str
    routes: dict[str, str]
    conduct: Conduct
    kafka: str | None
    topic_prefix: str = ""


def read(environ: Mapping[str, str]) -> Surroundings:
    """The surroundings in these environment variables. Raises BadSurroundings."""
    name = environ.get("SERVICE", "")
    service = service_named(name)
    if service is None:
        raise BadSurroundings(f"SERVICE={name!r} is not in the shop's topology")
    digest = environ.get("DIGEST", "healthy")
    behaviour = behaviour_of(service.name, digest)
    if behaviour is None:
        raise BadSurroundings(f"DIGEST={digest!r} is no image of {name}: see ctrlplane_stream.local.shop.images")
    kafka = environ.get("KAFKA_BOOTSTRAP_SERVERS") or None
    if service.uses_kafka and kafka is None:
        raise BadSurroundings(f"KAFKA_BOOTSTRAP_SERVERS is missing: {name} uses a topic")
    configuration = {k.removeprefix(_CONFIG): v for k, v in environ.items() if k.startswith(_CONFIG)}
    try:
        behaves = conduct(behaviour, service.configuration | configuration)
        routes = msgspec.json.decode(environ.get("CTRLPLANE_ROUTES", "{}"), type=dict[str, str])
        port = int(environ.get("PORT", "0"))
    except (BadConfiguration, msgspec.DecodeError) as error:
        raise BadSurroundings(str(error)) from error
    except ValueError as error:
        raise BadSurroundings(f"PORT={environ.get('PORT')!r} is no number") from error
    return Surroundings(
        service=service,
        port=port,
        image=environ.get("IMAGE", service.image),
        digest=digest,
        version=environ.get("CTRLPLANE_VERSION", ""),
        routes=routes,
        conduct=behaves,
        kafka=kafka,
        topic_prefix=environ.get("CTRLPLANE_TOPIC_PREFIX", ""),
    )
