"""On what scale requests count where spans are sampled: as many as what one seen failure stands for.

Tail sampling keeps failures and drops successes. What one kept failure stands for shows on failures alone, and is a matter of the sampler:
it is learned per service, from the past, the step before and this window too. Until one was ever seen, as many requests count as were seen,
which proves too little rather than too much; the first failure says how many there were, and these are counted then. A bet on harm cannot
win in windows without failures, so that what it owes them until then crosses nothing.

A service has one scale as long as one sampler keeps its spans. A candidate may bring another: then the failures or successes that were kept
stand for other numbers in its arm than in that which it is held against, and each arm has its own scale, learned from itself alone. So a
share is unbiased whatever the two rates are. One sampler may keep kinds of requests (routes, tenants) by different rates, too: then what a
kept one stands for is another number each time, and two means of few differ by chance. So two samplers are told apart by as much as numbers
differ within an arm from window to window. Until it is known whether there are two, a window is weighed either way, and the way that says
less counts. Latencies are of what was kept, and cannot be set right where their outcomes decided that in
one arm only: `otherwise_kept` says so.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ctrlplane_stream.decision.judge.arms import ArmWindow, version_arm
from ctrlplane_stream.decision.judge.baseline import Totals, failures
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.decision.judge.state import Counts, Sampling, StepState, Weights, past_of
from ctrlplane_stream.model.verdicts import Assignment, Comparison, GuardRole

WITNESS = "witness|"
"""Before the names of services that are watched as witnesses only (`judge.witnesses`)."""

_UNLIKE = 2.0
"""Two samplers are told apart by a factor: less is a matter of which failures and slow requests came."""
_FAILURES, _SUCCESSES = 3.0, 30.0
"""Kept ones that tell for what one stands."""
_SURE, _WINDOWS = 3.0, 3.0
"""By how many standard errors what a kept one stands for must differ, and in how many of the candidate's windows any were kept, for two
samplers to be known."""
_ALL_KEPT = 1.05
_NOTHING = Sampling()


class Kept(NamedTuple):
    """How many failures one that was seen stands for, if known; and how many times as many requests as were counted came before it was
    known, beyond these, if it is known since this window."""

    each: float | None = None
    owed: float = 0.0
    before: float | None = None
    """``each`` as it was known before this window."""

    def failed(self, errors: float, requests: float, estimated: float, before: Counts) -> Counts:
        """Failed and all requests of an arm in a window on one scale. ``before`` is what was counted of it in this step."""
        if estimated > requests > 0:
            requests = max(errors, estimated / (self.each or estimated / requests))
        return Counts(errors, requests + self.owed * before.total)

    def each_success(self, arms: Iterable[ArmWindow | Totals]) -> float | None:
        """How many successes one that was seen stands for, on that scale; None where none was seen, or failures are not known."""
        if self.each is None:
            return None
        meant = seen = 0.0
        for arm in arms:
            if arm.estimated > arm.requests > arm.errors:
                meant, seen = meant + arm.estimated / self.each - arm.errors, seen + arm.requests - arm.errors
        return meant / seen if seen else None


class Keeping(NamedTuple):
    """How the spans of two arms are kept: the candidate's, and stable's beside it; and how those of the ``past`` were. ``comparable`` says
    whether the latencies of what was kept may be set against each other; ``instead`` is how all are kept if they are by one sampler after
    all, where that is not known yet."""

    ours: Kept
    theirs: Kept
    past: Kept
    comparable: bool = True
    instead: Kept | None = None

    def settled(self) -> "Keeping":
        """The same, one sampler taken for granted as long as two are not known."""
        return self if self.instead is None else Keeping(self.instead, self.instead, self.instead)


class _Two(NamedTuple):
    """What is known of two arms at one time, and of the service as a whole."""

    ours: Sampling
    theirs: Sampling
    service: float | None

    @property
    def unlike(self) -> bool:
        """Whether what was kept stands for quite other numbers, be it by chance."""
        return _fails_otherwise(self.ours, self.theirs) or _succeeds_otherwise(self.ours, self.theirs)

    @property
    def apart(self) -> bool:
        """Whether there are surely two samplers."""
        return _surely_apart(self.ours, self.theirs)

    def each(self, arm: Sampling) -> float | None:
        return arm.each_error if self.unlike else self.service


def keeping(
    arms: str, pair: tuple[ArmWindow, ArmWindow | None], past: Totals, state: StepState, service: Kept, now: dict[str, Sampling]
) -> Keeping:
    """How the spans of a pair of ``arms`` are kept in this window, which is added to what is known of them (``now``), where ``service`` is
    how those of their service are if one sampler keeps both."""
    if not state.kept and past.estimated <= past.requests and all(arm is None or arm.estimated <= arm.requests for arm in pair):
        return Keeping(service, service, service)
    before = _Two(*_arms_known(arms, state.kept, past), service.before)
    for side, arm in zip(("candidate", "stable"), pair, strict=True):
        if arm is not None and arm.requests:
            name = f"{arms}|{side}"
            now[name] = state.kept.get(name, _NOTHING).plus(_of_arm(arm))
    after = _Two(*_arms_known(arms, now, past), service.each)
    if not before.unlike and not after.unlike:
        return Keeping(service, service, service)
    ours, theirs = (_scale(before.each(was), after.each(arm), was) for was, arm in zip(before[:2], after[:2], strict=True))
    comparable = not _by_another_rule(after.ours, after.theirs)
    return Keeping(ours, theirs, Kept(_of_past(past).each_error), comparable, None if after.apart else service)


def by_version(state: StepState, assignment: Assignment, rows: Rows) -> tuple[dict[tuple[str, str], tuple[float, float]], bool]:
    """What a kept success and a kept failure of a version stand for, as known after this window, of changed services whose two versions
    have samplers of their own; and whether of any it cannot be known yet if they have."""
    found, undecided = {}, False
    for change in assignment.changed:
        arms = f"{GuardRole.CHANGED}|{change.service}|{Comparison.VERSIONS}"
        if change.stable is None:
            continue
        ours, theirs = _arms_known(arms, state.kept, past_of(state, (change.service,)))
        ours = ours.plus(_of_arm(version_arm(rows, change.service, change.candidate)))
        theirs = theirs.plus(_of_arm(version_arm(rows, change.service, change.stable)))
        two = _Two(ours, theirs, None)
        if two.apart:
            for version, arm in ((change.candidate, ours), (change.stable, theirs)):
                each = arm.each_success or 1.0
                found[change.service, version] = each, arm.each_error or each
        undecided = undecided or (two.unlike and not two.apart and ours.of_successes.windows < _WINDOWS)
    return found, undecided


def as_touched(kept: Keeping, assignment: Assignment, rows: Rows) -> Keeping:
    """How exposures to the versions of a changed service are kept, where these surely have samplers of their own: as their spans are."""
    if len(assignment.changed) != 1:
        return kept
    (change,) = assignment.changed
    ours, theirs = (rows.stands_for.get((change.service, version or "")) for version in (change.candidate, change.stable))
    if ours is None or theirs is None:
        return kept
    by_outcome, beside = ours[0] / ours[1], theirs[0] / theirs[1]
    comparable = kept.comparable and max(by_outcome, beside) <= _UNLIKE * min(by_outcome, beside)
    return Keeping(Kept(ours[1]), Kept(theirs[1]), kept.past, comparable)


def otherwise_kept(arms: str, past: Totals, state: StepState) -> tuple[Sampling, Sampling] | None:
    """How the spans of a candidate and of what it is held against are kept, if that makes their latencies no matter of comparison; else
    None. That it keeps all of its own only makes it seem quicker beside others' slow ones: harm is found all the same, but not denied."""
    ours, theirs = _arms_known(arms, state.kept, past)
    if not _surely_apart(ours, theirs):
        return None
    return (ours, theirs) if _by_another_rule(ours, theirs) or _keeps_all(ours, theirs) else None


