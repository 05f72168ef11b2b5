"""What time alone brings about: leases renewed, freezes over, releases due, parked versions deleted; and when to be woken."""

from collections.abc import Iterator

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft, Telling
from ctrlplane_stream.decision.drifting import watch_at_rest
from ctrlplane_stream.decision.observing import lease_lapsed
from ctrlplane_stream.decision.overrides import drop_freezes
from ctrlplane_stream.decision.phases import QUEUED
from ctrlplane_stream.decision.retiring import retire
from ctrlplane_stream.decision.targets import exchanges, is_partial, is_taken, lease_seconds
from ctrlplane_stream.decision.versioning import releases_due
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.policy import LOOKS_EVERY_SECONDS
from ctrlplane_stream.model.world import Capacity

ACTIVE_WAKE_MS = int(LOOKS_EVERY_SECONDS * 1000)
"""How often time must be told while a rollout is active."""
PASSIVE_WAKE_MS = 15_000
"""How often while only retention, a release or a target at rest is waited for: what one fact may advance a timer by."""


def expire(draft: Draft) -> None:
    """Everything that is due by now, before rollouts are moved."""
    _leases_lost(draft)
    over = [i for i in draft.index.freezes if (f := draft.find(f"freeze/{i}", e.FreezeEntry)) is not None and _is_over(draft, f)]
    if over:
        drop_freezes(draft, over)
        draft.because("freeze-over", f"{len(over)} freezes ended by their date")
    if draft.index.awaited:
        watch_at_rest(draft)
    if draft.index.releases:
        releases_due(draft)
    if draft.index.retiring:
        retire(draft)


def _is_over(draft: Draft, freeze: e.FreezeEntry) -> bool:
    return freeze.until_ms is not None and freeze.until_ms <= draft.dated_ms


def _leases_lost(draft: Draft) -> None:
    """A lease that must have expired is not renewed: the target has gone to stable, or will. Where all of the traffic was to go to one
    version that may be so by now, and the lease over with that: the target says which."""
    for target, leased_ms in _leased(draft):
        seconds = (draft.clock.now_ms - leased_ms) / 1000
        if target.edited is None and is_partial(target) and seconds > lease_seconds(draft, target):
            lease_lapsed(draft, target.service, f"nobody renewed the lease on {target.service} for {seconds:.0f} s")


def renew(draft: Draft) -> None:
    """Renew the leases that are a third gone, after rollouts were moved: a move renews by itself."""
    for target, leased_ms in _leased(draft):
        if target.edited is not None or (target.service in draft.telling and target.strayed is None):
            continue
        due = leased_ms + lease_seconds(draft, target) * 1000 / 3
        if leased_ms <= draft.clock.now_ms < due or not _may_be_told(target):
            continue
        if target.strayed is None:
            draft.tell(target.service, Telling(Verb.RENEW, "the lease is renewed while the rollout is watched", target.rollout))
        elif (shown := _shown_weights(draft, target)) is not None:
            because = "the lease is renewed by the weights that are there, until somebody has looked at them"
            draft.tell(target.service, Telling(Verb.RENEW, because, target.rollout, shown))


def _shown_weights(draft: Draft, target: e.TargetEntry) -> dict[str, int] | None:
    """What a target that strayed shows of the versions that are wanted of it, or None where no command can say just that: then its lease
    ends as it would without us."""
    if exchanges(draft, target):
        return None
    if any(v.capacity is Capacity.PARKED and (seen := target.seen(v.label)) is not None and seen.weight for v in target.live):
        return None
    shown = {v.label: seen.weight if (seen := target.seen(v.label)) is not None else 0 for v in target.live}
    return shown if sum(shown.values()) == 100 else None


def _leased(draft: Draft) -> Iterator[tuple[e.TargetEntry, int]]:
    """Targets that rollouts move by a lease, in their order, each with when that was last granted."""
    for rollout in draft.rollouts():
        for unit in rollout.units if rollout.phase is not QUEUED else ():  # which has no target yet
            target = draft.target(unit.service)
            if target.leased_ms is not None and target.rollout == rollout.id:
                yield target, target.leased_ms


def _may_be_told(target: e.TargetEntry) -> bool:
    """Not while a command is under way, whose outcome would be lost in the renewal, unless it was taken and waits for instances."""
    flight = target.in_flight
    return flight is None or flight.verb == Verb.RENEW or (is_taken(target) and not flight.stays)


def wake_at_ms(draft: Draft) -> int | None:
    """When time must be told again, in the log's milliseconds; None where nothing waits for time.

    Counted from when it was last told, not from this fact: among many facts it would never come.
    """
    now = draft.clock.now_ms
    index = draft.index
    if index.rollouts:
        window = max(1.0, draft.telemetry.window_seconds * 1000)
        next_window = int((now // window + 1) * window)
        return min(draft.clock.told_ms + ACTIVE_WAKE_MS, max(next_window, now + 1000))
    if index.retiring or index.releases or index.awaited:
        return draft.clock.told_ms + PASSIVE_WAKE_MS
    dates = [f.until_ms for i in index.freezes if (f := draft.find(f"freeze/{i}", e.FreezeEntry)) is not None and f.until_ms is not None]
    return min(dates, default=None)
