"""Targets that do not do what is wanted: told again, and named with what is where, so that nothing is forgotten."""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft, Telling
from ctrlplane_stream.decision.falling import back_after_glass, serves
from ctrlplane_stream.decision.phases import ABORTING, LEAVING, MOVING
from ctrlplane_stream.decision.targets import (
    exchanges,
    goes_on,
    is_as_left,
    is_shown,
    takes_requests,
    tell_again,
    was_refused,
    with_version,
)
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.model.world import PARKED, Capacity, ObservedVersion

RETRY_SECONDS = 30
"""How long after trouble a target is told again; the actuator has retried by itself before it reports trouble. So long, too, what steers
the traffic has to take a weight before its word that it does not is trouble."""


def watch_targets(draft: Draft, rollout: e.Rollout) -> e.Rollout:
    """The rollout with the exact list of targets that do not act, each told again when it is time."""
    if rollout.phase not in MOVING:
        return replace(rollout, stuck=()) if rollout.stuck else rollout
    found: list[str] = []
    for unit in rollout.units:
        _as_left_again(draft, rollout, unit)
        if (text := _trouble(draft, rollout, unit)) is not None:
            found.append(text)
    return replace(rollout, stuck=tuple(found)) if found or rollout.stuck else rollout


def _trouble(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> str | None:
    target = draft.target(unit.service)
    if target.rollout != rollout.id:
        return None  # what only queued has no word in what is told
    if target.in_hand is None and (again := _parked_in_use(rollout, target, unit)) is not None:
        return _drained_anew(draft, unit, rollout.id, again)
    if unit.service in draft.telling:
        return None
    flight = target.in_flight
    dead = _nowhere_to_go(target, unit) if rollout.phase is ABORTING and not exchanges(draft, target) else None
    if dead is not None and not _did_not_come_back(draft, rollout, target):
        return f"{_whereabouts(target)}: {dead}"
    if target.in_hand is not None or (rollout.phase is LEAVING and was_refused(target)):
        return None  # people have it in their hands, or the answer is all that was waited for
    if flight is None:
        _restore(draft, target)
        return None
    back_after_glass(draft, rollout, unit)
    if unit.service in draft.telling:
        return None
    seconds = draft.clock.seconds_since(flight.issued_steady)
    ignored = target.not_in_force if seconds > RETRY_SECONDS else None
    why = flight.trouble or ignored or silence(draft, target, _policy(draft, rollout))
    if why is None:
        return f"{_whereabouts(target)}: told again (try {flight.tries})" if flight.tries > 1 else None
    if flight.trouble is None or seconds > RETRY_SECONDS:
        draft.put_target(replace(target, in_flight=replace(flight, trouble=why)))
        _once_more(draft, rollout, unit, f"try {flight.tries + 1}: {why}")
    return f"{_whereabouts(target)}: {why}"


def _did_not_come_back(draft: Draft, rollout: e.Rollout, target: e.TargetEntry) -> bool:
    """Whether what was asked to come back failed to, or never answered, so that it is to be asked again."""
    flight = target.in_flight
    if flight is None or flight.verb != Verb.PREPARE:
        return False
    return flight.trouble is not None or silence(draft, target, _policy(draft, rollout)) is not None


def _parked_in_use(rollout: e.Rollout, target: e.TargetEntry, unit: e.Unit) -> str | None:
    """The version that is being parked and was given traffic by a hand, or None."""
    if rollout.forced_unsafe:
        return None
    for v in target.live:
        if v.capacity is PARKED and v.label in (unit.candidate, unit.stable) and takes_requests(target, v.label):
            return v.label
    return None


def _drained_anew(draft: Draft, unit: e.Unit, rollout: str, label: str) -> str:
    """Keep a version that takes requests again, and take its traffic first."""
    target = draft.target(unit.service)
    draft.put_target(with_version(target, e.LiveVersion(label, Capacity.FULL, 0)))
    draft.tell(unit.service, Telling(Verb.SHIFT, f"{label} takes requests again, and drains anew", rollout))
    return f"{_whereabouts(target)}: {label} takes requests again, and drains anew"


def _as_left_again(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> None:
    """Go on with a target that strayed once it shows what is wanted by now: it is told that, which may have been withheld meanwhile."""
    target = draft.target(unit.service)
    if target.strayed is not None and target.rollout == rollout.id and is_as_left(draft, target):
        draft.put_target(replace(target, strayed=None))
        draft.because("as-left", f"{unit.service} is as it was left again", rollout.id)
        tell_again(draft, draft.target(unit.service), "it shows what is wanted again")


def _once_more(draft: Draft, rollout: e.Rollout, unit: e.Unit, because: str) -> None:
    target = draft.target(unit.service)
    if target.in_flight is not None and target.in_flight.stays:
        draft.tell(unit.service, Telling(Verb.SHIFT, because, rollout.id))
    else:
        tell_again(draft, target, because, renews=True)


def _policy(draft: Draft, rollout: e.Rollout) -> Policy:
    return draft.version_set(rollout.id).policy


def silence(draft: Draft, target: e.TargetEntry, policy: Policy) -> str | None:
    """That the last command was not seen to be done for longer than the policy allows, or None.

    An exchange in place goes on for as long as its instances take, one after another: each has the time to become ready.
    """
    flight = target.in_flight
    if flight is None:
        return None
    if goes_on(draft, target):
        still = draft.clock.seconds_since(target.moved_steady)
        did = "exchanged" if exchanges(draft, target) else "started"
        late = still > max(policy.lost_actuator_seconds, policy.ready_timeout_seconds)
        return f"no instance was {did} for {still:.0f} s" if late else None
    seconds = draft.clock.seconds_since(flight.issued_steady)
    if seconds <= policy.lost_actuator_seconds:
        return None
    return f"its actuator {'says that it is applied, which did not show' if flight.answered else 'has not answered'} for {seconds:.0f} s"


def _restore(draft: Draft, target: e.TargetEntry) -> None:
    """Say again what is wanted of a target that strayed from it after it had been confirmed."""
    if not is_shown(draft, target):
        tell_again(draft, target, "the target is no longer as it was left")


def _nowhere_to_go(target: e.TargetEntry, unit: e.Unit) -> str | None:
    wanted = target.wanted(unit.candidate)
    if unit.stable is None or wanted is None or wanted.weight == 0 or serves(target, unit.stable):
        return None
    return f"stable {unit.stable} has no ready instance to take the traffic back"


def _whereabouts(target: e.TargetEntry) -> str:
    wanted = ", ".join(f"{v.label} {v.weight}%" for v in target.live)
    seen = ", ".join(map(_as_seen, target.observed)) or "nothing"
    return f"{target.service} wanted {wanted}; seen {seen}" + (f", not in force: {target.not_in_force}" if target.not_in_force else "")


def _as_seen(version: ObservedVersion) -> str:
    why = f": {version.failure}" if version.failure is not None else ""
    return f"{version.label} {version.weight}% ({version.ready}/{version.instances} ready{why})"
