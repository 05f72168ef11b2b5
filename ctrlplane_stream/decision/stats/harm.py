"""The evidence that a share rose beyond its margin, and the evidence that it did not, as two numbers that grow window by window.

Harm is a mixture of four bets (one on the candidate's own past, three on fixed sizes of harm): a mixture of e-processes is an e-process
(method of mixtures: Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon, Annals of Statistics 2021), and costs at most log(1/weight) against
the best of them. Safety is a mixture of two: that the candidate is like stable, and that it is like its own past, so that a harmless
difference passes too. All alternatives come from earlier windows only.

Harm may begin late, when a bet staked from the first window on is bankrupt. So a bet on harm may be a mixture over the windows in which it
may begin, too: a part of its capital is staked at first, some of the rest before each window (`released`), whatever was lost by then.

Requests of one arm that fail together (autocorrelation, bursts) carry less evidence than their number: the log capital of a window is
divided by the design effect estimated from earlier windows (`dispersion`). Dividing by at least 1 keeps an exact e-value an e-value
(Jensen, given the windows before, which fix the divisor). So does dividing the bet on the candidate's own past further where the window is
much more than that past: a step's first window of ten thousand requests would ruin it on what is a guess still.
"""

# ruff: noqa: FURB136  (max and min are calls, five times the cost of a comparison, and this runs thousands of times a window)

import math
from collections.abc import Sequence
from functools import partial
from operator import add

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision.stats.betting import (
    Sample,
    Thinned,
    log_capital,
    log_capital_against,
    log_capital_of_split,
    log_capital_of_thinned,
)

_SMALL, _MEDIUM, _LARGE = 0.03, 0.15, 0.5
_LOG_WEIGHTS = (math.log(0.4), math.log(0.2), math.log(0.2), math.log(0.2))
COST_OF_MIXING = -_LOG_WEIGHTS[-1]
"""By how many nats a bet on harm must exceed what is wanted, at most, so that the mixture has it."""
_AT_FIRST = 0.75
"""What of its capital a bet on harm that may begin late stakes from a step's first window on."""
_LOG_AT_FIRST = math.log(_AT_FIRST)
COST_OF_PATIENCE = -_LOG_AT_FIRST
"""By how many nats such a bet must exceed what is wanted if harm was there from the beginning."""
_PATIENCE = 10.0
"""Windows in which half of the rest is staked, the other half ever more slowly: harm may begin at any time, and pays by a logarithm."""
_SAFETY_WEIGHTS = (math.log(0.75), math.log(0.25))
_SMALLEST = 1e-4
"""Shares are kept this far from 0 and 1: nothing is known to be impossible."""
_LARGEST = 1.0 - _SMALLEST
_ABANDONED = -30.0
"""A bet on harm that has lost so much would need e**43 to win: no more is staked on it, which any bet is free to do."""


_LEARNED = 10.0
"""A window counts in the bet on the candidate's own past as at most so many times the requests that its share is known from."""
_GUESSED = 10.0
"""Requests that the guess is worth, to which the candidate's own past is pulled while it is short."""
_ROUNDING = 1e-9

_Harm = tuple[float, float, float, float]


class Evidence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Log capital of the harm bets and of the safety bets, with the highest reached of each mixture; all natural logarithms."""

    harm: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    safety: tuple[float, float] = (0.0, 0.0)
    best_harm: float = 0.0
    best_safety: float = 0.0


class Past(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known before a window: totals of both arms so far, stable's including the baseline before the step."""

    candidate_events: float = 0.0
    candidate_total: float = 0.0
    stable_events: float = 0.0
    stable_total: float = 0.0


def weigh(
    evidence: Evidence,
    sample: Sample,
    past: Past,
    margin: float,
    design_effect: float,
    expected: float | None = None,
    proof: bool = True,
    thinned: Thinned | None = None,
) -> Evidence:
    """The evidence after one more window of two arms, about candidate minus stable share against ``margin``.

    ``design_effect`` (>= 1) and ``past`` must come from earlier windows. ``expected`` is the candidate's share where it does no harm
    if that is not stable's share (a shifted latency threshold). Safety is weighed where ``proof`` asks for it. ``thinned`` says how
    successes were sampled, if they were kept more seldom than failures. A window with an empty arm changes nothing.
    """
    if sample.candidate_total <= 0 or sample.stable_total <= 0:
        return evidence
    stable = _share(past.stable_events, past.stable_total)
    # Where stable fails (nearly) always nothing can be worse by the margin, and an alternative would lie on the other side.
    bound = stable + margin
    bet = log_capital if thinned is None else partial(log_capital_of_thinned, thinned=thinned)
    harm = evidence.harm
    if bound < 1.0 and max(harm) > _ABANDONED:
        a, b, c, d = [
            log + bet(sample, stable, alternative, margin) / divisor if log > _ABANDONED and alternative > bound else log
            for log, alternative, divisor in zip(
                harm, _alternatives(bound, past), _divisors(design_effect, sample.candidate_total, past), strict=True
            )
        ]
        harm = a, b, c, d
    well = stable if expected is None else _inside(expected)
    safety = evidence.safety
    if proof and well < bound:
        alike, own = harmless(well, bound, past)
        if margin == 0.0:
            first, second = log_capital_of_split(sample, stable, alike), log_capital_of_split(sample, stable, own)
        else:
            first, second = log_capital(sample, stable, alike, margin), log_capital(sample, stable, own, margin)
        divisor = design_effect if thinned is None else design_effect * thinned.noise(stable)
        safety = safety[0] + first / divisor, safety[1] + second / divisor
    return _record(evidence, harm, safety)


