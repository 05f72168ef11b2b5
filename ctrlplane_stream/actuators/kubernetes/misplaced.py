"""What is wrong with places each of whose words can be read: found when the file is, and not in the middle of a rollout. Pure."""

import re
from collections.abc import Iterator, Sequence

from ctrlplane_stream.actuators.kubernetes.names import CONFIGURATION, SLUG_LIMIT
from ctrlplane_stream.actuators.kubernetes.objects import Manifest, kind_of, name_of
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.template import POD_VARIABLE, containers_of, workload_of
from ctrlplane_stream.model.identity import Target

_NAME = re.compile(rf"[a-z]([-a-z0-9]{{0,{SLUG_LIMIT - 2}}}[a-z0-9])?")


_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PART = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_PART}(\.{_PART})*")
_ROUTES = ("HTTPRoute", "GRPCRoute")
_PORTS = 65535


def misnamed(namespace: str) -> str | None:
    """Why nothing can be called so that a namespace is, in words; or None."""
    if _LABEL.fullmatch(namespace):
        return None
    return f"no namespace can be called {namespace}: small letters, digits and hyphens, no hyphen first or last, at most 63"


def misplaced(places: Sequence[tuple[Target, Place]]) -> str | None:
    """The first thing that is wrong with the places of all targets, in words; None where nothing is."""
    owners: dict[tuple[str | None, str, str], Target] = {}
    for target, place in places:
        if (wrong := _by_itself(target, place)) is not None:
            return f"{target}: {wrong}"
        for what, words in _taken_by_one(place):
            other = owners.setdefault((place.context, place.namespace, what), target)
            if other != target:
                return f"{other} and {target} would {words}"
    return None


def outdated(manifests: Sequence[Manifest]) -> str | None:
    """A manifest of a template that is written for another version of the API than the one by which we make it, in words; or None."""
    for manifest in manifests:
        kind, said = kind_of(manifest), manifest.get("apiVersion")
        if kind is not None and said is not None and said != kind.api_version:
            return f"{kind.manifest_kind} {name_of(manifest)} is of {said}: write it as {kind.api_version}"
    return None


def mistaken(manifests: Sequence[Manifest]) -> str | None:
    """What of a template would be taken for something else, be it one of ours, in words; or None."""
    named = [(str(manifest.get("kind")), name_of(manifest)) for manifest in manifests]
    twice = next((each for each in named if named.count(each) > 1), None)
    if twice is not None:
        return f"{' '.join(twice)} is there twice: each version has one of that name"
    if ("ConfigMap", CONFIGURATION) in named:
        return f"call the ConfigMap {CONFIGURATION} otherwise: each version has one of that name, with its configuration from the catalog"
    base = workload_of(tuple(manifests))
    if base is not None and any(variable.get("name") == POD_VARIABLE for each in containers_of(base) for variable in each.get("env") or []):
        what = f"{base['kind']} {name_of(base)} is that of a version of ours, with its variables and its copies of ConfigMaps"
        return f"{what} ({POD_VARIABLE}): write it as it was before us"
    return None


def _by_itself(target: Target, place: Place) -> str | None:
    if not _NAME.fullmatch(place.slug):
        return f"`name` {place.slug} cannot be a part of names: small letters, digits and hyphens, a letter first, at most {SLUG_LIMIT}"
    if place.full is not None and place.full < 1:
        return f"`replicas` is {place.full}: say how many Pods carry all the traffic, at least 1"
    if place.port is not None and not 1 <= place.port <= _PORTS:
        return f"`port` is {place.port}: ports are 1 to {_PORTS}"
    base = workload_of(place.template)
    containers = containers_of(base) if base is not None else []
    return (
        _of_objects(place) or _of_containers(target, place, [str(each.get("name")) for each in containers]) or _of_ports(place, containers)
    )


def _of_objects(place: Place) -> str | None:
    """What the place says of objects that no API server can have."""
    route = place.route
    if route is not None and route.kind not in _ROUTES:
        return f"`kind` of its route is {route.kind}: weights go by one of {', '.join(_ROUTES)}"
    names = [("service", place.service, _LABEL), ("adopt", place.adopt, _SUBDOMAIN)]
    names += [("name` of its `route", route.name, _SUBDOMAIN), ("rule", route.rule, _SUBDOMAIN)] if route is not None else []
    for what, name, form in names:
        if name is not None and not form.fullmatch(name):
            return f"`{what}` {name} can be the name of no object: small letters, digits and hyphens, no hyphen first or last"
    return None


def _of_containers(target: Target, place: Place, names: list[str]) -> str | None:
    called = target.service.rpartition("/")[2]
    if not names or (place.container or called) in names:
        return None
    if place.container is not None:
        return f"there is no container {place.container} in its template, which has {', '.join(names)}"
    if len(names) > 1:
        return (
            f"its template has the containers {', '.join(names)}, of which none is named {called}: say which gets the image by `container`"
        )
    return None


def _of_ports(place: Place, containers: Sequence[Manifest]) -> str | None:
    """Why the Service that each version gets for a route would answer nobody."""
    service = next((each for each in place.template if each.get("kind") == "Service"), None)
    ports = (service.get("spec") or {}).get("ports") or [] if service is not None and place.route is not None else []
    there = [each.get("port") for each in ports]
    if ports and place.port is not None and place.port not in there:
        return f"the Service in its template has no port {place.port} but {', '.join(map(str, there))}: correct `port`, or leave it out"
    named = {port.get("name") for each in containers for port in each.get("ports") or []}
    lost = [each["targetPort"] for each in ports if isinstance(each.get("targetPort"), str) and each["targetPort"] not in named]
    return f"the Service in its template leads to the port {lost[0]}, which no container of it has: name it there" if lost else None


def _taken_by_one(place: Place) -> Iterator[tuple[str, str]]:
    """What no two targets of a namespace may have, and what they would do with it."""
    yield f"name {place.slug}", f"share the name {place.slug}: give one a `name`"
    within = f"in {place.namespace}: give each its own"
    if place.route is not None:
        rule = f"rule {place.route.rule} of {place.route.kind} {place.route.name}"
        yield rule, f"both steer the {rule} {within}"
    if place.service is not None:
        yield f"Service {place.service}", f"both share the Pods behind Service {place.service} {within}"
    if place.adopt is not None:
        yield f"Deployment {place.adopt}", f"both adopt Deployment {place.adopt} {within}"
