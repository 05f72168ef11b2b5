"""Plans before a step begins: more traffic, more weight and wider margins are shorter, and what cannot be is said."""

import math

from ctrlplane_stream.decision.judge.planning import StepPlan, Traffic, plan_step
from ctrlplane_stream.model.verdicts import GatePolicy


def plan(rps: float, weight: float, detect: float = 0.05, **policy: object) -> StepPlan:
    return plan_step(Traffic(rps, weight), detect, GatePolicy(**policy), questions=72, steps=4)  # type: ignore[arg-type]


def test_ten_times_the_traffic_takes_a_tenth_of_the_time() -> None:
    """Of a finding give or take a window of the faster, since looks are at windows, and what a long time is played in at once."""
    slow, fast = plan(10, 0.1), plan(100, 0.1)
    assert math.isclose(slow.error_proof_seconds, 10 * fast.error_proof_seconds)
    assert math.isclose(slow.detect_seconds, 10 * fast.detect_seconds, rel_tol=0.2)
    assert math.isclose(slow.detect_within_seconds, 10 * fast.detect_within_seconds, rel_tol=0.2)


def test_a_step_at_full_weight_knows_the_past_only_within_bounds() -> None:
    """At 10 requests a second that of half a percent reaches from 0.2% to 1.2%: a proof takes longer than beside a stable of ten times as
    many, with the same margin, and a rise by 2.5 times as much as is allowed is not found in half an hour; at 100 it is at once."""
    margin = GatePolicy(error_margin=0.02, baseline_margin_factor=1.0)
    assert plan(10, 1.0, error_margin=0.02, baseline_margin_factor=1.0).error_proof_seconds == plan(10, 1.0).error_proof_seconds
    assert plan(10, 1.0).error_proof_seconds > plan(10, 10 / 11, error_margin=margin.error_margin).error_proof_seconds
    assert plan(1, 1.0, 0.05).detect_within_seconds > 1800
    assert plan(100, 1.0, 0.05).detect_within_seconds <= 60


def test_near_the_margin_a_finding_takes_long_and_sometimes_much_longer() -> None:
    near, far = plan(100, 1.0, 0.03), plan(100, 1.0, 0.06)
    assert near.detect_seconds > 4 * far.detect_seconds
    assert near.detect_within_seconds > 2 * near.detect_seconds
    assert math.isinf(plan(100, 1.0, 0.021).detect_seconds)


def test_a_larger_fault_is_found_sooner() -> None:
    assert plan(10, 0.1, 0.3).detect_seconds < plan(10, 0.1, 0.05).detect_seconds / 5


def test_no_finding_is_promised_where_stable_fails_always() -> None:
    """Nothing can be worse by the margin then."""
    assert math.isinf(plan_step(Traffic(100, 0.5, 1.0), 0.5, GatePolicy(), questions=72, steps=4).detect_seconds)
    assert math.isinf(plan_step(Traffic(100, 1.0, 1.0), 0.5, GatePolicy(), questions=72, steps=4).detect_within_seconds)


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