def weigh_against(
    evidence: Evidence,
    events: float,
    total: float,
    past: Past,
    limit: float,
    design_effect: float,
    proof: tuple[float, float] | None = None,
) -> Evidence:
    """As `weigh`, for one arm against fixed shares: harm is a share above ``limit``.

    Where ``proof`` asks for it, safety is one below its first, the floor; its second is the share where there is no harm. For a baseline
    known only within bounds, ``limit`` builds on its upper and the floor on its lower one. An empty window changes nothing.
    """
    if total <= 0:
        return evidence
    limit = _inside(limit)
    harm = evidence.harm
    if max(harm) > _ABANDONED:
        a, b, c, d = [
            log + log_capital_against(events, total, alternative, limit) / divisor if log > _ABANDONED else log
            for log, alternative, divisor in zip(harm, _alternatives(limit, past), _divisors(design_effect, total, past), strict=True)
        ]
        harm = a, b, c, d
    safety = evidence.safety
    if proof is not None and _inside(proof[1]) < _inside(proof[0]):
        floor = _inside(proof[0])
        alike, own = harmless(_inside(proof[1]), floor, past)
        safety = (
            safety[0] + log_capital_against(events, total, alike, floor) / design_effect,
            safety[1] + log_capital_against(events, total, own, floor) / design_effect,
        )
    return _record(evidence, harm, safety)


def weigh_rate(evidence: Evidence, events: float, exposure: float, past: Past, limit: float, design_effect: float) -> Evidence:
    """As `weigh_against` for a Poisson rate per unit of exposure (calls per request): harm is a rate above ``limit`` (positive).

    A rate is bet against in multiples of the limit. No safety is weighed.
    """
    if exposure <= 0:
        return evidence
    guess = (past.candidate_events + _GUESSED * 2.0 * limit) / (past.candidate_total + _GUESSED)
    alternatives = (max(guess, 1.02 * limit), 1.3 * limit, 2.0 * limit, 5.0 * limit)
    a, b, c, d = [
        log + (events * math.log(rate / limit) - exposure * (rate - limit)) / divisor if log > _ABANDONED else log
        for log, rate, divisor in zip(evidence.harm, alternatives, _divisors(design_effect, exposure, past), strict=True)
    ]
    return _record(evidence, (a, b, c, d), evidence.safety)


def weigh_low_rate(evidence: Evidence, events: float, exposure: float, past: Past, limit: float, design_effect: float) -> Evidence:
    """As `weigh_rate` where harm is a rate below ``limit`` (positive): calls that are no longer made."""
    if exposure <= 0:
        return evidence
    guess = (past.candidate_events + _GUESSED * 0.5 * limit) / (past.candidate_total + _GUESSED)
    alternatives = (max(0.01 * limit, min(guess, limit / 1.02)), limit / 1.3, limit / 2.0, limit / 5.0)
    a, b, c, d = [
        log + (events * math.log(rate / limit) - exposure * (rate - limit)) / divisor if log > _ABANDONED else log
        for log, rate, divisor in zip(evidence.harm, alternatives, _divisors(design_effect, exposure, past), strict=True)
    ]
    return _record(evidence, (a, b, c, d), evidence.safety)


def released(evidence: Evidence, windows: int, idle: float = 0.0) -> Evidence:
    """The evidence before a step's next window, after so many: each bet on harm with what is staked from that window on.

    What is staked in all windows adds up to the whole capital, so that the bets stay an e-process. ``idle`` is the log of what capital has
    come to that was not staked yet, where it was not merely kept.
    """
    if windows:
        fresh = math.log((1.0 - _AT_FIRST) * _PATIENCE / ((_PATIENCE + windows - 1.0) * (_PATIENCE + windows))) + idle
        exp, log1p = math.exp, math.log1p
        a, b, c, d = [log + log1p(exp(fresh - log)) if log > fresh else fresh + log1p(exp(log - fresh)) for log in evidence.harm]
    else:
        a, b, c, d = [log + _LOG_AT_FIRST for log in evidence.harm]
    return Evidence((a, b, c, d), evidence.safety, evidence.best_harm, evidence.best_safety)


