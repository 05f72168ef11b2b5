"""What an override or a question is about, as it is typed: an environment, a service of it, a rollout or an artifact; and whether there
is one."""

import click

from ctrlplane_stream.commands.rollouts import all_rollouts
from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.phases import ENDED
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.wire.artifacts import named_wrongly


def read_scope(scope: str) -> tuple[str, str | None, str | None]:
    """Environment, service and rollout of ``env``, ``env:service`` or a rollout's id ``env/…``."""
    environment, colon, service = scope.partition(":")
    if colon:
        return environment, service, None
    if "/" in scope:
        return scope.partition("/")[0], None, scope
    return scope, None, None


def read_reference(reference: str) -> tuple[str, str]:
    """Image and digest of ``IMAGE@DIGEST``; a usage error for anything else."""
    image, separator, digest = reference.partition("@")
    if not separator:
        raise click.UsageError(f"{reference} names no digest: give IMAGE@sha256:…, since a tag may mean something else tomorrow")
    if (wrong := named_wrongly(image, digest)) is not None:
        raise click.UsageError(wrong)
    return image, digest


def nowhere(state: State, service: str | None, rollout: str | None) -> str | None:
    """That there is nothing of that name, with what there is instead; None where there is."""
    if rollout is not None and state.find(f"rollout/{rollout}", e.Rollout) is None:
        under_way = ", ".join(r.id for r in all_rollouts(state) if r.phase not in ENDED) or "none"
        return f"there is no rollout {rollout}; under way are: {under_way}"
    moved = service is not None and any(unit.service == service for r in all_rollouts(state) for unit in r.units)
    return not_in_catalog(state, service) if service is not None and not moved else None


def not_in_catalog(state: State, service: str) -> str | None:
    """That the catalog in force has no such environment, or no such service in it, with those that it has; None where it has."""
    catalog = state.find("catalog", e.CatalogEntry)
    if catalog is None:
        return f"no engine has read of an environment {state.environment} yet; `ctrlplane-stream catalog show` has those there are"
    if service in catalog.services:
        return None
    return f"the catalog has no service {service} in {state.environment}; it has {', '.join(catalog.services) or 'none'}"
