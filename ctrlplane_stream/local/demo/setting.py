"""The demo's catalog: the sample shop under a policy that differs from the default in times only.

The default policy judges windows of ten seconds and watches for minutes; a demo has two. Steps, margins, error budgets and
what happens when something is unsure are the defaults, so that what is seen here is what would happen elsewhere, faster.
"""

from typing import Any

import msgspec

from ctrlplane_stream.local.shop.topology import ENVIRONMENT, SERVICES
from ctrlplane_stream.model.catalog import Catalog, EnvironmentEntry, ServiceEntry, ServiceOverride
from ctrlplane_stream.model.policy import Policy, Step

WINDOW_SECONDS = 1
"""Length of a telemetry window in the demo."""

LATENESS_SECONDS = 1.0
"""How long a window waits for late spans in the demo; the shop exports every few hundred milliseconds."""

PAIRING_SECONDS = 6.0
"""How long halves wait for each other in the demo; no request of the shop takes longer than three seconds."""


def demo_policy() -> Policy:
    """The default policy with shorter times."""
    steps = tuple(msgspec.structs.replace(step, min_seconds=2.0, max_seconds=40.0) for step in Policy().steps)
    return Policy(
        steps=steps,
        bake_seconds=6.0,
        ready_timeout_seconds=30.0,
        drain_seconds=3.0,
        drain_limit_seconds=10.0,
        blind_limit_seconds=20.0,
        lost_actuator_seconds=20.0,
        lease_seconds=24.0,  # renewed every third of it: two thirds are left for a killed worker to start again on a busy machine
        retention_seconds=600.0,
        hold_deadline_seconds=300.0,
    )


def differences(policy: Policy) -> dict[str, tuple[Any, Any]]:
    """Fields of the policy that differ from the default: name to (default, here)."""
    both = ((name, getattr(Policy(), name), getattr(policy, name)) for name in Policy.__struct_fields__)
    return {name: (default, here) for name, default, here in both if default != here}


def demo_catalog(configuration: dict[str, dict[str, str]] | None = None) -> Catalog:
    """The shop's catalog; ``configuration`` (service to keys and values) is put over each service's own."""
    extra = configuration or {}
    return Catalog(
        environments={ENVIRONMENT: EnvironmentEntry(actuator="process", policy="demo")},
        policies={"demo": demo_policy()},
        services={
            service.name: ServiceEntry(
                images=(service.image,),
                environments={ENVIRONMENT: ServiceOverride()},
                kind=service.kind,
                configuration={**service.configuration, **extra.get(service.name, {})},
            )
            for service in SERVICES
        },
    )


def steps_differ_in_times_only(policy: Policy) -> bool:
    """Whether the policy's steps have the default's weights, windows and approvals."""

    def timeless(step: Step) -> Step:
        return msgspec.structs.replace(step, min_seconds=0.0, max_seconds=0.0)

    return tuple(map(timeless, policy.steps)) == tuple(map(timeless, Policy().steps))