def at_most(before: Evidence, after: Evidence, nats: float) -> Evidence:
    """The evidence after a window, in which no bet on harm wins more than so many nats: what is left of a bet's win is a bet's still, since
    less is never worth more on average."""
    if all(new - old <= nats for old, new in zip(before.harm, after.harm, strict=True)):
        return after
    a, b, c, d = [new if new - old <= nats else old + nats for old, new in zip(before.harm, after.harm, strict=True)]
    harm = a, b, c, d
    return Evidence(harm, after.safety, max(before.best_harm, _mixture(harm, _LOG_WEIGHTS)), after.best_safety)


def no_safer(evidence: Evidence, other: Evidence) -> Evidence:
    """The evidence with no more capital in a bet on safety than another way to weigh the same windows has."""
    a, b = [min(ours, theirs) for ours, theirs in zip(evidence.safety, other.safety, strict=True)]
    return replace(evidence, safety=(a, b), best_safety=min(evidence.best_safety, other.best_safety))


def shifted(evidence: Evidence, nats: float) -> Evidence:
    """The evidence with so many nats more in each bet on harm; the highest reached is that of these alone."""
    a, b, c, d = evidence.harm
    harm = a + nats, b + nats, c + nats, d + nats
    return Evidence(harm, evidence.safety, _mixture(harm, _LOG_WEIGHTS), evidence.best_safety)


def clipped(evidence: Evidence, most: float) -> Evidence:
    """The evidence with no more than ``most`` nats of capital in a harm bet, so that it is lost as soon as the harm is over.

    Capital that is given away leaves an e-process one: what is left is worth no more than what was.
    """
    a, b, c, d = [min(nats, most) for nats in evidence.harm]
    return replace(evidence, harm=(a, b, c, d))


def carried(evidence: Evidence, part: float) -> Evidence:
    """The evidence that a step begins with after another that asked the same: ``part`` of each bet's capital on harm is what it had come
    to, the rest is fresh, in case harm shows only now. What was said before of no harm proves nothing of this step."""
    a, b, c, d = [math.log1p(part * math.expm1(log)) for log in evidence.harm]
    return Evidence((a, b, c, d))


def log_harm(evidence: Evidence) -> float:
    """The mixture's log e-value for harm beyond the margin, as it stands."""
    return _mixture(evidence.harm, _LOG_WEIGHTS)


def log_safety(evidence: Evidence) -> float:
    """The mixture's log e-value for "within the margin", as it stands."""
    return _mixture(evidence.safety, _SAFETY_WEIGHTS)


def harmless(well: float, bound: float, past: Past, guessed: float = _GUESSED) -> tuple[float, float]:
    """Candidate shares within the bound to bet on: where it does no harm at all, and its own past pulled there as if by ``guessed``
    requests, up to 70% of the way."""
    own = (past.candidate_events + guessed * well) / (past.candidate_total + guessed)
    return well, _inside(min(max(own, well), well + 0.7 * (bound - well)))


def _record(before: Evidence, harm: _Harm, safety: tuple[float, float]) -> Evidence:
    best_harm, best_safety = before.best_harm, before.best_safety
    # A mixture is at most the largest of its parts, give or take a rounding: one below the highest reached need not be added up.
    if max(harm) > best_harm - _ROUNDING:
        best_harm = max(best_harm, _mixture(harm, _LOG_WEIGHTS))
    if safety is not before.safety and max(safety) > best_safety - _ROUNDING:
        best_safety = max(best_safety, _mixture(safety, _SAFETY_WEIGHTS))
    return Evidence(harm, safety, best_harm, best_safety)


def _mixture(logs: Sequence[float], weights: tuple[float, ...]) -> float:
    weighted: list[float] = list(map(add, logs, weights))
    top = max(weighted)
    exp, total = math.exp, 0.0
    for value in weighted:
        total += exp(value - top)
    return top + math.log(total)


def _divisors(design_effect: float, total: float, past: Past) -> tuple[float, float, float, float]:
    """By what each bet on harm divides the log capital of a window of so many requests."""
    learned = _LEARNED * (past.candidate_total + _GUESSED)
    own = design_effect * total / learned if total > learned else design_effect
    return own, design_effect, design_effect, design_effect


def _alternatives(bound: float, past: Past) -> tuple[float, float, float, float]:
    """Candidate shares beyond the bound to bet on: its own past pulled to twice the bound, and fixed parts of the way to 1."""
    room = 1.0 - bound
    twice, half = 2.0 * bound, bound + 0.5 * room
    guess = (past.candidate_events + _GUESSED * (half if half < twice else twice)) / (past.candidate_total + _GUESSED)
    least = bound + 0.01 * room
    return (
        _inside(guess if guess > least else least),
        _inside(bound + _SMALL * room),
        _inside(bound + _MEDIUM * room),
        _inside(bound + _LARGE * room),
    )


def _share(events: float, total: float) -> float:
    return _inside((events + 0.01) / (total + 1.0)) if total > 0 else 0.01


def _inside(share: float) -> float:
    return _SMALLEST if share < _SMALLEST else _LARGEST if share > _LARGEST else share
