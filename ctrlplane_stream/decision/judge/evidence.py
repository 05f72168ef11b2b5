"""The counts of one more window into the evidence of a check: in C where it was compiled (`decision.native`), else by the twins here.

All that weighs comes from earlier windows: the candidate's own past, stable's, and the scatter, which `design_effect` makes of the step's
windows and of those before it (``scatter``).
"""

import math

from msgspec.structs import replace

from ctrlplane_stream.decision.judge.state import CheckState, Counts, EdgeTotals
from ctrlplane_stream.decision.native import compiled
from ctrlplane_stream.decision.stats.betting import Sample, Thinned
from ctrlplane_stream.decision.stats.dispersion import Dispersion, design_effect, residual_of_share, residual_of_shares
from ctrlplane_stream.decision.stats.harm import Evidence, Past, weigh, weigh_against


def two_arms(
    state: CheckState,
    candidate: Counts,
    stable: Counts,
    margin: float,
    prior: Counts,
    scatter: Dispersion,
    expected: float | None,
    proof: bool,
    edges: dict[str, EdgeTotals] | None,
    thinned: Thinned | None,
) -> CheckState:
    """Two shares side by side against a margin. ``prior`` is what was known of stable's before the step; ``edges`` replace those there;
    ``thinned`` says how successes were sampled, if they were kept more seldom than failures."""
    x, m, y, n = candidate.events, candidate.total, stable.events, stable.total
    if m <= 0 or n <= 0:
        return state if edges is None else replace(state, edges=edges)
    c, s = state.candidate, state.stable
    past = Past(c.events, c.total, prior.events + s.events, prior.total + s.total)
    effect = design_effect(state.scatter, scatter)
    evidence = weigh(state.evidence, Sample(x, m, y, n), past, margin, effect, expected, proof, thinned)
    residual = residual_of_shares((x, m), (y, n), (c.events, c.total), (s.events, s.total))
    if thinned is not None:
        residual = quieted(residual, thinned.noise((c.events + s.events + x + y) / (c.total + s.total + m + n)))
    return next_check(state, evidence, candidate, stable, residual, effect, edges=edges)


def one_arm(state: CheckState, candidate: Counts, scatter: Dispersion, proof: bool) -> CheckState:
    """A share against the bounds of the state; unchanged where there are none, or nothing can be above them."""
    bounds = state.bounds
    if bounds is None or candidate.total <= 0 or bounds.limit >= 1.0:
        return state
    c, effect = state.candidate, design_effect(state.scatter, scatter)
    past = Past(c.events, c.total)
    between = (bounds.floor, bounds.expected) if proof else None
    evidence = weigh_against(state.evidence, candidate.events, candidate.total, past, bounds.limit, effect, between)
    residual = residual_of_share(candidate.events, candidate.total, c.events, c.total)
    return next_check(state, evidence, candidate, None, residual, effect)


def two_sided(state: CheckState, candidate: Counts, stable: float, most: float, least: float, scatter: Dispersion) -> CheckState:
    """The candidate's share among all against two fixed shares; ``stable`` are the others among all."""
    c, effect, total = state.candidate, design_effect(state.scatter, scatter), candidate.total
    up = weigh_against(state.evidence, candidate.events, total, Past(c.events, c.total), most, effect)
    missing = Past(c.total - c.events, c.total)
    down = weigh_against(state.opposite or Evidence(), stable, total, missing, 1 - least, effect)
    residual = residual_of_share(candidate.events, total, c.events, c.total)
    return next_check(state, up, candidate, None, residual, effect, opposite=down)


def race(state: CheckState, candidate: Counts, stable: Counts, ratio: float, noise: float, scatter: Dispersion) -> CheckState:
    """Two rates per request (calls, among requests) of which neither may be ``ratio`` times the other: whose call comes next is a matter of
    their requests. ``noise`` is by how much more than calls alone the counts scatter."""
    x, m, y, n = candidate.events, candidate.total, stable.events, stable.total
    effect = design_effect(state.scatter, scatter) * noise
    most, least = m * ratio / (m * ratio + n), m / (m + n * ratio)
    past = _raced(state.candidate, state.stable, m, n)
    up = weigh_against(state.evidence, x, x + y, past, most, effect)
    missing = Past(past.candidate_total - past.candidate_events, past.candidate_total)
    down = weigh_against(state.opposite or Evidence(), y, x + y, missing, 1 - least, effect)
    residual = quieted(_race_residual(state, x, m, y, n), noise)
    return next_check(state, up, candidate, stable, residual, effect, opposite=down)


def _race_residual(state: CheckState, x: float, m: float, y: float, n: float) -> float | None:
    """The standardised change of the difference of two rates against earlier windows."""
    c, s = state.candidate, state.stable
    if min(c.total, s.total) <= 0:
        return None
    ours, theirs = (c.events + x + 0.5) / (c.total + m), (s.events + y + 0.5) / (s.total + n)
    variance = ours * (1 / m + 1 / c.total) + theirs * (1 / n + 1 / s.total)
    return (x / m - y / n - (c.events / c.total - s.events / s.total)) / math.sqrt(variance)


def quieted(residual: float | None, noise: float) -> float | None:
    """A residual in units of the variance that counting alone explains, which the design effect must not count again."""
    return residual if residual is None else residual / math.sqrt(noise)


def _raced(candidate: Counts, stable: Counts, m: float, n: float) -> Past:
    """Earlier calls as if both arms had had requests in this window's proportion, so that their shares can be compared."""
    if candidate.total <= 0 or stable.total <= 0:
        return Past()
    ours, theirs = candidate.events / candidate.total * m, stable.events / stable.total * n
    calls = candidate.events + stable.events
    return Past(calls * ours / (ours + theirs), calls) if ours + theirs > 0 else Past()


def next_check(
    state: CheckState,
    evidence: Evidence,
    candidate: Counts,
    stable: Counts | None,
    residual: float | None,
    effect: float,
    past: Counts | None = None,
    edges: dict[str, EdgeTotals] | None = None,
    opposite: Evidence | None = None,
) -> CheckState:
    """The state with the window's evidence and counts; ``past``, ``edges`` and ``opposite`` replace what is there, if given."""
    known = past or state.stable
    if past is None and stable is not None:
        known = known.plus(stable.events, stable.total)
    return CheckState(
        evidence,
        opposite or state.opposite,
        state.scatter.after(residual),
        state.candidate.plus(candidate.events, candidate.total),
        known,
        state.windows + 1,
        state.tail,
        state.bounds,
        state.edges if edges is None else edges,
        effect,
    )


weigh_two_arms, weigh_one_arm, weigh_two_sided, weigh_race = compiled(two_arms), compiled(one_arm), compiled(two_sided), compiled(race)
