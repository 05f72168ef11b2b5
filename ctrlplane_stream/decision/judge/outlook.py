"""How long a proof still takes: candidate requests per proof at stable's shares, and windows at the rate that is seen.

The expected growth of the best bet per request (`stats.betting.growth`) and the wanted capital give the number of requests, as Wald's
approximation for a sequential probability ratio test does (Wald, Sequential Analysis, 1947, 3.5); the overshoot of one window is left out.
"""

import math
from typing import NamedTuple

from ctrlplane_stream.decision.judge.questions import Question, questions
from ctrlplane_stream.decision.judge.state import CheckState, StepState
from ctrlplane_stream.decision.stats.betting import divergence, growth
from ctrlplane_stream.decision.stats.harm import log_safety
from ctrlplane_stream.model.verdicts import Assignment, Comparison, Metric

_LEAST_SHARE = 1e-3
NEVER = math.inf
_NEW = CheckState()


class Outlook(NamedTuple):
    """What the slowest proof needs if the candidate does no harm: candidate requests and windows in all, at the rate so far.

    ``left`` is how many windows are still to come, as the evidence stands. What can be proven is a matter of the traffic alone:
    evidence that speaks against the candidate must not make a proof count as out of reach.
    """

    question: Question
    requests: float
    windows: float
    left: float


def unproven(state: StepState, assignment: Assignment) -> tuple[Question, ...]:
    """The proofs that required guards still owe."""
    level = assignment.policy.false_pass
    return tuple(
        question
        for question in questions(assignment)
        if question.proof and state.checks.get(question.key, _NEW).evidence.best_safety < question.threshold(level)
    )


def slowest(state: StepState, assignment: Assignment) -> Outlook | None:
    """The proof that will take longest, or None where all are had."""
    found = [_outlook(question, state, assignment) for question in unproven(state, assignment)]
    return max(found, key=lambda outlook: outlook.windows, default=None)


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
    wanted = question.threshold(assignment.policy.false_pass)
    per_request = _growth(question, check, assignment) / check.design_effect
    if per_request <= 0:
        return Outlook(question, NEVER, NEVER, NEVER)
    windows_each = state.windows / check.candidate.total / per_request
    return Outlook(question, wanted / per_request, wanted * windows_each, (wanted - log_safety(check.evidence)) * windows_each)


def _growth(question: Question, check: CheckState, assignment: Assignment) -> float:
    if check.bounds is not None:
        expected = max(_LEAST_SHARE / 10, check.bounds.expected)
        return divergence(expected, check.bounds.floor) if expected < check.bounds.floor < 1 else 0.0
    known = check.tail.known if check.tail is not None else check.stable
    stable = max(_LEAST_SHARE, known.events / known.total) if known.total else _LEAST_SHARE
    well = check.tail.expected if check.tail is not None else stable
    margin = assignment.policy.error_margin if question.metric is Metric.ERROR_RATIO else 0.0
    if question.comparison is Comparison.BASELINE or well >= stable + margin:
        return 0.0
    return growth(min(0.999, stable), well, margin, check.stable.total / check.candidate.total)
