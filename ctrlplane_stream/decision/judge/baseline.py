"""What services and edges were like before a rollout touched them: two generations of windows, the older dropped whole.

A baseline is 30 to 60 windows of everything outside the rollouts under way; what is watched by one stays frozen at what it was before, so
that a candidate never becomes its own yardstick. Between 30 windows and 60 the past is long enough to bound a rate and short enough to be
the present's neighbour.
"""

import math
from collections.abc import Collection

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision.judge.arms import ArmWindow, version_arm
from ctrlplane_stream.decision.judge.histograms import NOTHING, Histogram
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.decision.stats.dispersion import LARGEST_OF_THE_PAST, UNSCATTERED, Dispersion, residual_of_rate, residual_of_share
from ctrlplane_stream.model.identity import UNKNOWN_VERSION
from ctrlplane_stream.model.verdicts import Metric

GENERATION_WINDOWS = 30
QUANTILES = {Metric.LATENCY_P50: 0.5, Metric.LATENCY_P99: 0.99, Metric.NETWORK_GAP: 0.9}
"""The quantile of each latency metric; the gap is looked at where both a shift of all calls and a delay of some show."""


class Totals(msgspec.Struct, frozen=True, gc=False):
    """Sums over some windows of one service, all versions together.

    ``estimated`` counts requests corrected for sampling; ``lost`` failed calls to it without a server's half, among ``called``
    calls; ``calls`` the calls it made, by edge, corrected for sampling; ``errors_seen`` and ``errors_estimated`` what was seen to fail
    by itself or its callers, and what that stands for.
    """

    windows: int = 0
    requests: float = 0.0
    estimated: float = 0.0
    errors: float = 0.0
    called: float = 0.0
    lost: float = 0.0
    latency: Histogram = NOTHING
    gap: Histogram = NOTHING
    calls: dict[str, float] = {}
    errors_seen: float = 0.0
    errors_estimated: float = 0.0


