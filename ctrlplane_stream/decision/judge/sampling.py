"""On what scale requests count where spans are sampled: as many as what one seen failure stands for.

Tail sampling keeps failures and drops successes. What one kept failure stands for shows on failures alone, and is a matter of the sampler:
it is learned per service, from the past, the step before and this window too. Until one was ever seen, as many requests count as were seen,
which proves too little rather than too much; the first failure says how many there were, and these are counted then. A bet on harm cannot
win in windows without failures, so that what it owes them until then crosses nothing.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ctrlplane_stream.decision.judge.arms import ArmWindow
from ctrlplane_stream.decision.judge.baseline import Totals, failures
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.decision.judge.state import Counts, Sampling, StepState

WITNESS = "witness|"
"""Before the names of services that are watched as witnesses only (`judge.witnesses`)."""


class Kept(NamedTuple):
    """How many failures one that was seen stands for, if known; and how many times as many requests as were counted came before it was
    known, beyond these, if it is known since this window."""

    each: float | None = None
    owed: float = 0.0

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
        return Kept(now.each_error)
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
