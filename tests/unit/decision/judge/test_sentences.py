"""The sentence of a FAIL says what its numbers can carry."""

import pytest

from ctrlplane_stream.decision.judge.sentences import harm
from ctrlplane_stream.model.verdicts import Arm, Comparison, Culprit, GuardRole, Metric, MetricEvidence, VerdictStatus


def said(name: Metric, stable: float, candidate: float, effect: float, margin: float) -> str:
    evidence = MetricEvidence(
        name=name,
        guard="cart",
        role=GuardRole.CHANGED,
        comparison=Comparison.VERSIONS,
        stable=Arm(stable * 100, 100.0, stable),
        candidate=Arm(candidate * 100, 100.0, candidate),
        effect=effect,
        margin=margin,
        e_value=1e9,
        p_value=1e-9,
        threshold=1e5,
        status=VerdictStatus.FAIL,
        windows=7,
    )
    return harm(evidence, Culprit("cart", "#2", name))


@pytest.mark.parametrize(
    ("name", "stable", "candidate", "effect", "margin", "allowed", "within"),
    [
        (Metric.CALLS_PER_REQUEST, 1.94, 2.22, 2.22 / 1.94, 0.25, "25% more allowed", True),
        (Metric.CALLS_PER_REQUEST, 5.96, 5.33, 5.33 / 5.96, 0.25, "20% fewer allowed", True),
        (Metric.CALLS_PER_REQUEST, 2.0, 1.0, 0.5, 0.25, "20% fewer allowed", False),
        (Metric.CALLS_PER_REQUEST, 2.0, 4.0, 2.0, 0.25, "25% more allowed", False),
        (Metric.ERROR_RATIO, 0.01, 0.015, 0.005, 0.01, "1 point more allowed", True),
        (Metric.ERROR_RATIO, 0.01, 0.05, 0.04, 0.01, "1 point more allowed", False),
    ],
)
def test_values_within_the_margin_are_said_to_be(
    name: Metric, stable: float, candidate: float, effect: float, margin: float, allowed: str, within: bool
) -> None:
    sentence = said(name, stable, candidate, effect, margin)
    assert f"({allowed})" in sentence
    assert ("within that over all of the step but beyond it in some windows" in sentence) is within
