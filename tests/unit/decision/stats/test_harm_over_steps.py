"""What a bet on harm has won is limited by window and handed on by step, and stays a bet all the same."""

import math

import pytest

from ctrlplane_stream.decision.stats.harm import Evidence, at_most, carried, log_harm, released, shifted

BEFORE = Evidence((0.5, -2.0, 3.0, -29.0), (1.0, 2.0), 2.5, 1.5)


def test_no_bet_wins_more_in_a_window_than_is_allowed() -> None:
    after = at_most(BEFORE, Evidence((9.0, -2.5, 3.5, 0.0), (4.0, 5.0), 8.0, 4.5), 2.0)
    assert after.harm == (2.5, -2.5, 3.5, -27.0)
    assert after.best_harm == max(BEFORE.best_harm, log_harm(after))
    assert (after.safety, after.best_safety) == ((4.0, 5.0), 4.5), "proof is not limited"


def test_what_wins_less_is_left_as_it_is() -> None:
    after = Evidence((1.0, -3.0, 3.5, -28.5), (1.0, 2.0), 2.6, 1.5)
    assert at_most(BEFORE, after, 2.0) is after


@pytest.mark.parametrize("part", [0.0, 1 / 3, 1.0])
def test_a_step_begins_with_a_part_of_each_bets_capital_and_the_rest_fresh(part: float) -> None:
    """In capital, not logarithms; and with no proof, and nothing reached yet."""
    after = carried(BEFORE, part)
    assert [math.exp(log) for log in after.harm] == pytest.approx([part * math.exp(log) + 1 - part for log in BEFORE.harm])
    assert (after.safety, after.best_harm, after.best_safety) == ((0.0, 0.0), 0.0, 0.0)


def test_a_step_that_lost_all_its_bets_leaves_the_next_one_most_of_a_fresh_start() -> None:
    assert min(carried(Evidence((-30.0,) * 4), 1 / 3).harm) == pytest.approx(math.log(2 / 3))


def test_what_a_bet_stakes_in_all_windows_together_is_its_capital() -> None:
    """Where every window leaves a bet what it has, it comes to 1 as the windows go on, and never to more."""
    evidence, staked = Evidence(), []
    for window in range(5000):
        evidence = released(evidence, window)
        staked.append(math.exp(evidence.harm[0]))
    assert staked == sorted(staked)
    assert 0.999 < staked[-1] < 1.0


@pytest.mark.parametrize("window", [1, 24, 400])
def test_a_bet_that_lost_all_is_staked_on_anew(window: int) -> None:
    after = released(Evidence((-5000.0, -30.0, 0.0, 9.0)), window)
    assert after.harm[0] == pytest.approx(math.log(2.5 / ((9 + window) * (10 + window))))
    assert after.harm[3] == pytest.approx(9.0, abs=1e-4)


def test_what_idle_capital_came_to_is_staked() -> None:
    assert released(Evidence((-5000.0,) * 4), 24, 800.0).harm[0] == pytest.approx(800.0 + math.log(2.5 / (33 * 34)))


def test_evidence_is_shifted_there_and_back() -> None:
    there = shifted(BEFORE, -3.0)
    assert there.best_harm == pytest.approx(log_harm(BEFORE) - 3.0)
    assert shifted(there, 3.0).harm == pytest.approx(BEFORE.harm)
