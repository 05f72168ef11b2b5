"""What a service's process is told by whoever starts it: its environment variables, read once and checked.

| variable | meaning |
|---|---|
| ``SERVICE`` | ``namespace/name`` of ``topology.py`` |
| ``PORT`` | where to listen on 127.0.0.1 |
| ``IMAGE``, ``DIGEST`` | the image repository, and the digest (or a behaviour's name) that decides the behaviour |
| ``CTRLPLANE_VERSION`` | the label of this version (``#2``), for the resource attribute ``ctrlplane.version`` |
| ``CTRLPLANE_ROUTES`` | JSON object: service → base URL of whatever stands in front of it |
| ``CONFIG_<KEY>`` | one configuration value each |
| ``CTRLPLANE_STANDBY`` | 1: a consumer that shows that it starts, and takes no message |
| ``KAFKA_BOOTSTRAP_SERVERS`` | only for the services that use a topic |
| ``CTRLPLANE_TOPIC_PREFIX`` | put before the shop's topic and its consumer group, where several shops share a broker |
| ``OTEL_…`` | read by the OpenTelemetry SDK itself; without an endpoint nothing is exported |
"""

from collections.abc import Mapping

import msgspec

from ctrlplane_stream.local.shop.conduct import BadConfiguration, Conduct, conduct
from ctrlplane_stream.local.shop.images import behaviour_of
from ctrlplane_stream.local.shop.topology import Service, service_named
from ctrlplane_stream.wire.json_words import WrongJson, read_json

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
    standby: bool = False


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
    except BadConfiguration as error:
        raise BadSurroundings(f"{_CONFIG}{error}") from error
    return Surroundings(
        service=service,
        port=_port(environ.get("PORT", "0")),
        image=environ.get("IMAGE", service.image),
        digest=digest,
        version=environ.get("CTRLPLANE_VERSION", ""),
        routes=_routes(environ.get("CTRLPLANE_ROUTES", "{}")),
        conduct=behaves,
        kafka=kafka,
        topic_prefix=environ.get("CTRLPLANE_TOPIC_PREFIX", ""),
        standby=environ.get("CTRLPLANE_STANDBY") == "1",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise BadSurroundings(f"PORT={text!r}: give a port number, 0 for a free one")
    return int(text)


def _routes(text: str) -> dict[str, str]:
    try:
        return read_json(text, dict[str, str])
    except WrongJson as error:
        raise BadSurroundings(f"CTRLPLANE_ROUTES={text!r}: give a JSON object of service to URL ({error})") from error
