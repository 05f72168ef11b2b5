"""When nobody talks to a version any more, and parking it then.

A version is drained when its weight is confirmed 0, the windows since then have closed, and no request has arrived at it for the
drain time; or when the upper limit has passed, since a stray long poll must not keep a version for ever. Until then an old version is
kept, too, while not every instance of the new one is ready. Telemetry that says that real
traffic still arrives holds even so: then the weight was not what the world said. A version of a job is drained when none of its runs is
under way, or at the same limit.
"""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft, Telling
from ctrlplane_stream.decision.falling import at_zero, owns
from ctrlplane_stream.decision.runs import is_job, still_running
from ctrlplane_stream.decision.targets import is_shown, kind_of, takes_requests, with_version
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.model.world import Capacity

STRAY_SHARE = 0.05
"""Above this share of a target's arrivals a version still takes real traffic, and the drain limit does not end its drain."""


def drain(draft: Draft, rollout: e.Rollout) -> str | None:
    """Park every version that has drained; what is still waited for, or None when all are parked and confirmed."""
    waits = [wait for unit in rollout.units if (wait := _drain_unit(draft, rollout, unit)) is not None]
    return "; ".join(waits) or None


def leaving(rollout: e.Rollout, unit: e.Unit) -> str | None:
    """The version that goes: the old one after a promotion, else the candidate; None where nothing was stable before."""
    return unit.stable if rollout.promoted else unit.candidate


def _drain_unit(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> str | None:
    label = leaving(rollout, unit)
    target = draft.target(unit.service)
    live = target.wanted(label) if label is not None else None
    if label is None and owns(draft, rollout, unit) and (unit.service in draft.telling or target.in_flight is not None):
        return f"{unit.service} is being told that {unit.candidate} is stable"
    if label is None or live is None or not owns(draft, rollout, unit):
        return None
    if live.capacity is Capacity.PARKED:
        if unit.service in draft.telling or target.in_flight is not None:
            return f"{unit.service} {label} is being parked"
        seen = target.seen(label)
        given = seen is not None and seen.weight > 0 and not rollout.forced_unsafe
        return f"{unit.service} {label} was parked, and is given traffic again by somebody else" if given else None
    if (wait := _undrained(draft, rollout, unit, label)) is not None:
        return wait
    if any(hold.sticky for hold in rollout.holds):
        return f"{unit.service} {label} has drained and is kept while the rollout is held"
    retention = int(draft.version_set(rollout.id).policy.retention_seconds * 1000)
    draft.put_target(with_version(target, e.LiveVersion(label, Capacity.PARKED, 0, draft.clock.steady + retention)))
    draft.tell(unit.service, Telling(Verb.PARK, f"{label} has drained", rollout.id))
    return f"{unit.service} {label} is being parked"


def _undrained(draft: Draft, rollout: e.Rollout, unit: e.Unit, label: str) -> str | None:
    """Why the version may not be parked yet, or None."""
    if rollout.forced_unsafe:
        return None
    if not rollout.promoted:
        if not at_zero(draft, unit):
            return f"{unit.service} {label} is not confirmed at weight 0"
        if not unit.weighted and not takes_requests(draft.target(unit.service), label):
            return None
    if not is_shown(draft, draft.target(unit.service)):
        return f"{unit.service} {label} is not confirmed at weight 0"
    return _still_met(draft, rollout, unit.service, label)


def _still_met(draft: Draft, rollout: e.Rollout, service: str, label: str) -> str | None:
    chosen, zero = draft.version_set(rollout.id), draft.target(service).zero_since.get(label)
    if (why := _meets(draft, service, label, chosen.policy, job=is_job(chosen, service))) is not None:
        return why
    if is_job(chosen, service) or zero is None or draft.clock.seconds_since(zero.steady) >= chosen.policy.drain_limit_seconds:
        return None
    return _not_whole(draft, rollout, service, label)


def meets_at_rest(draft: Draft, service: str, label: str) -> str | None:
    """Why a version that nothing moves any more, and that a hand had serve, may not be parked again yet, or None."""
    return _meets(draft, service, label, draft.policy(service), job=kind_of(draft, service) is ServiceKind.JOB)


def _meets(draft: Draft, service: str, label: str, policy: Policy, *, job: bool) -> str | None:
    """How a version still meets requests, or may, or None."""
    zero = draft.target(service).zero_since.get(label)
    if zero is None:
        return f"{service} {label} was not yet seen at weight 0" if draft.target(service).seen(label) is not None else None
    seconds = draft.clock.seconds_since(zero.steady)
    if job:
        under_way = still_running(draft.target(service), label)
        return f"{service} {label}: {under_way} runs are under way" if under_way and seconds < policy.drain_limit_seconds else None
    arrivals = draft.find(f"arrivals/{service}", e.ArrivalsEntry)
    if seconds >= policy.drain_limit_seconds:
        share = _share(arrivals, label, zero)
        return f"{service} {label} still takes {share:.0%} of the requests at weight 0" if share > STRAY_SHARE else None
    if seconds < policy.drain_seconds or arrivals is None:
        return f"{service} {label} drains ({seconds:.0f} of {policy.drain_seconds:.0f} s)"
    closed_until = arrivals.window + arrivals.window_seconds
    if closed_until < zero.ms / 1000 + policy.drain_seconds:
        return f"{service} {label} drains: the windows of its drain time have not closed yet"
    last = arrivals.last_met.get(label, 0)
    if last > closed_until - policy.drain_seconds:
        return f"{service} {label} still met requests {closed_until - last:.0f} s before the last closed window's end"
    return None


def _not_whole(draft: Draft, rollout: e.Rollout, service: str, label: str) -> str | None:
    """That the new version has lost readiness, so that the old one, which could take all back at once, is kept up to the drain limit."""
    seen = draft.target(service).seen(rollout.unit(service).candidate)
    if not rollout.promoted or seen is None or seen.ready >= seen.instances:
        return None
    return f"{service} {label} has drained and is kept, since of {seen.label} {seen.ready} of {seen.instances} instances are ready"


def overdue(draft: Draft, rollout: e.Rollout) -> str | None:
    """That what should go takes real traffic beyond the drain limit, which no time ends: then the weights are not what the world does."""
    limit = draft.version_set(rollout.id).policy.drain_limit_seconds * 1000
    for unit in rollout.units if not rollout.forced_unsafe else ():
        label = leaving(rollout, unit)
        zero = draft.target(unit.service).zero_since.get(label) if label is not None and owns(draft, rollout, unit) else None
        late = zero is not None and draft.clock.steady - zero.steady >= limit
        if label is not None and late and (why := _still_met(draft, rollout, unit.service, label)) is not None:
            return why
    return None


def _share(arrivals: e.ArrivalsEntry | None, label: str, zero: e.ZeroSince) -> float:
    """Its share of what arrived since it is at weight 0, as far as that was seen: what was counted before says nothing of it."""
    if arrivals is None or arrivals.window < zero.ms / 1000:
        return 0.0
    total = sum(arrivals.counts.values())
    return arrivals.counts.get(label, 0) / total if total else 0.0
