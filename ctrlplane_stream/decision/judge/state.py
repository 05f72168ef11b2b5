"""What the judge remembers of a step: JSON all through, at most 2 KB a metric, and enough to judge the next window alone."""

from functools import lru_cache

import msgspec

from ctrlplane_stream.decision.judge.baseline import ServicePast, Totals
from ctrlplane_stream.decision.judge.histograms import Histogram
from ctrlplane_stream.decision.stats.dispersion import UNSCATTERED, Dispersion, design_effect
from ctrlplane_stream.decision.stats.harm import Evidence
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.verdicts import Metric

DUE = 10.0
"""Candidate requests due without one coming that make it silent: e**-10 by chance."""

_NO_PAST = ServicePast()


class Counts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """``events`` among ``total``; floats, since sampling reweights."""

    events: float = 0.0
    total: float = 0.0

    def plus(self, events: float, total: float) -> "Counts":
        """With one more window."""
        return Counts(self.events + events, self.total + total)


class Tail(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a latency counts as slow: above bucket ``stable`` for the stable arm, above ``candidate`` (margin added) for the other.

    ``expected`` is the share of harmless candidate latencies above its bucket; ``known`` the stable latencies the buckets were chosen by.
    ``part`` is how much of what lies in the next bucket up counts as slow, of either arm: less than all where so many latencies are alike
    that the quantile lies among them.
    """

    stable: int
    candidate: int
    expected: float
    known: Counts
    part: float = 1.0


class Bounds(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A share known from a baseline: harm is above ``limit``, safety below ``floor``, and ``expected`` lies between."""

    floor: float
    expected: float
    limit: float


class Joint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a past too thin for bounds is weighed together with the present (`stats.thin_past`): counts of the step, each window's divided
    by its design effect, and what was added to the capital of the bets so that it holds against all that the past may have been."""

    events: float = 0.0
    total: float = 0.0
    correction: float = 0.0


EdgeTotals = tuple[float, float, float, float]
"""Candidate events and total, stable events and total."""


class CheckState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The evidence on one question, or one edge of it, and the totals it rests on.

    ``opposite`` is the evidence on the other side of a two-sided question (calls missing); ``edges`` the totals by edge, of
    at most six edges, for blame. ``design_effect`` is what the last window's evidence was divided by. Where there is a ``joint``, the
    limit of ``bounds`` is no bound but what the bets are against.
    """

    evidence: Evidence = Evidence()
    opposite: Evidence | None = None
    scatter: Dispersion = Dispersion()
    candidate: Counts = Counts()
    stable: Counts = Counts()
    windows: int = 0
    tail: Tail | None = None
    bounds: Bounds | None = None
    edges: dict[str, EdgeTotals] = {}
    design_effect: float = 1.0
    joint: Joint | None = None


class Answered(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Calls to a changed service in those windows of a step that lost more of them than the past did: answered by its ``candidate``, by
    ``stable``, ``lost`` (failed, and no server answered), in ``total``, all corrected for sampling; and how many of the total were
    ``seen``."""

    candidate: float = 0.0
    stable: float = 0.0
    lost: float = 0.0
    total: float = 0.0
    seen: float = 0.0

    def plus(self, other: "Answered") -> "Answered":
        """With those of more windows."""
        return Answered(
            self.candidate + other.candidate,
            self.stable + other.stable,
            self.lost + other.lost,
            self.total + other.total,
            self.seen + other.seen,
        )


class Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What arrived at the changed services during the step, and the silences that run now.

    ``due`` is how many candidate requests the weight would have brought since the last one came, and ``passed_by`` in how many windows
    others came since; ``empty_windows`` counts windows without any request to the service; ``labels`` are the version labels seen (at most
    eight).
    """

    candidate: float = 0.0
    stable: float = 0.0
    other: float = 0.0
    due: float = 0.0
    empty_windows: int = 0
    labels: tuple[str, ...] = ()
    answered: Answered = Answered()
    passed_by: int = 0

    @property
    def is_unsent(self) -> bool:
        """Whether so many candidate requests were due that none came because nobody sends it any."""
        return self.due >= DUE


class Touched(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Failed among all requests at the entry points that stand for the ``candidate`` of a service in this step, for the ``stable`` version
    beside it, and for stable in the steps ``before``; ``elsewhere`` are those that touched the candidate and stand for another version;
    ``possible`` those that failed and only may have touched the candidate, among so many calls to its service; ``entered`` are all requests
    at the entry points. ``scatter`` is that of the candidate's failures between windows, beside stable's where there is one; ``unsteady``
    that of stable's by themselves, in all steps so far."""

    candidate: Counts = Counts()
    stable: Counts = Counts()
    before: Counts = Counts()
    possible: Counts = Counts()
    entered: Counts = Counts()
    scatter: Dispersion = Dispersion()
    unsteady: Dispersion = Dispersion()
    elsewhere: Counts = Counts()


class Quality(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Sums behind the coverage: requests of the changed services observed and estimated; calls and requests of all rows, of late ones, of
    ones dropped; calls to the changed services of unknown version, and all; of the former those that failed, which no server answered."""

    observed: float = 0.0
    estimated: float = 0.0
    rows: float = 0.0
    late: float = 0.0
    dropped: float = 0.0
    unknown: float = 0.0
    calls: float = 0.0
    lost: float = 0.0


class Weights(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How much what a kept span stands for differs between windows: the sum of (what those of a window stand for)² / their number, and in
    how many windows any were kept."""

    squares: float = 0.0
    windows: float = 0.0

    def plus(self, other: "Weights") -> "Weights":
        """With more windows."""
        return Weights(self.squares + other.squares, self.windows + other.windows)


_UNWEIGHED = Weights()


class Sampling(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of how a service's spans are kept: failures seen and estimated, before the rollout and since; calls and requests seen
    and estimated in this step; of an arm, how that differs between windows, for failures and for successes."""

    errors: float = 0.0
    estimated_errors: float = 0.0
    requests: float = 0.0
    estimated: float = 0.0
    of_errors: Weights = _UNWEIGHED
    of_successes: Weights = _UNWEIGHED

    def plus(self, other: "Sampling") -> "Sampling":
        """With what is known of more windows, or of another service."""
        return Sampling(
            self.errors + other.errors,
            self.estimated_errors + other.estimated_errors,
            self.requests + other.requests,
            self.estimated + other.estimated,
            self.of_errors.plus(other.of_errors),
            self.of_successes.plus(other.of_successes),
        )

    @property
    def each_error(self) -> float | None:
        """How many failures one that was seen stands for; None where none was."""
        return max(1.0, self.estimated_errors / self.errors) if self.errors >= 1 else None

    @property
    def each_success(self) -> float | None:
        """How many successes one that was seen stands for; None where none was, or failures are of more windows than requests."""
        seen, meant = self.requests - self.errors, self.estimated - max(self.errors, self.estimated_errors)
        return max(1.0, meant / seen) if seen >= 1 and meant >= seen else None


class StepState(msgspec.Struct, frozen=True):
    """All about one step of one rollout; another attempt or step begins anew with the same ``references``.

    ``apart`` says that the windows of the versions are of different times, as recordings' are, so that a drift is in the difference.
    ``checks`` is by question, ``calls`` the edges begun of each question about calls per request, whose checks are named
    ``question|edge``; ``latencies`` are by arms and side.
    ``sampling`` is by service, and so is ``touched``, where harm is counted; ``kept`` says how the spans of arms are, by arms and side.
    In ``silent`` of the ``windows`` a changed service that a PASS needs had no request; in ``unsent`` of them others were sent some and
    its candidate none, though many were due: its weight was not in force yet, or no longer.
    """

    rollout: str
    step: int
    attempt: int
    references: dict[str, ServicePast] = {}
    checks: dict[str, CheckState] = {}
    calls: dict[str, tuple[str, ...]] = {}
    latencies: dict[str, Histogram] = {}
    seen: dict[str, Seen] = {}
    coverage: Quality = Quality()
    sampling: dict[str, Sampling] = {}
    touched: dict[str, Touched] = {}
    windows: int = 0
    silent: int = 0
    unsent: int = 0
    last_window: int = -1
    lag_seconds: float = 0.0
    apart: bool = False
    kept: dict[str, Sampling] = {}

    @property
    def watched(self) -> int:
        """The windows in which there was something to judge: a soak without requests proves no more than a blind one."""
        return max(0, self.sent - self.silent)

    @property
    def sent(self) -> int:
        """The windows by which the rate of candidate requests is told: all but those in which nobody was sent to it."""
        return self.windows - self.unsent


def past_of(state: StepState, services: tuple[str, ...]) -> Totals:
    """The baseline of one service, or of several together."""
    if len(services) == 1:
        return state.references.get(services[0], _NO_PAST).totals()
    total = Totals()
    for service in services:
        t = state.references.get(service, _NO_PAST).totals()
        total = Totals(
            t.windows,
            total.requests + t.requests,
            total.estimated + t.estimated,
            total.errors + t.errors,
            latency=total.latency.plus(t.latency),
            errors_seen=total.errors_seen + t.errors_seen,
            errors_estimated=total.errors_estimated + t.errors_estimated,
        )
    return total


def scatter_of(state: StepState, services: tuple[str, ...], metric: Metric) -> Dispersion:
    """How much a metric scattered before the rollout; of several services, of the one that scattered most."""
    if len(services) == 1:
        return state.references.get(services[0], _NO_PAST).scatter_of(metric)
    found = [state.references.get(service, _NO_PAST).scatter_of(metric) for service in services]
    return max(found, key=design_effect, default=UNSCATTERED)


def scatter_of_calls(state: StepState, service: str, edge: str) -> Dispersion:
    """How much the calls per request of a service along an edge, by its name, scattered before the rollout."""
    return state.references.get(service, _NO_PAST).calls.get(edge, UNSCATTERED)


name_of_edge = lru_cache(maxsize=4096)(EdgeKey.__str__)
"""How an edge is named in the state."""


@lru_cache(maxsize=4096)
def edge_named(name: str) -> EdgeKey:
    """The edge behind its name in the state."""
    caller, _, rest = name.partition(" -")
    kind, _, callee = rest.partition("-> ")
    return EdgeKey(caller, callee, EdgeKind(kind))
