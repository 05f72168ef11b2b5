"""What exists and what rules it: services, their images, environments and policies.

The catalog is written by people as YAML (``wire/catalog_file.py`` checks it and reports line numbers). Each
environment's part of it, resolved to whole policies, is what enters ``facts``.
"""

import hashlib
import re
from typing import Annotated

import msgspec

from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Policy


class ServiceInEnvironment(msgspec.Struct, frozen=True):
    """A service as one environment runs it, with everything resolved.

    ``images`` are the repositories whose artifacts may start a rollout of it. ``configuration`` is copied into each
    version; a change of it is a new version. ``moves_together`` names a group whose members change as one set.
    """

    service: str
    images: tuple[str, ...]
    kind: ServiceKind
    actuator: str
    policy: Policy
    configuration: dict[str, str] = {}
    template: str | None = None
    moves_together: str | None = None
    addresses: tuple[str, ...] = ()
    in_cycle_compatible: bool = False


class EnvironmentCatalog(msgspec.Struct, frozen=True):
    """One environment's services, and what promotes into and out of it.

    ``onward``: services whose artifacts go elsewhere than ``promotes_to``, since not all of those run them, and where they go.
    """

    environment: str
    services: tuple[ServiceInEnvironment, ...]
    promote_from: str | None = None
    promotes_to: tuple[str, ...] = ()
    notify: str | None = None
    onward: dict[str, tuple[str, ...]] = {}

    def service(self, name: str) -> ServiceInEnvironment | None:
        """The service of that name, or None where this environment has none."""
        return next((s for s in self.services if s.service == name), None)


DAYS_UNTIL_AN_EDGE_FADES = 7.0
"""A week: what happens on Mondays only is a dependency too."""


class EnvironmentEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An environment in the catalog file: the defaults of its services, and where its artifacts come from.

    ``promote_from``: a service's artifacts come from there once they have baked; where that does not run the service, from the nearest
    before it that does; and where none does, at the push.

    ``edges_fade_days``: a dependency is forgotten when its caller was heard of for so long, in windows put end to end, without using
    it; unset: a week. An edge never fades because its caller is silent. The judge remembers a silent service for twice as long.
    """

    actuator: str = "dry-run"
    policy: str = "default"
    promote_from: str | None = None
    notify: str | None = None
    # Unset rather than a default: the hash of a catalog that does not say it stays what it was.
    edges_fade_days: Annotated[float, msgspec.Meta(gt=0)] | msgspec.UnsetType = msgspec.UNSET

    @property
    def days_until_an_edge_fades(self) -> float:
        """As said, or the default."""
        return DAYS_UNTIL_AN_EDGE_FADES if isinstance(self.edges_fade_days, msgspec.UnsetType) else self.edges_fade_days


class ServiceOverride(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one environment says of a service beyond its defaults."""

    policy: str | None = None
    actuator: str | None = None
    configuration: dict[str, str] = {}
    template: str | None = None


class ServiceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service in the catalog file. ``environments`` lists where it runs.

    Services with the same ``moves_together`` are rolled out and gone back from as one set: what is pushed of them within 30 s of each
    other, and what one catalog configures anew. Callers reach it at ``addresses``. ``in_cycle_compatible``: it gets on with any version
    of those that it calls in a circle, so that they may be released together.
    """

    images: tuple[str, ...]
    environments: dict[str, ServiceOverride]
    kind: ServiceKind = ServiceKind.ROUTED
    configuration: dict[str, str] = {}
    template: str | None = None
    moves_together: str | None = None
    addresses: tuple[str, ...] = ()
    in_cycle_compatible: bool = False


class Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole catalog as people write it: named policies, environments and services."""

    environments: dict[str, EnvironmentEntry]
    services: dict[str, ServiceEntry]
    policies: dict[str, Policy] = {}

    def policy(self, name: str) -> Policy:
        """The named policy; ``default`` is the built-in one unless the catalog defines it. KeyError for an unknown name."""
        if name == "default" and name not in self.policies:
            return Policy()
        return self.policies[name]

    def view(self, environment: str) -> EnvironmentCatalog:
        """What ``environment`` has of this catalog, services in the order of their names. KeyError where unknown."""
        place = self.environments[environment]
        services = tuple(
            self._resolve(name, self.services[name], environment, place)
            for name in sorted(self.services)
            if environment in self.services[name].environments
        )
        next_ones = tuple(sorted(n for n, e in self.environments.items() if e.promote_from == environment))
        entries = {s.service: self.services[s.service].environments for s in services}
        elsewhere = [name for name, runs in entries.items() if any(after not in runs for after in next_ones)]
        onward = {name: self._takers(name, environment) for name in elsewhere}
        return EnvironmentCatalog(environment, services, place.promote_from, next_ones, place.notify, onward)

    def source(self, service: str, environment: str) -> str | None:
        """Where the artifacts of a service bake before they come to an environment that runs it: the nearest along ``promote_from`` that
        runs it, too. None where none does, so that they come at the push."""
        runs, way, place = self.services[service].environments, [environment], self.environments[environment].promote_from
        while place in self.environments and place not in way:
            if place in runs:
                return place
            way.append(place)
            place = self.environments[place].promote_from
        return None

    def _takers(self, service: str, environment: str) -> tuple[str, ...]:
        runs = sorted(self.services[service].environments)
        return tuple(place for place in runs if place in self.environments and self.source(service, place) == environment)

    def _resolve(self, name: str, entry: ServiceEntry, environment: str, place: EnvironmentEntry) -> ServiceInEnvironment:
        here = entry.environments[environment]
        return ServiceInEnvironment(
            service=name,
            images=entry.images,
            kind=entry.kind,
            actuator=here.actuator or place.actuator,
            policy=self.policy(here.policy or place.policy),
            configuration={**entry.configuration, **here.configuration},
            template=here.template or entry.template,
            moves_together=entry.moves_together,
            addresses=entry.addresses,
            in_cycle_compatible=entry.in_cycle_compatible,
        )


def no_such_environment(environment: str, catalog: Catalog | None) -> str | None:
    """That there is no environment of that name, with those that there are; None where the catalog has it. ``catalog`` None: none yet."""
    if catalog is None:
        return f"there is no environment {environment[:100]!r}: no catalog is applied yet; see `ctrlplane-stream catalog apply`"
    if environment in catalog.environments:
        return None
    return f"there is no environment {environment[:100]!r}; the catalog has {', '.join(sorted(catalog.environments)) or 'none'}"


def variable_of(key: str) -> str:
    """The environment variable by which instances get the value of a key of their configuration: ``page-size`` is ``CONFIG_PAGE_SIZE``."""
    return f"CONFIG_{re.sub(r'[^A-Z0-9]', '_', key.upper())}"


def manifest_hash(service: ServiceInEnvironment) -> str:
    """The hash of what a version of the service would be made from besides its image: 16 hexadecimal digits.

    Template and configuration only; policies and names of people are not part of a version.
    """
    made_from = msgspec.json.encode([service.template, service.kind, service.configuration], order="sorted")
    return hashlib.sha256(made_from).hexdigest()[:16]
