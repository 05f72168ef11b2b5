"""Where targets live: the file that maps environments to clusters and namespaces, and services to templates and routes.

::

    environments:
      production: {context: prod-eu, namespace: shop}
    services:
      shop/cart:
        template: cart.yaml                       # beside this file: a Deployment (of a job: a CronJob), and what belongs to each version
        replicas: 4                               # carry the whole traffic; default: the template's
        route: {name: shop, rule: cart}           # a rule of an HTTPRoute (or kind: GRPCRoute) that exists
        port: 80                                  # of the version's Service; default: the template's first
        environments: {staging: {replicas: 1}}    # what differs there
      shop/orders:
        template: orders.yaml
        service: orders                           # no gateway: replicas behind this Service, weights in whole Pods

Read when a worker starts. A version is made from the template that its catalog names by digest: this one, or one that the target's memory
keeps (see ``sources``). Where the catalog names none it is this one, and a version that exists already stays as it was made.
"""

from pathlib import Path
from typing import Any

import msgspec

from ctrlplane_stream.actuators.kubernetes.misplaced import misnamed, misplaced, mistaken, outdated
from ctrlplane_stream.actuators.kubernetes.names import slug
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest, kind_of
from ctrlplane_stream.actuators.kubernetes.place import Place, Route
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.wire.templates import template_name
from ctrlplane_stream.wire.yaml_documents import NotReadable, yaml_document, yaml_documents


class PlacementError(ValueError):
    """The placement file or a template cannot be used; the text names the file and says what to change."""


class _Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    namespace: str
    context: str | None = None


