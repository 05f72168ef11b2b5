"""Where an offered artifact goes: which service it is, and which environments it starts in.

Only repositories that the catalog allows start anything. Without an environment of its own an event goes to those
environments of the service that do not wait for a bake elsewhere (``promote_from``, along the chain to the nearest that runs it).
"""

from ctrlplane_stream.model.catalog import Catalog


def services_of_image(catalog: Catalog, image: str) -> tuple[str, ...]:
    """The services whose artifacts come from this repository, in order of name; empty where the catalog allows none."""
    return tuple(name for name in sorted(catalog.services) if image in catalog.services[name].images)


def destinations(catalog: Catalog, image: str, service: str | None, environment: str | None) -> tuple[tuple[str, str], ...] | str:
    """(environment, service) pairs that the artifact goes to, at least one; or the sentence that says why to none."""
    allowed = services_of_image(catalog, image)
    if not allowed:
        return f"no service of the catalog takes images from {image}; add it to the service's images"
    if service is not None and service not in allowed:
        return f"{image} belongs to {', '.join(allowed)}, not to {service}"
    names = (service,) if service is not None else allowed
    found = tuple((place, name) for name in names for place in _entries(catalog, name, environment))
    if not found:
        where = f"in environment {environment}" if environment else "in any environment that takes artifacts directly"
        return f"{', '.join(names)} does not run {where}"
    return found


def _entries(catalog: Catalog, service: str, environment: str | None) -> tuple[str, ...]:
    places = catalog.services[service].environments
    if environment is not None:
        return (environment,) if environment in places and environment in catalog.environments else ()
    return tuple(place for place in sorted(places) if place in catalog.environments and catalog.source(service, place) is None)
