"""What a rollout waits for and why it began, worked out when somebody looks: by the engine's own rules, over a draft that is thrown away.

Time is that of the last fact that was decided, as for ``plan``.
"""

from datetime import UTC, datetime

import msgspec

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.admission import obstacle
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.draining import drain, leaving
from ctrlplane_stream.decision.holds import LAST_DATE_MS, stamp
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.runs import is_job
from ctrlplane_stream.decision.state import State

_BY_PEOPLE = frozenset({"revert", "retry"})
"""Causes of rollouts that somebody asked for by a verb of that name."""


def as_of_now(state: State, rollout: e.Rollout) -> e.Rollout:
    """The rollout with ``waiting_for`` as it is now; where it was noted last for phases that every fact looks at."""
    if rollout.phase is Phase.QUEUED:
        found = obstacle(Draft.as_of(state), rollout)
        return msgspec.structs.replace(rollout, waiting_for=found[0] if found is not None else "nothing any more: the next fact begins it")
    if rollout.phase is Phase.DRAINING:
        return msgspec.structs.replace(rollout, waiting_for=_draining(state, rollout) or rollout.waiting_for)
    return rollout


def began_by(state: State, rollout: e.Rollout) -> str:
    """What made it begin, and which attempt it is where it is not the first; with who and why where somebody asked for it."""
    said = f"{rollout.cause} by {asked.who}: {asked.why}" if (asked := _asked(state, rollout)) is not None else rollout.cause
    return f"attempt {rollout.attempt}, {said}" if rollout.attempt > 1 else said


def _asked(state: State, rollout: e.Rollout) -> e.OverrideEntry | None:
    """The override that the rollout began with; None where none did, or it is forgotten."""
    if rollout.cause not in _BY_PEOPLE:
        return None
    index = state.find("index", e.Index) or e.Index()
    kept = [found for id_ in index.overrides if (found := state.find(f"override/{id_}", e.OverrideEntry)) is not None]
    return next((o for o in kept if o.verb == rollout.cause and o.at_ms == rollout.began_ms and rollout.id in o.result), None)


def _draining(state: State, rollout: e.Rollout) -> str | None:
    """What keeps the version that goes, and until when at the earliest and at the latest."""
    if (waits := drain(Draft.as_of(state), rollout)) is None:
        return None
    draft = Draft.as_of(state)  # as it is: what drains now was parked in the other
    until = [said for unit in rollout.units if (said := _until(draft, rollout, unit)) is not None]
    return "; ".join([waits, *until])


def _until(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> str | None:
    label, policy = leaving(rollout, unit), draft.version_set(rollout.id).policy
    zero = draft.target(unit.service).zero_since.get(label) if label is not None else None
    if label is None or zero is None:
        return None
    ran_ms = draft.clock.steady - zero.steady
    latest = draft.clock.now_ms + policy.drain_limit_seconds * 1000 - min(ran_ms, draft.clock.steady - rollout.phase_since_steady)
    if is_job(draft.version_set(rollout.id), unit.service):
        return f"at the latest at {time_of_day(latest)}"
    arrivals = draft.find(f"arrivals/{unit.service}", e.ArrivalsEntry)
    last = arrivals.last_met.get(label) if arrivals is not None else None
    quiet = max(draft.clock.now_ms - ran_ms, (last or 0) * 1000)
    met = f"it last met a request before {time_of_day(last * 1000)}; " if last is not None else ""
    earliest = quiet + policy.drain_seconds * 1000
    if earliest <= draft.clock.now_ms:
        return None
    told = f"; if requests still come at {time_of_day(latest)}, people are told" if latest > draft.clock.now_ms else ""
    return f"{met}it goes at {time_of_day(earliest)} at the earliest{told}"


def time_of_day(ms: float) -> str:
    """Hours, minutes and seconds in UTC; in words where no calendar has the time."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S") if ms <= LAST_DATE_MS else stamp(int(ms))
