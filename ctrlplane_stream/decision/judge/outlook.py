"""How long a proof still takes: candidate requests per proof at stable's shares, and windows at the rate that is seen.

The expected growth of the best bet per request (`stats.betting.growth`) and the wanted capital give the number of requests, as Wald's
approximation for a sequential probability ratio test does (Wald, Sequential Analysis, 1947, 3.5); the overshoot of one window is left out.
"""

import math
from typing import NamedTuple

from ctrlplane_stream.decision.judge.questions import Question, questions
from ctrlplane_stream.decision.judge.state import CheckState, StepState
from ctrlplane_stream.decision.stats.betting import divergence, growth
from ctrlplane_stream.decision.stats.harm import Past, harmless, log_safety
from ctrlplane_stream.model.verdicts import Assignment, Comparison, Metric

_LEAST_SHARE = 1e-3
NEVER = math.inf
_NEW = CheckState()


class Outlook(NamedTuple):
    """What a proof needs if the candidate does no harm: candidate requests and windows in all, at the rate so far.

    What can be proven is a matter of the traffic alone: evidence that speaks against the candidate must not make a proof count as out of
    reach. ``left`` is how many windows are still to come, as the evidence stands and if the candidate goes on as it did; ``withheld``
    whether evidence speaks as loudly against the proof as it must speak for it, which for a candidate that does no harm at all happens
    by the chance `false_pass` only (the inverse of a likelihood ratio is one, the other way round).
    """

    question: Question
    requests: float
    windows: float
    left: float
    withheld: bool = False


def unproven(state: StepState, assignment: Assignment) -> tuple[Question, ...]:
    """The proofs that required guards still owe."""
    level = assignment.policy.false_pass
    return tuple(
        question
        for question in questions(assignment)
        if question.proof and state.checks.get(question.key, _NEW).evidence.best_safety < question.threshold(level)
    )


def outlooks(state: StepState, assignment: Assignment) -> tuple[Outlook, ...]:
    """Those of all proofs that are still owed."""
    return tuple(_outlook(question, state, assignment) for question in unproven(state, assignment))


def slowest(owed: tuple[Outlook, ...]) -> Outlook | None:
    """The proof that takes longest with this traffic, whatever the evidence says so far; None where all are had."""
    return max(owed, key=lambda outlook: outlook.windows, default=None)


def last(owed: tuple[Outlook, ...]) -> Outlook | None:
    """The proof that will be had last, as the evidence stands; None where all are had."""
    return max(owed, key=lambda outlook: outlook.left, default=None)


def requests_needed(stable: float, well: float, margin: float, ratio: float, false_pass: float) -> float:
    """Candidate requests that prove a share within its margin of ``stable``, with ``ratio`` stable requests to each; NEVER if none can.

    ``well`` is the candidate's share if it does no harm.
    """
    if well >= stable + margin or ratio <= 0:
        return NEVER
    per_request = growth(stable, well, margin, ratio)
    return -math.log(false_pass) / per_request if per_request > 0 else NEVER


def _outlook(question: Question, state: StepState, assignment: Assignment) -> Outlook:
    check = state.checks.get(question.key, _NEW)
    if check.windows == 0 or check.candidate.total <= 0:
        return Outlook(question, NEVER, NEVER, NEVER)
    wanted, standing = question.threshold(assignment.policy.false_pass), log_safety(check.evidence)
    per_request = _growth(question, check, assignment) / check.design_effect
    if per_request <= 0:
        return Outlook(question, NEVER, NEVER, NEVER)
    requests, each = wanted / per_request, max(1, state.sent) / check.candidate.total
    as_it_is = _growth(question, check, assignment, requests) / check.design_effect
    return Outlook(question, requests, requests * each, (wanted - standing) / as_it_is * each, standing <= -wanted)


def _growth(question: Question, check: CheckState, assignment: Assignment, guessed: float = NEVER) -> float:
    """Expected log capital per request of a candidate that does no harm; or whose share is what it was so far, ``guessed`` requests of one
    that does no harm taken together with those that came: as many as a proof takes make a guess that is right at the median, drawn."""
    if check.bounds is not None:
        expected, floor = max(_LEAST_SHARE / 10, check.bounds.expected), check.bounds.floor
        return divergence(_likely(expected, floor, check, guessed), floor) if expected < floor < 1 else 0.0
    known = check.tail.known if check.tail is not None else check.stable
    stable = max(_LEAST_SHARE, known.events / known.total) if known.total else _LEAST_SHARE
    well = check.tail.expected if check.tail is not None else stable
    margin = assignment.policy.error_margin if question.metric is Metric.ERROR_RATIO else 0.0
    if question.comparison is Comparison.BASELINE or well >= stable + margin:
        return 0.0
    likely = _likely(well, stable + margin, check, guessed)
    return growth(min(0.999, stable), likely, margin, check.stable.total / check.candidate.total)


def _likely(well: float, bound: float, check: CheckState, guessed: float) -> float:
    if math.isinf(guessed):
        return well
    return harmless(well, bound, Past(check.candidate.events, check.candidate.total), guessed)[1]
