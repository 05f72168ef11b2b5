"""The check of ``doctor`` that catalog and placement mean the same templates: a version is made from the one that the catalog names."""

from collections import defaultdict
from pathlib import Path

from ctrlplane_stream.actuators.kubernetes.placement import PlacementError, Placements, read_placements
from ctrlplane_stream.commands.catalog_in_force import newest
from ctrlplane_stream.commands.findings import Finding, note, ok, wrong
from ctrlplane_stream.model.catalog import Catalog
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.templates import digest_of

_BY_PLACEMENT = ("kubernetes", "gitops")
"""The actuators that make versions from the placement file's templates."""


async def check_templates(settings: Settings) -> list[Finding]:
    """Every difference between the catalog in force and the placement file here; nothing where there is no catalog or no good file."""
    try:
        placements = read_placements(Path(settings.kubernetes_placement))
    except PlacementError:
        return []  # The checks of Kubernetes say so.
    current = await newest(settings)
    return compared(current.record.catalog, placements) if current is not None else []


def compared(catalog: Catalog, placements: Placements) -> list[Finding]:
    """A line for each service whose templates are not the same in both, and one for all others."""
    same, unnamed, found = 0, defaultdict[tuple[str, str], list[str]](list), list[Finding]()
    for environment in sorted(catalog.environments):
        for service in catalog.view(environment).services:
            place = placements.place(Target(environment, service.service))
            if service.actuator not in _BY_PLACEMENT or place is None:
                continue
            if service.template is None:
                if place.named is not None:
                    unnamed[service.service, place.named.partition("@")[0]].append(environment)
            elif place.named is None or digest_of(place.named) != digest_of(service.template):
                found.append(_differs(f"template {environment}:{service.service}", service.template, place.named))
            else:
                same += 1
    found += [_unnamed(service, name, environments) for (service, name), environments in sorted(unnamed.items())]
    return [*([ok("templates", f"of {same} targets the placement file has what the catalog names")] if same else []), *found]


def _differs(check: str, named: str, there: str | None) -> Finding:
    remedy = (
        "run `ctrlplane-stream catalog apply` where the file is newer, else give the worker the catalog's by `ctrlplane-stream install`"
    )
    return wrong(check, f"the catalog names {named}, the placement file {f'has {there}' if there is not None else 'names none'}", remedy)


def _unnamed(service: str, name: str, environments: list[str]) -> Finding:
    what = f"the catalog names none in {', '.join(environments)}, so a changed {name} is no new version"
    return note(f"template {service}", what, f"say `template: {name}` of it in the catalog, and keep the file beside that too")
