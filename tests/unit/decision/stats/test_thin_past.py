"""A past of few trials: its evidence together with the present holds its level, and finds what bounds cannot."""

import math
import random

import pytest

from ctrlplane_stream.decision.stats.intervals import upper_share
from ctrlplane_stream.decision.stats.thin_past import correction, log_mixture


def chance(events: int, total: int, share: float) -> float:
    """Of so many events among independent trials."""
    return math.comb(total, events) * share**events * (1 - share) ** (total - events)


@pytest.mark.parametrize("total", [1, 7, 40])
def test_the_mixture_is_a_probability(total: int) -> None:
    """Over all that the past may have been it sums to one."""
    assert sum(math.comb(total, k) * math.exp(log_mixture(k, total)) for k in range(total + 1)) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("before", [0.0, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_where_nothing_became_worse_the_evidence_is_at_most_one_on_average(before: float, margin: float) -> None:
    """Exactly, over every past of 40 trials and every present of 12, for a bet on a share of 0.3."""
    past, trials, now, mean = 40, 12, before + margin, 0.0
    for k in range(past + 1):
        reference = min(0.9, (k + 0.1) / (past + 1) + margin)
        for x in range(trials + 1):
            log = x * math.log(0.3 / reference) + (trials - x) * math.log(0.7 / (1 - reference))
            log += correction((k, past), (x, trials), margin, reference, 1.0)
            mean += chance(k, past, before) * chance(x, trials, now) * math.exp(log)
    assert 0.0 < mean <= 1.0


def test_present_within_the_margin_of_the_past_has_no_evidence_against_it() -> None:
    """Whatever was bet: no share explains both better than their own."""
    for x in range(5):
        bet = x * math.log(0.2 / 0.07) + (50 - x) * math.log(0.8 / 0.93)
        assert bet + correction((5, 100), (x, 50), 0.05, 0.07, 1.0) <= 0.0


def test_a_loss_that_bounds_of_the_past_leave_open_is_evidence_with_it() -> None:
    """450 calls without a loss, then 15 lost of 300, which is 5%: against the upper bound there is next to nothing to be said."""
    level, k, n, x, m = 1e-4, 0, 450, 15, 300
    reference = 0.1 / 451 + 0.0025
    bet = x * math.log(0.05 / reference) + (m - x) * math.log(0.95 / (1 - reference))
    together = bet + correction((k, n), (x, m), 0.0025, reference, 1.0)
    bound = upper_share(k, n, level / 2) + 0.0025
    bounded = x * math.log(0.05 / bound) + (m - x) * math.log(0.95 / (1 - bound))
    assert together > -math.log(level)
    assert bounded < -math.log(2 * level) / 1.5


def test_bunches_of_the_past_make_it_tell_less() -> None:
    """The same counts with a design effect of 4 in the past."""
    reference, x, m = 0.003, 15.0, 300.0
    bet = x * math.log(0.05 / reference) + (m - x) * math.log(0.95 / (1 - reference))
    assert bet + correction((1, 450), (x, m), 0.0025, reference, 4.0) < bet + correction((1, 450), (x, m), 0.0025, reference, 1.0)


def test_looked_at_after_every_window_it_seldom_lies() -> None:
    """At level 0.2, over sixty windows of a rate that did not change."""
    rng, lies = random.Random(3), 0
    for _ in range(300):
        k = sum(rng.random() < 0.02 for _ in range(150))
        x = m = 0
        reference, log = (k + 0.1) / 151 + 0.01, 0.0
        for _ in range(60):
            guess = max(1.2 * reference, (x + 1) / (m + 10))
            lost = sum(rng.random() < 0.03 for _ in range(5))
            log += lost * math.log(guess / reference) + (5 - lost) * math.log((1 - guess) / (1 - reference))
            x, m = x + lost, m + 5
            if log + correction((k, 150), (x, m), 0.01, reference, 1.0) >= -math.log(0.2):
                lies += 1
                break
    assert lies <= 60 + 3 * math.sqrt(60)
