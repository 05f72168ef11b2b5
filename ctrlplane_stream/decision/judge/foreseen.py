"""When a rise of the error share would be found: the judge's own check, played with the counts that are to be expected.

A formula for the growth of a bet leaves out what counts most near the margin: that the bets must learn the candidate's share first, that
a past is known only within bounds (or weighed together with the present, where it is thin), and that counts scatter. So the check itself
is played, with the shares as they are for the length in which half of all cases are found, and with unlucky ones for the length that
suffices in 19 of 20. Unlucky is what a run most probably looks like that ends among the unluckiest twentieth: each side is off in
proportion to its part of the variance (the design point of a first-order reliability method; Hasofer and Lind 1974), and all the way
alike; or the first window is, which a bet that knows nothing of the candidate yet loses most by. Who found the harm before that length,
and would not at its end, is counted among those who did not, so that the promise errs on the safe side.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from ctrlplane_stream.decision.judge.baseline import GENERATION_WINDOWS
from ctrlplane_stream.decision.judge.evidence import weigh_two_arms
from ctrlplane_stream.decision.judge.past_shares import known_by, weigh_as_events
from ctrlplane_stream.decision.judge.questions import log_threshold
from ctrlplane_stream.decision.judge.state import CheckState, Counts
from ctrlplane_stream.decision.stats.dispersion import UNSCATTERED, Dispersion
from ctrlplane_stream.decision.stats.harm import released
from ctrlplane_stream.model.verdicts import Comparison

_UNLUCKY = 1.75
"""Standard deviations that one case in twenty is away, and a little more: a few errors are not normally distributed."""

PAST_WINDOWS = GENERATION_WINDOWS
"""The past of a service that was there is never shorter, and up to twice as long."""

_LOOKS = 300


def _ends() -> Iterator[int]:
    """Where the judge is played to look: after every window at first, later after every 25th part more, which changes little. The last is
    more than a million windows away, which is taken for never."""
    end = 0
    for _ in range(_LOOKS):
        end += max(1, end // 25)
        yield end


_ENDS = tuple(_ends())


class Rise(NamedTuple):
    """Shares of errors of stable and of the candidate, how much of a rise is allowed, and requests of a window at each; none at stable
    where the candidate has them all, so that it is held against the past, which has so many a window as it has."""

    stable: float
    candidate: float
    margin: float
    stable_requests: float
    candidate_requests: float


def expected_windows(rise: Rise, alpha: float) -> float:
    """Windows in which a question that may spend so much of alpha finds a rise in about half of all cases; infinity where it never does."""
    return _found_after(rise, rise, alpha, _scatter(0.0))


def sufficient_windows(rise: Rise, alpha: float) -> float:
    """As `expected_windows`, in 19 of 20 cases. A finding against the past, to which no window adds more than its part, has one to
    spare."""
    past = rise.stable_requests <= 0
    first_alone = _found_after(_unlucky(rise, 1), rise, alpha, _scatter(0.0))
    return max(first_alone, _all_along(rise, alpha, _scatter(_UNLUCKY if past else 0.0))) + past


def _all_along(rise: Rise, alpha: float, scatter: Dispersion) -> float:
    """The first length at whose end those are found that were unlucky all the way to it."""
    low, high = 0, _LOOKS
    while low < high:
        middle = (low + high) // 2
        unlucky = _unlucky(rise, _ENDS[middle])
        low, high = (low, middle) if _found_after(unlucky, unlucky, alpha, scatter) <= _ENDS[middle] else (middle + 1, high)
    return _ENDS[low] if low < _LOOKS else math.inf


def _unlucky(rise: Rise, windows: int) -> Rise:
    ours = rise.candidate * (1 - rise.candidate) / (windows * rise.candidate_requests)
    known = windows * rise.stable_requests or PAST_WINDOWS * rise.candidate_requests
    theirs = rise.stable * (1 - rise.stable) / known
    off = _UNLUCKY / math.sqrt(ours + theirs)
    return rise._replace(candidate=max(0.0, rise.candidate - off * ours), stable=min(1.0, rise.stable + off * theirs))


def _found_after(first: Rise, rise: Rise, alpha: float, scatter: Dispersion) -> float:
    """Windows until the rise is found; the past and the first window are those of ``first``."""
    beside = rise.stable_requests > 0
    wanted = log_threshold(Comparison.VERSIONS if beside else Comparison.BASELINE, alpha)
    past = _counts(first.stable, PAST_WINDOWS * (rise.stable_requests + rise.candidate_requests))
    state = CheckState() if beside else known_by(CheckState(), past, rise.margin, (alpha, alpha), scatter)
    now, begun = first, 0
    for end in _ENDS:
        counts = _counts(now.candidate, (end - begun) * now.candidate_requests)
        if beside:
            stable = _counts(now.stable, (end - begun) * now.stable_requests)
            state = replace(state, evidence=released(state.evidence, state.windows))
            state = weigh_two_arms(state, counts, stable, rise.margin, past, scatter, None, False, None, None)
        else:
            state = weigh_as_events(state, counts, alpha, scatter, False, late=True)
        if state.evidence.best_harm >= wanted:
            return float(end)
        # Counts that are to be expected do not scatter; requests do.
        state, now, begun = replace(state, scatter=UNSCATTERED), rise, end
    return math.inf


def _scatter(luck: float) -> Dispersion:
    """How much requests that fail independently seem to scatter before the step: a standard error more than they do, and as luck has it."""
    return Dispersion(PAST_WINDOWS + (1.0 + luck) * math.sqrt(2.0 * PAST_WINDOWS), 0.0, PAST_WINDOWS)


def _counts(share: float, requests: float) -> Counts:
    return Counts(share * requests, requests)
