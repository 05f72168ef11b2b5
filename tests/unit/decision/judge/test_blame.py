"""Who carries a harm."""

import pytest

from ctrlplane_stream.decision.judge.blame import among, culprit_of
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.verdicts import (
    Assignment,
    Change,
    Comparison,
    Concurrent,
    Culprit,
    Guard,
    GuardRole,
    Metric,
    MetricEvidence,
    VerdictStatus,
)
from tests.unit.decision.judge.asking import CHANGED, asked


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


_CART, _RECS = Concurrent("cart/2", "cart", "#2"), Concurrent("recs/2", "recs", "#2")
_EXPLAINED = Culprit("cart", "#2", Metric.ERROR_RATIO, explained_by=_RECS)
_WEB = MetricEvidence(
    Metric.ERROR_RATIO, "web", GuardRole.CALLER, Comparison.BASELINE, e_value=1e6, p_value=1e-6, status=VerdictStatus.FAIL
)


def _own(of: Concurrent, p_value: float) -> MetricEvidence:
    edge = EdgeKey("web", of.service, EdgeKind.CALL)
    metric, compared = Metric.ERROR_RATIO, Comparison.VERSIONS
    return MetricEvidence(metric, of.service, GuardRole.CHANGED, compared, edge, e_value=1 / p_value, p_value=p_value)


def _blamed(own: float, others: float | None) -> Culprit | None:
    """Whom web's harm in cart's rollout belongs to, by the p-values of what is cart's own and recs' own (None: it is not judged)."""
    assignment = asked(1.0, CHANGED, Guard("web", GuardRole.CALLER), past=0, step=3, concurrent=(_RECS,))
    found = (_WEB, _own(_CART, own))
    beside = {"cart/2": found} | ({} if others is None else {"recs/2": (_WEB, _own(_RECS, others))})
    return among(_EXPLAINED, found, assignment, beside)


def test_a_harm_on_a_shared_guard_belongs_to_the_one_whose_own_evidence_shows_it() -> None:
    """The healthy one of two that bake side by side was named, on an edge on which nothing failed, and reverted with the other."""
    assert _blamed(own=0.8, others=1e-3) == Culprit("recs", "#2", Metric.ERROR_RATIO, EdgeKey("web", "recs", EdgeKind.CALL))
    assert _blamed(own=1e-3, others=1e-6) == _EXPLAINED, "it has harm of its own"


@pytest.mark.parametrize("others", [0.8, None])
def test_a_harm_on_a_shared_guard_that_shows_nowhere_else_belongs_to_nobody(others: float | None) -> None:
    """The engine then stops the last that stepped, or lets it wait for one that goes back already."""
    assert _blamed(own=0.8, others=others) is None
