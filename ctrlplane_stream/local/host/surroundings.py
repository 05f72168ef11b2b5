"""What an instance is told of itself: the environment variables of its process.

``SERVICE``, ``PORT``, ``IMAGE``, ``DIGEST``, ``CTRLPLANE_VERSION`` (the label), ``CTRLPLANE_ROUTES`` (JSON: service →
URL of its router, of this environment), ``CONFIG_<KEY>`` for each configuration value, ``CTRLPLANE_STANDBY=1`` for an
instance of a consumer that must prove that it starts but must not poll, and ``CTRLPLANE_RUN`` (1, 2 …) for a run of a job,
which has no ``PORT`` and ends by itself. Its telemetry names it by
``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``. Whatever else the host was given, ``KAFKA_BOOTSTRAP_SERVERS``
among it, is passed through.
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec

from ctrlplane_stream.model.catalog import variable_of
from ctrlplane_stream.model.identity import VERSION_ATTRIBUTE, Target
from ctrlplane_stream.model.world import WantedVersion


class Role(msgspec.Struct, frozen=True):
    """What one instance is started as. ``standby``: ready, but without taking work by itself; ``run``: the number of a job's run."""

    target: Target
    version: WantedVersion
    standby: bool = False
    run: int | None = None


def environment_of(role: Role, port: int, routes: Mapping[str, str], base: Mapping[str, str], otlp_endpoint: str | None) -> dict[str, str]:
    """The whole environment of one instance's process."""
    version, target = role.version, role.target
    environ = dict(base)
    environ |= {variable_of(key): value for key, value in version.configuration.items()}
    environ |= {
        "SERVICE": target.service,
        "PORT": str(port),
        "IMAGE": version.artifact.image,
        "DIGEST": version.artifact.digest,
        "CTRLPLANE_VERSION": version.label,
        "CTRLPLANE_ROUTES": msgspec.json.encode(dict(routes)).decode(),
        "OTEL_SERVICE_NAME": target.service.rpartition("/")[2],
        "OTEL_RESOURCE_ATTRIBUTES": _resource(role, port),
    }
    if role.run is not None:
        environ.pop("PORT")
        environ["CTRLPLANE_RUN"] = str(role.run)
    if role.standby:
        environ["CTRLPLANE_STANDBY"] = "1"
    if otlp_endpoint is not None:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = otlp_endpoint
    return environ


def _resource(role: Role, port: int) -> str:
    """Resource attributes as the specification has them in an environment variable: percent-encoded values."""
    namespace, _, name = role.target.service.rpartition("/")
    attributes = {
        VERSION_ATTRIBUTE: role.version.label,
        "service.name": name,
        "service.namespace": namespace,
        "deployment.environment.name": role.target.environment,
        "service.instance.id": f"{name}-{role.version.label}-{port if role.run is None else f'run-{role.run}'}",
    }
    return ",".join(f"{key}={quote(value, safe='')}" for key, value in attributes.items() if value)


def log_of(role: Role, folder: Path) -> Path:
    """Where what runs in the role writes; instances of one version write to one file."""
    name = f"{role.target.service.replace('/', '.')}-{role.version.label.lstrip('#')}.log"
    return folder / "logs" / role.target.environment.replace("/", ".") / name
