"""A share held against what it was before the rollout: by bounds of the past where it is long, together with it where it is thin."""

from msgspec.structs import replace

from ctrlplane_stream.decision.judge.evidence import weigh_one_arm
from ctrlplane_stream.decision.judge.questions import log_threshold
from ctrlplane_stream.decision.judge.state import Bounds, CheckState, Counts, Joint
from ctrlplane_stream.decision.stats.betting import log_capital_against
from ctrlplane_stream.decision.stats.dispersion import Dispersion, design_effect
from ctrlplane_stream.decision.stats.harm import COST_OF_MIXING, COST_OF_PATIENCE, at_most, released, shifted
from ctrlplane_stream.decision.stats.intervals import lower_share, upper_share
from ctrlplane_stream.decision.stats.thin_past import MOST_TRIALS, correction
from ctrlplane_stream.model.verdicts import Comparison

WINDOWS_OF_HARM = 3
"""In how many windows a comparison with the past of failures or latencies finds harm, at the least."""

Levels = tuple[float, float]
"""What the bounds of a past may leave out: on the side of harm, of which they spend half, and on that of proof."""


def known_by(state: CheckState, past: Counts, margin: float, levels: Levels, scatter: Dispersion) -> CheckState:
    """The check with what is known of its past, once; scatter between windows shrinks it."""
    if state.bounds is not None or past.total <= 0:
        return state
    alpha, false_pass = levels
    shrink = design_effect(scatter)
    events, total = past.events / shrink, past.total / shrink
    expected = (past.events + 0.1) / (past.total + 1.0)
    low = lower_share(events, total, false_pass / 2) + margin
    if past.total < MOST_TRIALS:
        return replace(state, bounds=Bounds(low, expected, expected + margin), stable=past, joint=Joint())
    return replace(state, bounds=Bounds(low, expected, upper_share(events, total, alpha / 2) + margin), stable=past)


def restaked(state: CheckState, counts: Counts) -> CheckState:
    """The check before one more window of these counts, with what its bets on harm stake from there on.

    What was not staked yet is kept; but against a thin past, whose correction takes the likeliest share for granted, it bets on the
    expected one.
    """
    joint, bounds = state.joint, state.bounds
    if counts.total <= 0 or bounds is None or bounds.limit >= 1.0:
        return state
    idle = 0.0
    if joint is not None:
        idle = log_capital_against(joint.events, joint.total, bounds.expected, bounds.limit) + joint.correction
    return replace(state, evidence=released(state.evidence, state.windows, idle))


def weigh_against_past(state: CheckState, counts: Counts, scatter: Dispersion, proof: bool) -> CheckState:
    """The check after one more window of these counts."""
    joint, bounds = state.joint, state.bounds
    if joint is None or bounds is None:
        return weigh_one_arm(state, counts, scatter, proof)
    if counts.total <= 0 or bounds.limit >= 1.0:
        return state
    apart = replace(state, evidence=shifted(state.evidence, -joint.correction))
    after = weigh_one_arm(apart, counts, scatter, proof)
    effect = after.design_effect
    now = joint.events + counts.events / effect, joint.total + counts.total / effect
    past = state.stable.events, state.stable.total
    added = correction(past, now, bounds.limit - bounds.expected, bounds.limit, design_effect(scatter))
    evidence = shifted(after.evidence, added)
    return replace(after, evidence=replace(evidence, best_harm=max(state.evidence.best_harm, evidence.best_harm)), joint=Joint(*now, added))


def weigh_as_events(state: CheckState, counts: Counts, alpha: float, scatter: Dispersion, proof: bool, late: bool) -> CheckState:
    """As `weigh_against_past`, no window worth more than its part of a finding: what a machine does to one window, it does to all
    requests of it at once, and that is one event however many they are. ``late`` says whether harm may begin in any window."""
    most = (log_threshold(Comparison.BASELINE, alpha) + COST_OF_MIXING + (COST_OF_PATIENCE if late else 0.0)) / WINDOWS_OF_HARM
    if late:
        state = restaked(state, counts)
    after = weigh_against_past(state, counts, scatter, proof)
    evidence = at_most(state.evidence, after.evidence, most)
    return after if evidence is after.evidence else replace(after, evidence=evidence)
