"""Who carries a harm."""

import pytest

from ctrlplane_stream.decision.judge.blame import culprit_of
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.verdicts import (
    Assignment,
    Change,
    Comparison,
    Guard,
    GuardRole,
    Metric,
    MetricEvidence,
    VerdictStatus,
)


@pytest.mark.parametrize(("caller", "callee"), [("a", "b"), ("b", "a")])
def test_who_calls_too_much_is_the_caller_whatever_the_two_are_called(caller: str, callee: str) -> None:
    """Both change, and the first of the changed services that is on the edge was blamed: the callee, if its name comes first."""
    edge = EdgeKey(caller, callee, EdgeKind.CALL)
    fail = MetricEvidence(
        Metric.CALLS_PER_REQUEST,
        caller,
        GuardRole.CHANGED,
        Comparison.VERSIONS,
        edge,
        e_value=1e6,
        p_value=1e-6,
        threshold=1e4,
        status=VerdictStatus.FAIL,
    )
    both = ("a", "b")
    assignment = Assignment(
        rollout="r",
        environment="production",
        step=0,
        attempt=1,
        changed=tuple(Change(service, "2", "1") for service in both),
        guards=tuple(Guard(service, GuardRole.CHANGED, True) for service in both),
        weight=0.1,
        weight_confirmed_at_ms=0,
        steps=4,
    )
    culprit = culprit_of(fail, (fail,), assignment, (edge,))
    assert (culprit.service, culprit.edge) == (caller, edge)
