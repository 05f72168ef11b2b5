"""Plans before a step begins: more traffic, more weight and wider margins are shorter, and what cannot be is said."""

import math

from ctrlplane_stream.decision.judge.planning import StepPlan, Traffic, plan_step
from ctrlplane_stream.model.verdicts import GatePolicy


def plan(rps: float, weight: float, detect: float = 0.05, **policy: object) -> StepPlan:
    return plan_step(Traffic(rps, weight), detect, GatePolicy(**policy), questions=72, steps=4)  # type: ignore[arg-type]


def test_ten_times_the_traffic_takes_a_tenth_of_the_time() -> None:
    slow, fast = plan(10, 0.1), plan(100, 0.1)
    assert math.isclose(slow.detect_seconds, 10 * fast.detect_seconds)
    assert math.isclose(slow.error_proof_seconds, 10 * fast.error_proof_seconds)


def test_a_step_at_full_weight_needs_twice_the_evidence() -> None:
    """With a past of ten times the requests beside it, like a weight of 1 in 11: a proof takes log(2 / 0.05) instead of log(1 / 0.05)."""
    beside, past = plan(100, 1 / 11), plan(100, 1.0)
    requests = [beside.error_proof_seconds * 100 / 11, past.error_proof_seconds * 100]
    assert math.isclose(requests[1] / requests[0], math.log(40) / math.log(20))


def test_a_larger_fault_is_found_sooner() -> None:
    assert plan(100, 0.1, 0.3).detect_seconds < plan(100, 0.1, 0.05).detect_seconds / 5


def test_a_hundred_requests_a_second_prove_the_defaults_at_the_first_weight() -> None:
    assert plan(100, 0.05).provable


def test_one_request_a_second_does_not_and_says_what_it_could() -> None:
    """The margin it offers instead is provable, and hardly a smaller one is."""
    poor = plan(1, 0.05)
    assert not poor.provable
    assert 0.05 < poor.provable_margin < 1
    assert plan(1, 0.05, 1.0, error_margin=poor.provable_margin * 1.01).error_proof_seconds <= 600
    assert plan(1, 0.05, 1.0, error_margin=poor.provable_margin * 0.9).error_proof_seconds > 600


def test_a_rise_within_the_margin_narrows_the_margin() -> None:
    assert plan(100, 0.1, 0.004).margin == 0.002


def test_a_step_is_never_shorter_than_the_policys_minimum() -> None:
    assert plan(1e6, 0.5).windows == GatePolicy().minimum_windows