def kept_by_candidate(arms: str, past: Totals, state: StepState, service: Kept) -> Kept:
    """How the candidate's spans are kept, as known after the last window."""
    known = _Two(*_arms_known(arms, state.kept, past), service.each)
    return Kept(known.ours.each_error if known.apart else known.service)


def kept_by_past(arms: str, past: Totals, state: StepState, service: Kept) -> Kept:
    """How the spans of the past were kept, by which the candidate's need not be."""
    known = _Two(*_arms_known(arms, state.kept, past), service.each)
    return Kept(_of_past(past).each_error if known.apart else known.service)


def _arms_known(arms: str, kept: dict[str, Sampling], past: Totals) -> tuple[Sampling, Sampling]:
    beside = kept.get(f"{arms}|stable", _NOTHING)
    return kept.get(f"{arms}|candidate", _NOTHING), beside.plus(_as_now(_of_past(past), beside))


def _as_now(past: Sampling, now: Sampling) -> Sampling:
    """What the past says of stable's spans, at the rate at which its successes are kept by now: a sampler may have another rate at another
    time, and that is no other one. Failures that were all kept are still."""
    before, since = past.each_success, now.each_success
    if before is None or since is None or now.requests - now.errors < _SUCCESSES:
        return past
    rate = since / before
    failed = past.estimated_errors * (rate if (past.each_error or 1.0) > _ALL_KEPT else 1.0)
    return _as_one(past.errors, failed, past.requests, failed + (past.estimated - past.estimated_errors) * rate)