class _Override(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    template: str | None = None
    replicas: int | None = None
    route: Route | None = None
    service: str | None = None
    port: int | None = None
    container: str | None = None
    adopt: str | None = None
    name: str | None = None


class _Service(_Override, frozen=True, forbid_unknown_fields=True):
    environments: dict[str, _Override] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    environments: dict[str, _Environment]
    services: dict[str, _Service]


class Template(msgspec.Struct, frozen=True):
    """The manifests of a template, and what that is called with the digest of its file: ``cart.yaml@sha256:HEX``."""

    manifests: tuple[Manifest, ...] = ()
    named: str | None = None


class Placements:
    """The places of all targets that a file names."""

    def __init__(self, file: _File, templates: dict[str, Template]) -> None:
        self._file = file
        self._templates = templates

    def place(self, target: Target) -> Place | None:
        """The place of a target, or None where the file names no environment or service of it."""
        environment = self._file.environments.get(target.environment)
        entry = self._file.services.get(target.service)
        if environment is None or entry is None:
            return None
        here = _merged(entry, entry.environments.get(target.environment, _Override()))
        template = self._templates[here.template] if here.template else Template()
        return Place(
            namespace=environment.namespace,
            slug=here.name or slug(target.service),
            template=template.manifests,
            full=here.replicas,
            context=environment.context,
            route=here.route,
            service=here.service,
            port=here.port,
            container=here.container,
            adopt=here.adopt,
            named=template.named,
        )

    def kinds(self) -> frozenset[Kind]:
        """The kinds that are looked at besides those that every target has: routes, and autoscalers, budgets and runs where a template has
        them."""
        entries = [o for s in self._file.services.values() for o in (s, *s.environments.values())]
        routes = {entry.route.api for entry in entries if entry.route is not None}
        made = {manifest.get("kind") for each in self._templates.values() for manifest in each.manifests}
        owned = {kind for kind in (Kind.AUTOSCALER, Kind.DISRUPTION_BUDGET) if kind.manifest_kind in made}
        return frozenset(routes | owned | ({Kind.CRON_JOB, Kind.JOB} if "CronJob" in made else set()))

    def kinds_made(self) -> frozenset[Kind]:
        """The kinds of what templates bring besides a Deployment, and of what adopting looks at."""
        manifests = (manifest for each in self._templates.values() for manifest in each.manifests)
        made = {kind for manifest in manifests if (kind := kind_of(manifest)) is not None}
        entries = [o for s in self._file.services.values() for o in (s, *s.environments.values())]
        return frozenset(made | ({Kind.REPLICA_SET} if any(entry.adopt for entry in entries) else set()))

    def all(self) -> tuple[tuple[Target, Place], ...]:
        """Every service in every environment, sorted: where it would live, whether or not the catalog has it there."""
        targets = [Target(environment, service) for environment in self._file.environments for service in self._file.services]
        return tuple((target, place) for target in sorted(targets) if (place := self.place(target)) is not None)

    def namespaces(self) -> tuple[tuple[str | None, str], ...]:
        """Every (kubeconfig context, namespace) that the file names, sorted, each once."""
        return tuple(
            sorted({(e.context, e.namespace) for e in self._file.environments.values()}, key=lambda pair: (pair[0] or "", pair[1]))
        )


def read_placements(path: Path) -> Placements:
    """The placements in a file, with the templates that it names. Raises PlacementError."""
    try:
        document = yaml_document(path.read_text())
        file = msgspec.convert({} if document is None else document, _File)
    except OSError as error:
        raise PlacementError(f"{path}: {error.strerror}; CTRLPLANE_KUBERNETES_PLACEMENT must name a file that can be read") from error
    except ValueError as error:
        raise PlacementError(f"{path}: {error}") from error
    _check(path, file)
    wanted = {o.template for s in file.services.values() for o in (s, *s.environments.values()) if o.template is not None}
    placements = Placements(file, {name: read_template(path.parent / name, name) for name in sorted(wanted)})
    wrong = misplaced(placements.all())
    if wrong is not None:
        raise PlacementError(f"{path}: {wrong}")
    return placements


def read_template(path: Path, name: str) -> Template:
    """The template in a file of that name. Raises PlacementError where it has not exactly one Deployment or CronJob."""
    try:
        contents = path.read_bytes()  # Once: another of the name may come meanwhile, and this digest must be of what is read here.
        manifests = tuple(document for document in yaml_documents(contents) if document)
    except OSError as error:
        text = f"{path}: {error.strerror}; a `template` is a file, named by its path from the folder of the placement file"
        raise PlacementError(text) from error
    except NotReadable as error:
        raise PlacementError(f"{path}: {error}") from error
    wrong = template_problem(manifests) or outdated(manifests) or mistaken(manifests)
    if wrong:
        raise PlacementError(f"{path}: {wrong}")
    return Template(manifests, template_name(name, contents))


def template_problem(manifests: tuple[Any, ...]) -> str | None:
    """What is wrong with the manifests of a template, or None."""
    if not all(isinstance(m, dict) and isinstance(m.get("metadata"), dict) and "name" in m["metadata"] for m in manifests):
        return "every document must be an object with kind and metadata.name"
    kinds = [manifest.get("kind") for manifest in manifests]
    if kinds.count("CronJob") == 1 and "Deployment" not in kinds:
        return _problem_of_job(manifests)
    if kinds.count("Deployment") != 1 or "CronJob" in kinds:
        found = f"{kinds.count('Deployment')} and {kinds.count('CronJob')}"
        return f"a template needs exactly one Deployment, or for a job one CronJob, and has {found}"
    allowed = ("Deployment", "Service", "ConfigMap", "HorizontalPodAutoscaler", "PodDisruptionBudget")
    foreign = sorted({str(kind) for kind in kinds if kind not in allowed})
    if foreign:
        return f"{', '.join(foreign)} cannot be made per version: apply it yourself, or use one of {', '.join(allowed)}"
    if kinds.count("Service") > 1 or kinds.count("HorizontalPodAutoscaler") > 1:
        return "a template has at most one Service and one HorizontalPodAutoscaler"
    return None


def _problem_of_job(manifests: tuple[Manifest, ...]) -> str | None:
    foreign = sorted({str(manifest["kind"]) for manifest in manifests} - {"CronJob", "ConfigMap"})
    if foreign:
        return f"{', '.join(foreign)} cannot be made per version of a job: apply it yourself"
    spec = next(manifest["spec"] for manifest in manifests if manifest["kind"] == "CronJob")
    if "ttlSecondsAfterFinished" in spec["jobTemplate"]["spec"]:
        return "a run is counted by its Job: leave ttlSecondsAfterFinished out, the history limits of the CronJob clear up as well"
    if 0 in (spec.get("successfulJobsHistoryLimit"), spec.get("failedJobsHistoryLimit")):
        return "a run is counted by its Job: successfulJobsHistoryLimit and failedJobsHistoryLimit must be 1 or more"
    return None


def _merged(entry: _Override, here: _Override) -> _Override:
    fields = {
        name: getattr(here, name) if getattr(here, name) is not None else getattr(entry, name) for name in _Override.__struct_fields__
    }
    return _Override(**fields)


def _check(path: Path, file: _File) -> None:
    for name, place in sorted(file.environments.items()):
        if (wrong := misnamed(place.namespace)) is not None:
            raise PlacementError(f"{path}: environment {name}: {wrong}")
    for name, service in sorted(file.services.items()):
        for environment in sorted(service.environments):
            if environment not in file.environments:
                raise PlacementError(f"{path}: {name} names the environment {environment}, which is not listed under environments")
            here = _merged(service, service.environments[environment])
            if here.route is not None and here.service is not None:
                raise PlacementError(f"{path}: {name} has route and service: weights go by one of them")
        if service.route is not None and service.service is not None:
            raise PlacementError(f"{path}: {name} has route and service: weights go by one of them")
