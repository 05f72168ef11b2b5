"""Whole rollouts of drawn traffic through the judge: the short form of `make gates`, whose long form `docs/gates.md` publishes."""

import pytest

from bench.gates.report import share, spread
from bench.gates.rollouts import run
from bench.gates.traffic import CONDITIONS, FAULTS, HEALTHY, MANY_CALLS, Condition, Fault, System


@pytest.mark.parametrize("condition", [CONDITIONS[0], CONDITIONS[1], CONDITIONS[5]], ids=lambda condition: condition.name)
def test_identical_versions_complete_without_a_person(condition: Condition) -> None:
    """Twelve guards, four steps: plain, autocorrelated, tail-sampled. All conditions together are for the long form."""
    assert run(200.0, condition, HEALTHY, seed=501).outcome == "completed"


@pytest.mark.parametrize("seed", [601, 602])
def test_a_hundred_requests_a_second_prove_every_step(seed: int) -> None:
    """No soak: each of the four steps passes with proof, in at most 1.5 times the windows of an oracle."""
    rollout = run(100.0, CONDITIONS[0], HEALTHY, seed)
    assert rollout.proven == [True] * 4
    oracle = [wanted if wanted is not None else had for wanted, had in zip(rollout.oracle_windows, rollout.windows, strict=True)]
    assert rollout.total <= 1.5 * sum(oracle)


def test_one_request_a_second_soaks_and_says_that_nothing_is_proven() -> None:
    rollout = run(1.0, CONDITIONS[0], HEALTHY, seed=701)
    assert rollout.outcome == "completed"
    assert not any(rollout.proven)
    assert rollout.verdict is not None
    assert "cannot be proven here in the time allowed" in rollout.verdict.reason


@pytest.mark.parametrize(("rps", "seed"), [(10.0, 5), (100.0, 9), (1000.0, 10)])
def test_a_machine_that_is_slow_for_a_minute_reverts_nobody(rps: float, seed: int) -> None:
    """A minute in which everything takes several times as long is nobody's doing, though no service is outside of the guards."""
    noisy = next(condition for condition in CONDITIONS if condition.noisy)
    assert run(rps, noisy, HEALTHY, seed).outcome != "failed"


@pytest.mark.parametrize(("rps", "seed"), [(100.0, 4), (1000.0, 28), (1000.0, 39)])
def test_a_machine_that_is_slow_for_a_minute_now_and_then_holds_nobody(rps: float, seed: int) -> None:
    """What is slow is not known by the slow minutes alone, and a slow minute ruins no proof that is to be had side by side."""
    noisy = next(condition for condition in CONDITIONS if condition.noisy)
    assert run(rps, noisy, HEALTHY, seed).outcome == "completed"


@pytest.mark.parametrize("rps", [100.0, 1000.0])
def test_identical_versions_are_proven_where_the_quantiles_lie_among_latencies_that_are_alike(rps: float) -> None:
    alike = next(condition for condition in CONDITIONS if condition.alike)
    assert run(rps, alike, HEALTHY, seed=1).proven == [True] * 4


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("condition", MANY_CALLS, ids=lambda condition: condition.name)
def test_identical_versions_complete_where_some_requests_touch_both_many_times(condition: Condition, seed: int) -> None:
    """Compared by what they touched, rather than by one call each, they fail in the first step."""
    assert run(100.0, condition, HEALTHY, seed).outcome == "completed"


@pytest.mark.parametrize("condition", MANY_CALLS, ids=lambda condition: condition.name)
def test_a_candidate_that_fails_at_one_call_of_many_is_found(condition: Condition) -> None:
    rollout = run(100.0, condition, FAULTS[0], seed=1)
    assert rollout.outcome == "failed"
    assert rollout.right(FAULTS[0])


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.near], ids=lambda fault: fault.name)
def test_every_fault_of_the_catalogue_is_found_and_named(fault: Fault) -> None:
    """At a hundred requests a second, with the blame on the changed service and a metric that names the fault; but near the margin."""
    rollout = run(100.0, CONDITIONS[0], fault, seed=801)
    assert rollout.outcome == "failed"
    assert rollout.right(fault)
    assert rollout.verdict is not None
    assert rollout.verdict.culprit is not None
    assert rollout.verdict.culprit.service == "cart"


def test_a_step_that_is_proven_in_a_moment_waits_for_what_speaks_against_it() -> None:
    """At a thousand requests a second the changed service is proven in three windows, and an overloaded database not yet found in them."""
    assert run(1000.0, CONDITIONS[0], next(fault for fault in FAULTS if fault.db_slower > 1), seed=10001).outcome == "failed"


def test_the_same_seed_draws_the_same_traffic() -> None:
    everything = CONDITIONS[-1]
    first, second = System(50.0, everything, 9), System(50.0, everything, 9)
    assert [first.window(n, 0.25) for n in range(10)] == [second.window(n, 0.25) for n in range(10)]


def test_autocorrelated_outcomes_scatter_as_much_as_they_should() -> None:
    """Lag-one correlation 0.3 in runs of geometric length makes the variance of a count 1.3 / 0.7 times a binomial's, here within a
    fifth."""
    drawn = System(1.0, Condition("runs", autocorrelation=0.3), 3)
    counts = [drawn._events(2000, 0.1) for _ in range(3000)]
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert mean == pytest.approx(200, rel=0.02)
    assert variance / (2000 * 0.1 * 0.9) == pytest.approx(1.3 / 0.7, rel=0.2)


def test_tables_tell_shares_with_their_intervals() -> None:
    """Wilson's interval of 1 in 10 is (1.8%, 40.4%): Brown, Cai, DasGupta 2001."""
    assert share(1, 10) == "10.0% [1.8%, 40.4%]"
    assert spread([1.0, 2.0, 3.0]) == "2.0 / 3.0"
