"""What the worker must be allowed in a namespace, as the Role that ships says it, and what somebody lacks of that. Pure."""

from collections.abc import Iterable

import msgspec
import yaml

from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest
from ctrlplane_stream.actuators.kubernetes.placement import Placements
from ctrlplane_stream.shipped import shipped


class Right(msgspec.Struct, frozen=True, order=True):
    """One verb on one resource, by name of its API group (empty: the core's)."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


def rights_of(role: Manifest) -> tuple[Right, ...]:
    """Every right of a Role, sorted; wildcards as they stand there."""
    return tuple(sorted(set(_flat(role.get("rules") or []))))


def shipped_role() -> Manifest:
    """The Role of ``deploy/namespaced``."""
    documents = yaml.safe_load_all((shipped("deploy") / "namespaced" / "rights.yaml").read_text())
    found: Manifest = next(each for each in documents if each["kind"] == "Role")
    return found


def needed(placements: Placements) -> tuple[Right, ...]:
    """Those of the Role that these placements make use of: routes, autoscalers, budgets and jobs only where something names them."""
    used = placements.kinds() | placements.kinds_made()
    optional = (Kind.HTTP_ROUTE, Kind.GRPC_ROUTE, Kind.AUTOSCALER, Kind.DISRUPTION_BUDGET, Kind.REPLICA_SET, Kind.CRON_JOB, Kind.JOB)
    spared = {_plural(kind) for kind in optional if kind not in used}
    return tuple(right for right in rights_of(shipped_role()) if right.resource not in spared)


def lacking(rules: Iterable[Manifest], rights: Iterable[Right]) -> tuple[Right, ...]:
    """Which of the rights these rules do not give; ``rules`` as a SelfSubjectRulesReview has them."""
    given = set(_flat(rule for rule in rules if not rule.get("resourceNames")))
    return tuple(right for right in rights if not _gives(given, right))


def _flat(rules: Iterable[Manifest]) -> Iterable[Right]:
    for rule in rules:
        for group in rule.get("apiGroups") or [""]:
            for resource in rule.get("resources") or []:
                yield from (Right(group, resource, verb) for verb in rule["verbs"])


def _gives(given: set[Right], right: Right) -> bool:
    groups, resources, verbs = (right.group, "*"), (right.resource, "*"), (right.verb, "*")
    return any(Right(group, resource, verb) in given for group in groups for resource in resources for verb in verbs)


def _plural(kind: Kind) -> str:
    return kind.path("").rpartition("/")[2]