def _of_arm(arm: ArmWindow) -> Sampling:
    failed, meant = max(arm.errors, arm.estimated_errors), max(arm.requests, arm.estimated)
    succeeded, stood_for = arm.requests - arm.errors, max(0.0, meant - failed)
    return Sampling(arm.errors, failed, arm.requests, meant, _weights(arm.errors, failed), _weights(succeeded, stood_for))


def _weights(kept: float, meant: float) -> Weights:
    return Weights(meant * meant / kept, 1.0) if kept > 0 else Weights()


def _of_past(past: Totals) -> Sampling:
    """As of one window: it is not known how the windows of the past differed."""
    if past.errors and not past.errors_seen:
        return _NOTHING
    each = max(1.0, past.errors_estimated / past.errors_seen) if past.errors_seen else 1.0
    return _as_one(past.errors, past.errors * each, past.requests, max(past.requests, past.estimated))


def _as_one(errors: float, failed: float, requests: float, meant: float) -> Sampling:
    weights = _weights(errors, failed), _weights(requests - errors, max(0.0, meant - failed))
    return Sampling(errors, failed, requests, meant, *weights)


def _scale(before: float | None, now: float | None, known: Sampling) -> Kept:
    if now is None or before is not None or not known.requests:
        return Kept(now)
    return Kept(now, max(0.0, known.estimated / known.requests / now - 1.0))


def _fails_otherwise(ours: Sampling, theirs: Sampling) -> bool:
    """Whether a failure that was kept stands for another number. One of the candidate's tells if it stands for fewer, since many more
    requests came then than it would say on the other scale."""
    mine, other = ours.each_error, theirs.each_error
    if mine is None or other is None or theirs.errors < _FAILURES:
        return False
    return other > _UNLIKE * mine or (ours.errors >= _FAILURES and mine > _UNLIKE * other)


def _succeeds_otherwise(ours: Sampling, theirs: Sampling) -> bool:
    mine, other = ours.each_success, theirs.each_success
    if mine is None or other is None or min(ours.requests - ours.errors, theirs.requests - theirs.errors) < _SUCCESSES:
        return False
    return max(mine, other) > _UNLIKE * min(mine, other)


