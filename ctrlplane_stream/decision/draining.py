"""When nobody talks to a version any more, and parking it then.

A version is drained when its weight is confirmed 0, the windows since then have closed, and no request has arrived at it for the
drain time. No time ends that while requests arrive, however few: whoever sends them goes past the route, and would be cut off. Beyond
the drain limit, which counts from when it was to go, people are told, and one of them may say that it goes all the same.

The limit ends what else is waited for: windows that do not close, since telemetry stands still; an old version that is kept while not
every instance of the new one is ready; runs of a job that are under way, which is all that keeps a version of one.
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
    because = _why_it_goes(draft, rollout, unit, label)
    retention = int(draft.version_set(rollout.id).policy.retention_seconds * 1000)
    draft.put_target(with_version(target, e.LiveVersion(label, Capacity.PARKED, 0, draft.clock.steady + retention)))
    draft.tell(unit.service, Telling(Verb.PARK, because, rollout.id))
    return f"{unit.service} {label} is being parked"


def _undrained(draft: Draft, rollout: e.Rollout, unit: e.Unit, label: str) -> str | None:
    """Why the version may not be parked yet, or None."""
    if rollout.forced_unsafe:
        return None
    if not rollout.promoted and not at_zero(draft, unit):
        return f"{unit.service} {label} is not confirmed at weight 0"
    if _never_served(draft, rollout, unit):
        return None
    if not is_shown(draft, draft.target(unit.service)):
        return f"{unit.service} {label} is not confirmed at weight 0"
    return _still_met(draft, rollout, unit.service, label, rollout.phase_since_steady)


def _never_served(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> bool:
    """Whether what goes is a candidate that nobody gave any weight: whatever arrives there are health checks."""
    return not rollout.promoted and not unit.weighted and not takes_requests(draft.target(unit.service), unit.candidate)


def _why_it_goes(draft: Draft, rollout: e.Rollout, unit: e.Unit, label: str) -> str:
    """That a version has drained; where it goes without having been seen to, that is said in the log besides."""
    if _never_served(draft, rollout, unit):
        return f"{label} has drained"
    undrained = _still_met(draft, rollout, unit.service, label, draft.clock.steady)
    if undrained is None:
        return f"{label} has drained"
    how = "as it was forced, and unsafe" if rollout.forced_unsafe else "at its drain limit"
    draft.because("undrained", f"{unit.service} {label} goes {how}: {undrained}", rollout.id)
    return f"{label} goes {how}"


def _still_met(draft: Draft, rollout: e.Rollout, service: str, label: str, since: int) -> str | None:
    chosen = draft.version_set(rollout.id)
    if (why := _meets(draft, service, label, chosen.policy, since, job=is_job(chosen, service))) is not None:
        return why
    if is_job(chosen, service) or _is_late(draft, service, label, chosen.policy, since):
        return None
    return _not_whole(draft, rollout, service, label)


def meets_at_rest(draft: Draft, service: str, label: str) -> str | None:
    """Why a version that nothing moves any more, and that a hand had serve, may not be parked again yet, or None."""
    return _meets(draft, service, label, draft.policy(service), 0, job=kind_of(draft, service) is ServiceKind.JOB)


def _meets(draft: Draft, service: str, label: str, policy: Policy, since: int, *, job: bool) -> str | None:
    """How a version that is to go ``since`` then (steady, in ms) still meets requests, or may, or None."""
    target = draft.target(service)
    zero, late = target.zero_since.get(label), _is_late(draft, service, label, policy, since)
    if zero is None:
        return f"{service} {label} was not yet seen at weight 0" if target.seen(label) is not None else None
    if job:
        under_way = still_running(target, label)
        return f"{service} {label}: {under_way} runs are under way" if under_way and not late else None
    arrivals, seconds = draft.find(f"arrivals/{service}", e.ArrivalsEntry), draft.clock.seconds_since(zero.steady)
    if seconds < policy.drain_seconds or arrivals is None:
        unseen = ", and nothing is seen of it" if arrivals is None and seconds >= policy.drain_seconds else ""
        return None if late else f"{service} {label} drains ({seconds:.0f} of {policy.drain_seconds:.0f} s){unseen}"
    closed_until, last = arrivals.window + arrivals.window_seconds, arrivals.last_met.get(label, 0)
    seen_whole = closed_until >= zero.ms / 1000 + policy.drain_seconds
    met_since = seen_whole or last - arrivals.window_seconds >= zero.ms / 1000
    if last > closed_until - policy.drain_seconds and met_since:
        return f"{service} {label} {_how_met(arrivals, label, closed_until - last)}"
    if not seen_whole and not late:
        return f"{service} {label} drains: the windows of its drain time have not closed yet"
    return None


def _is_late(draft: Draft, service: str, label: str, policy: Policy, since: int) -> bool:
    """Whether a version that is to go ``since`` then (steady, in ms), and has no weight, has been waited for beyond the drain limit."""
    zero = draft.target(service).zero_since.get(label)
    return zero is not None and draft.clock.seconds_since(max(zero.steady, since)) >= policy.drain_limit_seconds


def _how_met(arrivals: e.ArrivalsEntry, label: str, ago: float) -> str:
    """How many requests a version met at weight 0, in the last window that closed or how long before its end."""
    if (count := arrivals.counts.get(label, 0)) == 0:
        return f"still met requests at weight 0, {ago:.0f} s before the last closed window's end"
    total = sum(arrivals.counts.values())
    return f"still meets requests at weight 0: {count} of {total} in the last {arrivals.window_seconds:g} s that were seen"


def _not_whole(draft: Draft, rollout: e.Rollout, service: str, label: str) -> str | None:
    """That the new version has lost readiness, so that the old one, which could take all back at once, is kept up to the drain limit."""
    seen = draft.target(service).seen(rollout.unit(service).candidate)
    if not rollout.promoted or seen is None or seen.ready >= seen.instances:
        return None
    return f"{service} {label} has drained and is kept, since of {seen.label} {seen.ready} of {seen.instances} instances are ready"


def overdue(draft: Draft, rollout: e.Rollout) -> str | None:
    """That what should go still meets requests beyond the drain limit, which no time ends, and what ends it; or None."""
    policy = draft.version_set(rollout.id).policy
    for unit in rollout.units if not rollout.forced_unsafe else ():
        label = leaving(rollout, unit)
        live = draft.target(unit.service).wanted(label) if label is not None and owns(draft, rollout, unit) else None
        if label is None or live is None or live.capacity is Capacity.PARKED or _never_served(draft, rollout, unit):
            continue
        since = rollout.phase_since_steady
        late = _is_late(draft, unit.service, label, policy, since)
        if late and (why := _still_met(draft, rollout, unit.service, label, since)) is not None:
            back = f", abort returns to {label}" if rollout.promoted else ""
            return (
                f"{why}. Whoever sends them goes past the route; it is kept until none came for {policy.drain_seconds:g} s"
                f"{back}, and force --unsafe has it go under them"
            )
    return None
