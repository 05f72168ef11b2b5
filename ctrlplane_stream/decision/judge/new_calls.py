"""Calls that only the candidate makes, and that fail.

A new call is a new feature and no harm, and whom it calls is no guard: there is nothing of stable's to hold its failures against, neither
beside the candidate nor before it. But a database that the candidate alone cannot reach, or an address that was set wrongly, is no feature
either, though the requests themselves may not fail for it. So of such an edge it is asked whether more of its calls fail than the margin
allows at all. It never fails a step, since failing may be what such calls do (a lookup that finds nothing); nor does the step pass.
"""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from ctrlplane_stream.decision.judge.past_shares import weigh_as_events
from ctrlplane_stream.decision.judge.questions import MAX_EDGES
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.decision.judge.state import Bounds, CheckState, Counts, Seen, StepState, edge_named, name_of_edge, past_of
from ctrlplane_stream.decision.stats.dispersion import UNSCATTERED
from ctrlplane_stream.decision.stats.harm import log_harm
from ctrlplane_stream.model.identity import EdgeKey
from ctrlplane_stream.model.verdicts import Assignment, Change
from ctrlplane_stream.model.windows import EdgeWindow

_NEW = CheckState()
_SURELY = 7.0
"""Calls due without one being made: e**-7 by chance."""


class NewCall(NamedTuple):
    """An edge of a candidate that stable does not have, and what is known of how its calls end."""

    change: Change
    edge: EdgeKey
    check: CheckState


def new_calls_after(state: StepState, assignment: Assignment, rows: Rows) -> dict[str, CheckState]:
    """The checks after one more window, by name, of at most six edges of each changed service along which calls failed."""
    found: dict[str, CheckState] = {}
    for change in assignment.changed:
        if change.stable is None:
            continue
        past = past_of(state, (change.service,))
        asked = {key: check for key, check in state.checks.items() if key.startswith(_prefix(change))}
        for edge in rows.outgoing.get(change.service, ()):
            key, (ours, theirs) = f"{_prefix(change)}{name_of_edge(edge)}", _made(rows, edge, change)
            known = asked.get(key)
            if known is None and (not ours.events or theirs.total or name_of_edge(edge) in past.calls or len(asked) >= MAX_EDGES):
                continue
            found[key] = asked[key] = _after(known or _NEW, ours, theirs, assignment)
    return found


def new_calls(state: StepState, assignment: Assignment) -> Iterator[NewCall]:
    """The edges that stable does not have, of those along which calls failed: it made none where as many requests of its own as are known,
    beside the candidate and before, would have brought some if it called as often."""
    for change in assignment.changed:
        for key, check in state.checks.items():
            if key.startswith(_prefix(change)) and not check.stable.total and _due(state, change, check) >= _SURELY:
                yield NewCall(change, edge_named(key.removeprefix(_prefix(change))), check)


def failing(call: NewCall, threshold: float) -> bool:
    """Whether more of the calls fail than the margin allows, as it stands: at a log e-value of ``threshold``."""
    return log_harm(call.check.evidence) >= threshold


def _due(state: StepState, change: Change, check: CheckState) -> float:
    """How many calls stable would have made if it made as many per request as the candidate."""
    seen = state.seen.get(change.service, Seen())
    return check.candidate.total / max(1.0, seen.candidate) * (past_of(state, (change.service,)).requests + seen.stable)


def _prefix(change: Change) -> str:
    return f"new|{change.service}|"


def _after(known: CheckState, ours: Counts, theirs: Counts, assignment: Assignment) -> CheckState:
    margin = assignment.policy.error_margin
    bounded = known if known.bounds is not None else replace(known, bounds=Bounds(0.0, 0.0, margin))
    after = weigh_as_events(bounded, ours, assignment.policy.alpha, UNSCATTERED, False, late=True)
    return replace(after, stable=known.stable.plus(theirs.events, theirs.total))


def _made(rows: Rows, edge: EdgeKey, change: Change) -> tuple[Counts, Counts]:
    """Failed and all calls along an edge in this window, of the candidate and of other versions; as many as one failure stands for."""
    ours: list[EdgeWindow] = []
    theirs: list[EdgeWindow] = []
    for row in rows.edges[edge]:
        (ours if row.caller_version == change.candidate else theirs).append(row)
    counted = []
    for side in (ours, theirs):
        errors, calls = sum(row.errors for row in side), sum(row.calls for row in side)
        failed, made = sum(max(row.errors, row.estimated_errors) for row in side), sum(max(row.calls, row.estimated_calls) for row in side)
        each = failed / errors if errors else made / calls if calls else 1.0
        counted.append(Counts(float(errors), max(float(errors), made / max(1.0, each))))
    return counted[0], counted[1]