def _surely_apart(ours: Sampling, theirs: Sampling) -> bool:
    """Whether kept failures or successes stand for other numbers by more than chance explains that is as large as from window to window."""
    failures = (ours.errors, ours.estimated_errors, ours.of_errors), (theirs.errors, theirs.estimated_errors, theirs.of_errors)
    if _fails_otherwise(ours, theirs) and _differ(*failures):
        return True
    if not _succeeds_otherwise(ours, theirs):
        return False
    a, b = (
        (arm.requests - arm.errors, max(0.0, arm.estimated - max(arm.errors, arm.estimated_errors)), arm.of_successes)
        for arm in (ours, theirs)
    )
    return _differ(a, b)


def _differ(ours: tuple[float, float, Weights], theirs: tuple[float, float, Weights]) -> bool:
    """Whether two means (of so many, of this sum) differ by `_SURE` standard errors of the scatter within either."""
    (m, x, a), (n, y, b) = ours, theirs
    if min(m, n) <= 0 or a.windows < _WINDOWS or b.windows < 1:
        return False
    within = max(0.0, a.squares - x * x / m) + max(0.0, b.squares - y * y / n)
    variance = within / (a.windows + b.windows - 2.0)
    return (x / m - y / n) ** 2 > _SURE**2 * variance * (1.0 / m + 1.0 / n)


def _by_another_rule(ours: Sampling, theirs: Sampling) -> bool:
    """Whether outcomes decide otherwise in one arm than in the other about what is kept.

    A candidate that is slow has more kept by a sampler that keeps what is slow: so fewer successes that one stands for tell nothing, if
    failures are kept alike.
    """
    fails, rarer = (
        _fails_otherwise(ours, theirs),
        _succeeds_otherwise(ours, theirs) and (ours.each_success or 0) > (theirs.each_success or 0),
    )
    by_outcome, beside = _of_success_to_failure(ours), _of_success_to_failure(theirs)
    if by_outcome is None or beside is None or not (fails or rarer):
        return False
    return max(by_outcome, beside) > _UNLIKE * min(by_outcome, beside)


def _keeps_all(ours: Sampling, theirs: Sampling) -> bool:
    """Whether the candidate's spans are all kept where those it is held against were chosen by their outcome."""
    beside = _of_success_to_failure(theirs)
    return beside is not None and beside > _UNLIKE and _succeeds_otherwise(ours, theirs) and (ours.each_success or 0) <= _ALL_KEPT


def _of_success_to_failure(arm: Sampling) -> float | None:
    """How many times as many a kept success stands for as a kept failure does."""
    if arm.each_success is None or arm.each_error is None:
        return None
    return arm.each_success / arm.each_error


def sampling_after(state: StepState, rows: Rows) -> dict[str, Sampling]:
    """What is known of all that is watched after one more window."""
    services = dict.fromkeys(name.removeprefix(WITNESS) for name in state.references)
    return {service: _known(state, service).plus(_of_window(rows, service)) for service in services}


def sampled_as(services: Iterable[str], state: StepState, after: dict[str, Sampling]) -> Kept:
    """The scale of some services in a window, from what was known before and is after it."""
    before, now = Sampling(), Sampling()
    for service in services:
        before = before.plus(_known(state, service))
        now = now.plus(after.get(service) or _known(state, service))
    if now.each_error is None or before.each_error is not None or not before.requests:
        return Kept(now.each_error, 0.0, before.each_error)
    return Kept(now.each_error, max(0.0, before.estimated / before.requests / now.each_error - 1.0))


def _known(state: StepState, service: str) -> Sampling:
    found = state.sampling.get(service)
    if found is not None:
        return found
    past = state.references.get(service) or state.references.get(WITNESS + service)
    if past is None:
        return Sampling()
    totals = past.totals()
    return Sampling(totals.errors_seen, totals.errors_estimated)


def _of_window(rows: Rows, service: str) -> Sampling:
    requests = estimated = 0.0
    for own in rows.services.get(service, ()):
        requests += own.requests
        estimated += max(own.requests, own.estimated_requests)
    for key in rows.incoming.get(service, ()):
        for row in rows.edges[key]:
            requests += row.calls
            estimated += max(row.calls, row.estimated_calls)
    return Sampling(*failures(rows, service), requests, estimated)
