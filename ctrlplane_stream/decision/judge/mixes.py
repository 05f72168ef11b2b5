"""Who asked either version of a changed service in a step: unlike callers may ask for other things, and calls on go by what was asked.

Failures and latencies are known of each caller, and stable's are counted in the candidate's proportion of callers. What a version calls is
known of all its requests together. So where the callers of the two versions are surely not in the same proportion, calls per request say
nothing of the versions, and fail no step.
"""

import math

from ctrlplane_stream.decision.judge.arms import arms_by_caller
from ctrlplane_stream.decision.judge.questions import MAX_EDGES
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.decision.judge.state import CheckState, EdgeTotals, StepState, name_of_edge
from ctrlplane_stream.model.verdicts import Assignment

_NEW = CheckState()
_OTHERS = ""
_SURELY = 3.0
"""By how many standard deviations a chi-square must exceed what chance makes of it."""
_LEAST = 0.02
"""Requests of other callers that make no difference: to explain 25% more calls they would have to make 13 times as many as others."""


def mix_key(service: str) -> str:
    """How the callers of a changed service are named in the state."""
    return f"callers|{service}"


def mixes_after(state: StepState, assignment: Assignment, rows: Rows) -> dict[str, CheckState]:
    """The requests of each changed service by version and caller after one more window, of six callers by name."""
    found = {}
    for change in assignment.changed:
        if change.stable is None:
            continue
        ours, theirs = arms_by_caller(rows, change.service, (change.candidate, change.stable))
        key = mix_key(change.service)
        before = state.checks.get(key, _NEW)
        if len(ours) < 2 and not before.windows:
            continue
        names = [name_of_edge(edge) for edge in rows.incoming.get(change.service, ())]
        totals: dict[str, EdgeTotals] = dict(before.edges)
        for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            name = names[place] if len(ours) > 1 and place < len(names) else _OTHERS
            if name not in totals and len(totals) >= MAX_EDGES:
                name = _OTHERS
            _, asked, _, beside = totals.get(name, (0.0, 0.0, 0.0, 0.0))
            totals[name] = (0.0, asked + mine.requests, 0.0, beside + other.requests)
        found[key] = CheckState(edges=totals, windows=before.windows + 1)
    return found


def unlike(service: str, state: StepState) -> bool:
    """Whether the callers of the two versions are surely in other proportions."""
    asked = [(ours, theirs) for _, ours, _, theirs in state.checks.get(mix_key(service), _NEW).edges.values() if ours + theirs > 0]
    ours, theirs = sum(mine for mine, _ in asked), sum(other for _, other in asked)
    if len(asked) < 2 or not ours or not theirs:
        return False
    apart = sum(abs(mine / ours - other / theirs) for mine, other in asked) / 2
    square = sum((mine / ours - other / theirs) ** 2 / (mine + other) for mine, other in asked) * ours * theirs
    freedom = len(asked) - 1
    return apart > _LEAST and square > freedom + _SURELY * math.sqrt(2.0 * freedom)