class Scatters(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How much a service's latencies scatter between windows: shares above the quantile so far."""

    median: Dispersion = Dispersion()
    tail: Dispersion = Dispersion()
    gap: Dispersion = Dispersion()


_SCATTERS = {Metric.LATENCY_P50: "median", Metric.LATENCY_P99: "tail", Metric.NETWORK_GAP: "gap"}


class ServicePast(msgspec.Struct, frozen=True, gc=False):
    """Two generations of totals, the scatter of the error share between windows, and that of everything else.

    ``calls`` is the scatter of calls per request by edge, of which no window is cut: a list that makes many calls is as usual as often as
    it comes. ``heard`` is the last window of its environment in which the service was heard of, whether or not it stood still; ``taken``
    the last one that is in it, and ``turned`` the last in ``older``: None where an earlier build did not say.
    """

    older: Totals = Totals()
    newer: Totals = Totals()
    scatter: Dispersion = Dispersion()
    scatters: Scatters = Scatters()
    heard: int | None = None
    calls: dict[str, Dispersion] = {}
    taken: int | None = None
    turned: int | None = None

    def scatter_of(self, metric: Metric) -> Dispersion:
        """How much a metric, but for calls per request, scatters between windows beyond what independent requests would."""
        name = _SCATTERS.get(metric)
        if name is None:
            return self.scatter
        scatter: Dispersion = getattr(self.scatters, name)
        return scatter

    def totals(self) -> Totals:
        """Both generations together."""
        return self.newer if self.older.windows == 0 else _sum(self.older, self.newer)

    def frozen(self) -> "ServicePast":
        """The same past as one generation, which costs half the room."""
        return ServicePast(Totals(), self.totals(), self.scatter, self.scatters, calls=self.calls)

    def before(self, since_ms: int) -> "ServicePast":
        """Of the generations those of which no window began at ``since_ms`` or later; how much one of two scattered is not known."""
        if self.taken is not None and self.taken * 1000 < since_ms:
            return self
        if self.turned is not None and self.turned * 1000 < since_ms:
            return ServicePast(self.older, heard=self.heard, taken=self.turned, turned=self.turned)
        return ServicePast(heard=self.heard, taken=-1)


class Baseline(msgspec.Struct, frozen=True):
    """The past of every service of one environment."""

    services: dict[str, ServicePast] = {}

    def of(self, service: str) -> ServicePast:
        """The past of a service; empty where it was never seen."""
        return self.services.get(service, ServicePast())


def observe(baseline: Baseline, rows: Rows, moving: Collection[str]) -> Baseline:
    """The baseline after one more window; services in ``moving`` keep what they had."""
    seen = sorted({*rows.services, *rows.incoming})
    services = dict(baseline.services)
    for service in seen:
        if service not in moving:
            services[service] = _after(services.get(service, ServicePast()), _window_totals(rows, service), rows.window)
    return Baseline(services)


def holding(baseline: Baseline, window: int) -> frozenset[str]:
    """The services whose past holds a window already, or a later one: what is read again after a crash is not added twice."""
    return frozenset(name for name, past in baseline.services.items() if past.heard is not None and past.heard >= window)


def remembered(baseline: Baseline, rows: Rows, window: int, kept: Collection[str], seconds: float) -> Baseline:
    """The baseline with the services of a window's rows noted as heard of in it, and without those that were silent for more than
    ``seconds``, unless they are among the ``kept``."""
    services: dict[str, ServicePast] = {}
    for name, past in baseline.services.items():
        if name in rows.services or name in rows.incoming:
            services[name] = past if past.heard is not None and past.heard >= window else replace(past, heard=window)
        elif name in kept or past.heard is None or window - past.heard <= seconds:
            services[name] = past
    return Baseline(services)


def lost_calls(rows: Rows, service: str, caller_version: str | None = None, but: Collection[str] = ()) -> tuple[float, float]:
    """(failed calls to the service that no server half answered, all calls to it) of a window; of one version's callers, if given, and of
    none of those ``but``."""
    lost = called = 0.0
    for key in rows.incoming.get(service, ()):
        if key.caller in but:
            continue
        for row in rows.edges[key]:
            if caller_version not in (None, row.caller_version):
                continue
            called += row.calls
            if row.callee_version == UNKNOWN_VERSION:
                lost += row.errors
    return lost, called


def failures(rows: Rows, service: str) -> tuple[float, float]:
    """(failures of a service that were seen in a window, by itself or its callers; what they stand for)."""
    seen = estimated = 0.0
    for own in rows.services.get(service, ()):
        seen += own.errors
        estimated += max(own.errors, own.estimated_errors)
    for key in rows.incoming.get(service, ()):
        for row in rows.edges[key]:
            seen += row.errors
            estimated += max(row.errors, row.estimated_errors)
    return seen, estimated


def _window_totals(rows: Rows, service: str) -> Totals:
    arm: ArmWindow = version_arm(rows, service, None)
    lost, called = lost_calls(rows, service)
    calls = {str(key): estimated for key, (_, estimated) in arm.calls.items()}
    errors_seen, errors_estimated = failures(rows, service)
    estimated = max(arm.requests, arm.estimated)
    latency, gap = arm.latency.histogram(), arm.gap.histogram()
    return Totals(1, arm.requests, estimated, arm.errors, called, lost, latency, gap, calls, errors_seen, errors_estimated)


def _after(past: ServicePast, window: Totals, start: int) -> ServicePast:
    known = past.totals()
    residual = residual_of_share(window.errors, window.requests, known.errors, known.requests)
    scatter = past.scatter.after(residual, LARGEST_OF_THE_PAST)
    scatters, calls = _scattered(past.scatters, window, known), _calls_scattered(past.calls, window, known)
    newer = _sum(past.newer, window)
    if newer.windows >= GENERATION_WINDOWS:
        return ServicePast(newer, Totals(), scatter, scatters, calls=calls, taken=start, turned=start)
    return ServicePast(past.older, newer, scatter, scatters, calls=calls, taken=start, turned=past.turned)


def _scattered(scatters: Scatters, window: Totals, known: Totals) -> Scatters:
    return Scatters(
        _above_quantile(scatters.median, window.latency, known.latency, QUANTILES[Metric.LATENCY_P50]),
        _above_quantile(scatters.tail, window.latency, known.latency, QUANTILES[Metric.LATENCY_P99]),
        _above_quantile(scatters.gap, window.gap, known.gap, QUANTILES[Metric.NETWORK_GAP]),
    )


def _above_quantile(scatter: Dispersion, window: Histogram, known: Histogram, quantile: float) -> Dispersion:
    """With the share of this window's latencies above the quantile of those before."""
    total = known.total
    bucket = known.last_bucket_below((1.0 - quantile) * total) if window.counts and total else None
    if bucket is None:
        return scatter
    residual = residual_of_share(window.above(bucket), float(window.total), known.above(bucket), float(total))
    return scatter.after(residual, LARGEST_OF_THE_PAST)


def _calls_scattered(scatters: dict[str, Dispersion], window: Totals, known: Totals) -> dict[str, Dispersion]:
    """With this window's calls per request along each edge that is known. Sampled calls count as what was seen of them, and the noise of
    counting the sampled requests is no scatter of the service's."""
    each = max(1.0, window.estimated / window.requests) if window.requests else 1.0
    found = {}
    for name in sorted(known.calls):
        made, before = window.calls.get(name, 0.0) / each, known.calls[name] / each
        residual = residual_of_rate(made, window.estimated / each, before, known.estimated / each) if before else None
        if residual is not None and each > 1.0:
            residual /= math.sqrt(1.0 + made / window.requests)
        found[name] = scatters.get(name, UNSCATTERED).after(residual, math.inf)
    return found


def _sum(a: Totals, b: Totals) -> Totals:
    return Totals(
        a.windows + b.windows,
        a.requests + b.requests,
        a.estimated + b.estimated,
        a.errors + b.errors,
        a.called + b.called,
        a.lost + b.lost,
        a.latency.plus(b.latency),
        a.gap.plus(b.gap),
        {key: a.calls.get(key, 0.0) + b.calls.get(key, 0.0) for key in sorted({*a.calls, *b.calls})},
        a.errors_seen + b.errors_seen,
        a.errors_estimated + b.errors_estimated,
    )
