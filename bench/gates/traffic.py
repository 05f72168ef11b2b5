"""Drawn traffic of a small system with a changed service: real arrival processes, ties, skew, and everything that telemetry does to it.

    shoppers ─► frontend ─► checkout ─► cart (changed) ─► db, stock, pricing ◄─ search, catalog, offers, reports
                                         cart ~message~► mail
Every window is drawn from one seeded generator. Arrivals are Poisson; bursts multiply each second's rate by a gamma variable (shape 2); a
daily wave moves the rate by 50% and errors and latencies by 20%. Outcomes of one version with autocorrelation r come in runs of geometric
length (mean 1/(1-r)), which is lag-one correlation r. Latencies are lognormal with a tenth of cache hits at one value, on the sketch's
own buckets, so that ties abound. Sampling keeps every error and every slow request and one in ten of the rest, by traces as tail samplers
do or, where everything is wrong at once, by spans; lost spans are lost by halves, late ones come 60 s later. On a noisy machine every
latency of every service is 1.5 to 4 times as long for a minute at a time, once in eight minutes or so. Where latencies are alike, seven in
eight are one value (a cache, a sleep), one in thirty twice that, and the rest whole milliseconds, so that every quantile lies among ties.
Where some requests call cart many times, each call goes to a version by weight, and a request stands for that of one of them, drawn.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from ctrlplane_stream.decision.judge import ClosedWindow
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.model.sketch import EMPTY, Sketch
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart

WINDOW_SECONDS = 10
STABLE, CANDIDATE = "#1", "#2"
COLLATERAL = ("search", "catalog", "offers", "reports")
CALLEES = ("db", "stock", "pricing")
_KEPT = 0.1
_LATE_WINDOWS = 6
_RUN_LENGTHS = 6
_SPELL_BEGINS, _SPELL_ENDS = 0.02, 1 / 6
_SPELL_SLOWER = (1.5, 4.0)


@dataclass(frozen=True)
class Condition:
    """How the traffic and its telemetry behave."""

    name: str
    autocorrelation: float = 0.0
    bursts: bool = False
    wave: bool = False
    skew: float = 1.0
    sampled: str = ""
    """``traces``: a kept request has all its calls. ``spans``: each span is kept or dropped by itself, the worst there is."""
    lost: float = 0.0
    late: float = 0.0
    noisy: bool = False
    """Spells in which the whole machine is slower, both versions and everybody else alike."""
    alike: bool = False
    """Latencies of which most are one value, and the quantiles lie among ties."""
    many: float = 0.0
    """Requests that call cart so many ``times``, one call after the other; the others call it once."""
    times: int = 1
    lists: float = 0.0
    """Requests to cart that call stock 200 times; the others call it as often as they do."""
    aside: float = 0.0
    """Requests to cart beside the others, as a part of these, of a batch that takes a fifth of the time and is not routed."""
    shared: bool = False
    """Those fail whoever serves them, and their calls are tries."""
    drift: tuple[float, float] = (0.0, 0.0)
    """Standard deviation of the logarithm of a factor by which each version's errors and latencies move by themselves, and its correlation
    from window to window (a first-order autoregression)."""

    def bunched(self, failures: bool) -> float:
        """The true design effect of failures, or of latencies, of which sampling leaves few of a run: mean squared length over mean length
        of the runs that `System` draws (Kish)."""
        if self.shared and failures:
            return float(self.times)
        r = self.autocorrelation
        runs = {length: (1 - r) ** 2 * r ** (length - 1) for length in range(2, _RUN_LENGTHS + 1)}
        effect = 1.0 + sum(length * (length - 1) * share for length, share in runs.items())
        return effect if failures or not self.sampled else 1.0 + (effect - 1.0) * _KEPT


CONDITIONS = (
    Condition("plain"),
    Condition("autocorrelation 0.3", autocorrelation=0.3),
    Condition("bursts", bursts=True),
    Condition("daily wave", wave=True),
    Condition("skewed weights", skew=0.7),
    Condition("tail sampling", sampled="traces"),
    Condition("5% lost, 5% late", lost=0.05, late=0.05),
    Condition("noisy machine", noisy=True),
    Condition("latencies alike", alike=True),
    Condition("all at once", 0.3, True, True, 0.7, "spans", 0.05, 0.05),
)
MANY_CALLS = (
    Condition("1 in 10 calls ten times", many=0.1, times=10),
    Condition("1 in 20 fails at both, 3 tries", many=0.05, times=3, shared=True),
    Condition("1 in 50 makes 200 calls", lists=0.02),
    Condition("a fifth comes from a quick caller that is not routed", aside=0.25),
)
"""Requests that are unlike: that touch a candidate more often than others do, call on more often, or never come to it."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with the candidate. Latency factors are applied as whole buckets; ``part`` is the share of its requests that is ill.

    ``times`` is its size as a multiple of what the default policy lets pass: of points, of a quantile's rise (of share or slack the larger;
    twice that against the past), of the logarithm of a change of calls.
    """

    name: str
    times: float = math.inf
    errors: float = 0.0
    slower: float = 1.0
    tail_slower: float = 1.0
    gap_ms: float = 0.0
    stock_calls: float = 1.0
    pricing_calls: float = 1.0
    dead: bool = False
    db_slower: float = 1.0

    @property
    def kind(self) -> str:
        """Its name without its size."""
        return self.name.partition(" (")[0]

    @property
    def near(self) -> bool:
        """Whether it is near the margin."""
        return self.times < 3.0

    @property
    def harmed(self) -> float:
        """The share of the candidate's requests that the fault hurts."""
        if self.errors:
            return self.errors
        return 0.05 if self.tail_slower > 1 and self.slower == 1 else 1.0


HEALTHY = Fault("none")
FAULTS = (
    Fault("errors (+5 points)", 5.0, errors=0.05),
    Fault("latency p99 (5% of requests x4)", 4.0, tail_slower=4.0),
    Fault("latency median (x1.6)", 2.4, slower=1.6),
    Fault("network delay (+20 ms)", 4.0, gap_ms=20.0),
    Fault("CPU (all x1.8, tail x3)", 3.2, slower=1.8, tail_slower=3.0),
    Fault("missing calls (half of them)", 3.1, pricing_calls=0.5),
    Fault("retry storm (x3)", 4.9, stock_calls=3.0),
    Fault("one endpoint (8% of requests fail)", 8.0, errors=0.08),
    Fault("1 of 10 pods fails", 10.0, errors=0.1),
    Fault("death without spans", dead=True),
    Fault("overload of a callee (x2.5 for all)", 1.5, db_slower=2.5),
    Fault("overload of a callee (x6 for all)", 5.0, db_slower=6.0),
    Fault("errors (+1.5 points)", 1.5, errors=0.015),
    Fault("errors (+2 points)", 2.0, errors=0.02),
    Fault("latency p99 (5% of requests x3)", 2.0, tail_slower=3.0),
    Fault("network delay (+10 ms)", 2.0, gap_ms=10.0),
    Fault("missing calls (a third of them)", 2.0, pricing_calls=0.64),
    Fault("retries (x1.56)", 2.0, stock_calls=1.5625),
)


def shape(median_ms: float, sigma: float) -> tuple[int, np.ndarray]:
    """The probabilities of a lognormal latency with a tenth at one fast value, from a first bucket on."""
    centre = round(math.log2(median_ms * 1000) * 32)
    width = round(sigma * 4.5 / math.log(2) * 32)
    at = np.arange(-width, width + 1)
    density = np.exp(-0.5 * (at * math.log(2) / 32 / sigma) ** 2)
    density = 0.9 * density / density.sum()
    density[width // 3] += 0.1
    return centre - width, density


def coarse(median_ms: float, sigma: float) -> tuple[int, np.ndarray]:
    """As `shape`, where most latencies are alike."""
    first, density = shape(median_ms, sigma)
    whole = np.maximum(1.0, np.rint(2.0 ** ((first + np.arange(len(density))) / 32) / 1000))
    buckets = np.rint(np.log2(whole * 1000) * 32).astype(int)
    often, twice = round(math.log2(median_ms * 1000) * 32), round(math.log2(median_ms * 2000) * 32)
    least = min(int(buckets.min()), often)
    found = np.bincount(buckets - least, 0.1 * density, max(int(buckets.max()), twice) - least + 1)
    found[often - least] += 0.87
    found[twice - least] += 0.03
    return least, found


@cache
def latencies_of(median_ms: float, sigma: float, alike: bool) -> tuple[int, np.ndarray]:
    """The probabilities of a latency, from a first bucket on."""
    return coarse(median_ms, sigma) if alike else shape(median_ms, sigma)


_LATENCY = 20.0, 0.47
_FAST = 3.0, 0.4
_GAP = 1.0, 0.4
_ENTRY = 40.0, 0.47
_LIST = 200


class Many(NamedTuple):
    """The requests of a window where some call cart so many ``times``: of these how many of its calls the candidate answers and whether it
    answers the one that is drawn, and how many others there are, of stable and of the candidate."""

    times: int
    ours: np.ndarray
    drawn: np.ndarray
    once: tuple[int, int]

    @property
    def calls(self) -> tuple[int, int]:
        """All calls, to stable and to the candidate."""
        ours = int(self.ours.sum())
        return self.once[0] + self.times * len(self.ours) - ours, self.once[1] + ours

    @property
    def requests(self) -> int:
        """All requests."""
        return len(self.ours) + sum(self.once)


class System:
    """Draws windows of the system at ``rps`` requests a second of the changed service."""

    def __init__(self, rps: float, condition: Condition, seed: int) -> None:
        self.rps, self.condition = rps, condition
        self.rng = np.random.default_rng(seed)
        self.phase = self.rng.random() * 2 * math.pi
        self.day_windows = 8640
        self.base_errors = 0.004
        self.candidate_requests = 0
        """Drawn so far, whatever telemetry shows of them."""
        self._late: dict[int, list[WindowPart]] = {}
        self._spells, self._spell = np.random.default_rng((seed, 1)), 1.0
        self._drifts, self._drift = np.random.default_rng((seed, 2)), dict[str, float]()

    def window(self, number: int, weight: float, fault: Fault = HEALTHY, stable: str = STABLE) -> ClosedWindow:
        """Window ``number`` with the candidate at this weight (0: none yet). Late parts of earlier windows come along."""
        rate, wave = self._rate(number)
        share = weight * self.condition.skew if weight < 1 else 1.0
        many = self._many(rate, share) if self.condition.many else None
        counts = (self.rng.poisson(rate * (1 - share)), self.rng.poisson(rate * share)) if many is None else many.calls
        self.candidate_requests += int(counts[1])
        edges: list[EdgeWindow] = []
        services: list[ServiceWindow] = []
        exposures: list[ExposureWindow] = []
        drifts = self._drifted(stable), self._drifted(CANDIDATE)
        for version, count, ill, drift in zip((stable, CANDIDATE), counts, (HEALTHY, fault), drifts, strict=True):
            if count:
                self._version(version, int(count), ill, wave * drift, many, edges, services, exposures)
        if many is not None:
            exposures += self._standing(stable, many, fault, wave)
        if self.condition.aside:
            version, ill = (CANDIDATE, fault) if weight >= 1 else (stable, HEALTHY)
            self._beside(version, int(self.rng.poisson(rate * self.condition.aside)), ill, wave, edges, services, exposures)
        slow_db = 1.0 + (fault.db_slower - 1.0) * min(1.0, weight * 4) if weight > 0 else 1.0
        self._around(rate, wave, slow_db, (int(counts[0]), int(counts[1])), drifts, many, edges, services)
        part = WindowPart("prod", 0, number * WINDOW_SECONDS, 0, tuple(edges), tuple(services), tuple(exposures))
        if self.condition.noisy:
            part = slowed(part, self._slowness())
        part = self._degraded(part, number)
        return ClosedWindow(number * WINDOW_SECONDS, (part, *self._late.pop(number, [])))

    def _many(self, rate: float, share: float) -> Many:
        """Each call goes to a version by weight, and each request stands for the version of one."""
        requests, times = int(self.rng.poisson(rate)), self.condition.times
        many = int(self.rng.binomial(requests, self.condition.many))
        ours = self.rng.binomial(times, share, many)
        candidate = int(self.rng.binomial(requests - many, share))
        return Many(times, ours, self.rng.random(many) * times < ours, (requests - many - candidate, candidate))

    def _standing(self, stable: str, many: Many, ill: Fault, wave: float) -> Iterator[ExposureWindow]:
        """What entered, by what it stands for; requests with many calls fail where any does, and last as long as all."""
        well = min(1.0, self.base_errors * wave)
        failing = (well, 1.0 if ill.dead else min(1.0, well + ill.errors))
        safe = (1 - failing[1]) ** many.ours * (1 - failing[0]) ** (many.times - many.ours)
        failed = np.ones(len(safe), dtype=bool) if self.condition.shared else self.rng.random(len(safe)) >= safe
        touched = many.ours < many.times, many.ours > 0
        for of, version in enumerate((stable, CANDIDATE)):
            once, mine = many.once[of], many.drawn == bool(of)
            if of and ill.dead:
                requests = once + int(touched[of].sum())
                latency = self._latencies(requests, _FAST, 1.0)
                yield ExposureWindow("frontend", "cart", version, Exposure.POSSIBLE, requests, requests, latency)
                continue
            slower, tail = (wave * ill.slower, ill.tail_slower) if of else (wave, 1.0)
            for which, elsewhere in ((mine, False), (touched[of] & ~mine, True)):
                requests, errors = int(which.sum()), int(failed[which].sum())
                part = float(many.ours[which].mean()) / many.times if requests else 0.0
                each = wave * (1 + (ill.slower - 1) * part)
                latency = self._with_tail(requests, _ENTRY, 0.5 * wave + 0.5 * many.times * each, tail)
                if not elsewhere:
                    requests, errors = requests + once, errors + int(self.rng.binomial(once, failing[of]))
                    latency = _sum(latency, self._with_tail(once, _ENTRY, 0.5 * wave + 0.5 * slower, tail))
                yield ExposureWindow("frontend", "cart", version, Exposure.EXPOSED, requests, errors, latency, elsewhere)

    def _rate(self, number: int) -> tuple[float, float]:
        rate, wave = self.rps * WINDOW_SECONDS, 1.0
        if self.condition.wave:
            swing = math.sin(self.phase + 2 * math.pi * number / self.day_windows)
            rate, wave = rate * (1 + 0.5 * swing), 1 + 0.2 * swing
        if self.condition.bursts:
            rate *= float(self.rng.gamma(2.0, 0.5, WINDOW_SECONDS).mean())
        return rate, wave

    def _slowness(self) -> float:
        """How many times as long everything takes in the next window: drawn apart, so that a seed's traffic is that of a quiet machine."""
        if self._spell > 1.0:
            self._spell = 1.0 if self._spells.random() < _SPELL_ENDS else self._spell
        elif self._spells.random() < _SPELL_BEGINS:
            low, high = map(math.log, _SPELL_SLOWER)
            self._spell = math.exp(self._spells.uniform(low, high))
        return self._spell

    def _drifted(self, version: str) -> float:
        """By what a version is slower and fails more than usual in the next window, though nothing is wrong with it."""
        size, correlation = self.condition.drift
        if size == 0.0:
            return 1.0
        fresh = float(self._drifts.normal(0.0, size))
        before = self._drift.get(version, float(self._drifts.normal(0.0, size)))
        now = self._drift[version] = correlation * before + math.sqrt(1.0 - correlation**2) * fresh
        return math.exp(now)

    def _version(
        self,
        version: str,
        count: int,
        ill: Fault,
        wave: float,
        many: Many | None,
        edges: list[EdgeWindow],
        services: list[ServiceWindow],
        exposures: list[ExposureWindow],
    ) -> None:
        if ill.dead:
            client = self._latencies(count, _FAST, 1.0)
            edges.append(EdgeWindow("checkout", "cart", EdgeKind.CALL, "#1", UNKNOWN_VERSION, count, count, count, count, client=client))
            if many is None:
                exposures.append(ExposureWindow("frontend", "cart", version, Exposure.POSSIBLE, count, count, client))
            return
        tries = count - many.once[version == CANDIDATE] if many is not None and self.condition.shared else 0
        errors = tries + self._events(count - tries, min(1.0, self.base_errors * wave + ill.errors))
        slower = ill.slower * wave
        server = self._with_tail(count, _LATENCY, slower, ill.tail_slower)
        client = self._with_tail(count, _LATENCY, slower * 1.1, ill.tail_slower)
        gap = self._latencies(count, _GAP if ill.gap_ms == 0 else (1.0 + ill.gap_ms, 0.15), 1.0)
        edges.append(EdgeWindow("checkout", "cart", EdgeKind.CALL, "#1", version, count, errors, count, errors, client, server, gap))
        services.append(ServiceWindow("cart", version, count, errors, count, 0, server))
        if many is None:
            entry = self._with_tail(count, _ENTRY, 0.5 * wave + 0.5 * slower, ill.tail_slower)
            exposures.append(ExposureWindow("frontend", "cart", version, Exposure.EXPOSED, count, errors, entry))
        for callee, kind, calls in (
            ("db", EdgeKind.DATABASE, 2.0),
            ("stock", EdgeKind.CALL, 1.0 * ill.stock_calls),
            ("pricing", EdgeKind.CALL, 1.0 * ill.pricing_calls),
        ):
            made = int(self.rng.poisson(count * calls))
            if callee == "stock" and self.condition.lists:
                made += int(_LIST * calls * self.rng.binomial(count, self.condition.lists))
            to = UNKNOWN_VERSION if kind is EdgeKind.DATABASE else "#1"
            failed = self._events(made, 0.001)
            latency = self._latencies(made, _FAST, wave)
            edges.append(EdgeWindow("cart", callee, kind, version, to, made, failed, made, failed, latency, latency))
        sent = int(self.rng.poisson(count * 0.2))
        latency = self._latencies(sent, _FAST, wave)
        edges.append(EdgeWindow("cart", "mail", EdgeKind.MESSAGE, version, "#1", sent, 0, sent, 0, latency, latency))

    def _beside(
        self,
        version: str,
        count: int,
        ill: Fault,
        wave: float,
        edges: list[EdgeWindow],
        services: list[ServiceWindow],
        exposures: list[ExposureWindow],
    ) -> None:
        """The requests of a batch, which calls nothing on."""
        errors = count if ill.dead else self._events(count, min(1.0, self.base_errors * wave + ill.errors))
        latency = self._with_tail(count, _LATENCY, 0.2 * wave * ill.slower, ill.tail_slower)
        to, exposure = (UNKNOWN_VERSION, Exposure.POSSIBLE) if ill.dead else (version, Exposure.EXPOSED)
        server = Sketch() if ill.dead else latency
        edges.append(EdgeWindow("batch", "cart", EdgeKind.CALL, "#1", to, count, errors, count, errors, latency, server))
        services.append(ServiceWindow("batch", "#1", count, errors, count, count, latency, errors))
        exposures.append(ExposureWindow("batch", "cart", version, exposure, count, errors, latency))
        if not ill.dead:
            services.append(ServiceWindow("cart", version, count, errors, count, 0, latency))

    def _around(
        self,
        rate: float,
        wave: float,
        slow_db: float,
        counts: tuple[int, int],
        drifts: tuple[float, float],
        many: Many | None,
        edges: list[EdgeWindow],
        services: list[ServiceWindow],
    ) -> None:
        """Everybody else: the way in, the callees as their own spans see them, and the collateral users of the same callees."""
        total = sum(counts)
        mean = sum(count * drift for count, drift in zip(counts, drifts, strict=True)) / total if total else 1.0
        entered = total if many is None else many.requests
        ill = len(many.ours) if many is not None and self.condition.shared else 0
        for service, factor in (("frontend", 2.0), ("checkout", 1.0)):
            count = entered if service == "checkout" else int(self.rng.poisson(entered * (factor - 1))) + entered
            failed = ill + self._events(count - ill, self.base_errors * wave * mean)
            services.append(ServiceWindow(service, "#1", count, failed, count, count, self._latencies(count, _ENTRY, wave * mean)))
        for callee in CALLEES:
            count = int(self.rng.poisson(rate * 3))
            slower = wave * (slow_db if callee == "db" else 1.0)
            services.append(ServiceWindow(callee, "#1", count, self._events(count, 0.001), count, 0, self._latencies(count, _FAST, slower)))
        for number, service in enumerate(COLLATERAL):
            count = int(self.rng.poisson(rate))
            failed = self._events(count, self.base_errors * wave)
            slower = wave * (0.5 + 0.5 * slow_db)
            services.append(ServiceWindow(service, "#1", count, failed, count, count, self._latencies(count, _LATENCY, slower)))
            made = int(self.rng.poisson(count * 2))
            callee = CALLEES[number % len(CALLEES)]
            latency = self._latencies(made, _FAST, wave)
            edges.append(EdgeWindow(service, callee, EdgeKind.CALL, "#1", "#1", made, 0, made, 0, latency, latency))

    def _events(self, count: int, share: float) -> int:
        """How many of ``count`` outcomes happen; in runs of geometric length where outcomes are autocorrelated."""
        r = self.condition.autocorrelation
        if r == 0.0 or count == 0:
            return int(self.rng.binomial(count, share))
        return min(count, sum(length * int(self.rng.binomial(runs, share)) for length, runs in self._runs(count)))

    def _runs(self, count: int) -> Iterator[tuple[int, int]]:
        """(length, number of runs) that make up about ``count`` requests."""
        r, left = self.condition.autocorrelation, count
        for length in range(_RUN_LENGTHS, 1, -1):
            runs = int(self.rng.binomial(max(1, round(count * (1 - r))), (1 - r) * r ** (length - 1)))
            runs = min(runs, left // length)
            left -= runs * length
            yield length, runs
        yield 1, left

    def _latencies(self, count: int, base: tuple[float, float], factor: float) -> Sketch:
        if count == 0:
            return EMPTY
        first, probabilities = latencies_of(*base, self.condition.alike)
        if self.condition.autocorrelation == 0.0:
            counts = self.rng.multinomial(count, probabilities)
        else:
            counts = np.zeros(len(probabilities), dtype=np.int64)
            for length, runs in self._runs(count):
                counts += length * self.rng.multinomial(runs, probabilities)
        at = np.nonzero(counts)[0]
        shift = first + round(math.log2(factor) * 32)
        return Sketch(tuple((at + shift).tolist()), tuple(counts[at].tolist()))

    def _with_tail(self, count: int, base: tuple[float, float], factor: float, tail: float) -> Sketch:
        """Latencies of which one in twenty is ``tail`` times longer."""
        if tail == 1.0:
            return self._latencies(count, base, factor)
        slow = int(self.rng.binomial(count, 0.05))
        return _sum(self._latencies(count - slow, base, factor), self._latencies(slow, base, factor * tail))

    def _degraded(self, part: WindowPart, number: int) -> WindowPart:
        condition = self.condition
        if condition.sampled:
            part = self._sampled_part(part)
        if condition.late:
            part = self._split_late(part, number)
        if condition.lost:
            part = self._with_losses(part)
        return part

    def _sampled_part(self, part: WindowPart) -> WindowPart:
        """Every error and one success in ten; with all its calls, where traces are kept or dropped as a whole."""
        kept: dict[tuple[str, str], tuple[int, ServiceWindow]] = {}
        for s in part.services:
            kept[s.service, s.version] = int(self.rng.binomial(s.requests - s.errors, _KEPT)), s
        if self.condition.sampled == "traces" and ("checkout", "#1") in kept:
            _, whole = kept["checkout", "#1"]
            below = sum(n for (service, _), (n, _) in kept.items() if service == "cart")
            kept["checkout", "#1"] = min(below, whole.requests - whole.errors), whole
        services = [self._sampled_service(s, n) for n, s in kept.values()]
        exposures = [self._sampled_exposure(e, kept) for e in part.exposures]
        return replace_rows(part, [self._sampled_edge(e, kept) for e in part.edges], services, exposures)

    def _sampled_exposure(self, e: ExposureWindow, kept: dict[tuple[str, str], tuple[int, ServiceWindow]]) -> ExposureWindow:
        """The traces that are kept, those of the kept requests of the version where traces are kept as a whole."""
        well = e.requests - e.errors
        if self.condition.sampled == "traces" and (e.service, e.version) in kept:
            successes = min(well, kept[e.service, e.version][0])
        else:
            successes = int(self.rng.binomial(well, _KEPT))
        requests = successes + e.errors
        latency = self._sampled(e.latency, requests / e.requests if e.requests else 0.0)
        return replace(e, requests=requests, latency=latency)

    def _sampled_edge(self, e: EdgeWindow, kept: dict[tuple[str, str], tuple[int, ServiceWindow]]) -> EdgeWindow:
        successes, failures = self._kept_calls(e, kept)
        calls = successes + failures + e.errors
        share = calls / e.calls if e.calls else 0.0
        return EdgeWindow(
            e.caller,
            e.callee,
            e.kind,
            e.caller_version,
            e.callee_version,
            calls,
            e.errors,
            successes / _KEPT + failures + e.errors,
            e.errors,
            self._sampled(e.client, share),
            self._sampled(e.server, share),
            self._sampled(e.gap, share, slow=False),
        )

    def _kept_calls(self, e: EdgeWindow, kept: dict[tuple[str, str], tuple[int, ServiceWindow]]) -> tuple[int, int]:
        """Calls that did not fail, of requests that did not fail and of ones that did."""
        well = e.calls - e.errors
        if self.condition.sampled == "spans":
            return int(self.rng.binomial(well, _KEPT)), 0
        if (e.callee, e.callee_version) in kept and e.callee == "cart":
            return min(well, kept[e.callee, e.callee_version][0]), 0
        if (e.caller, e.caller_version) not in kept:
            return int(self.rng.binomial(well, _KEPT)), 0
        requests, caller = kept[e.caller, e.caller_version]
        successes = int(self.rng.binomial(well, requests / max(1, caller.requests)))
        return successes, int(self.rng.binomial(well - successes, caller.errors / max(1, caller.requests - requests)))

    def _sampled_service(self, s: ServiceWindow, kept: int) -> ServiceWindow:
        requests = kept + s.errors
        share = requests / s.requests if s.requests else 0.0
        return ServiceWindow(s.service, s.version, requests, s.errors, kept / _KEPT + s.errors, s.roots, self._sampled(s.latency, share))

    def _sampled(self, sketch: Sketch, share: float, slow: bool = True) -> Sketch:
        """A share of the latencies; all above 100 ms where slow requests are kept."""
        if not sketch.indices:
            return sketch
        limit = round(math.log2(100_000) * 32)
        kept = np.where(slow & (np.array(sketch.indices) > limit), 1.0, share)
        return _sketch(sketch.indices, self.rng.binomial(sketch.counts, kept))

    def _split_late(self, part: WindowPart, number: int) -> WindowPart:
        """A share of every row moves to a late part that comes a minute later."""
        late_edges, edges = zip(*[self._divided_edge(e) for e in part.edges], strict=True)
        late_services, services = zip(*[self._divided_service(s) for s in part.services], strict=True)
        divided = [self._divided_exposure(e) for e in part.exposures]
        late = WindowPart("prod", 0, part.window, 1, late_edges, late_services, tuple(late for late, _ in divided))
        self._late.setdefault(number + _LATE_WINDOWS, []).append(late)
        return replace_rows(part, edges, services, [rest for _, rest in divided])

    def _divided_edge(self, e: EdgeWindow) -> tuple[EdgeWindow, EdgeWindow]:
        share = self.condition.late
        errors = int(self.rng.binomial(e.errors, share))
        calls = errors + int(self.rng.binomial(e.calls - e.errors, share))
        halves = [self._halved(sketch, share) for sketch in (e.client, e.server, e.gap)]
        ratio = e.estimated_calls / e.calls if e.calls else 1.0

        def row(c: int, x: int, which: int) -> EdgeWindow:
            return EdgeWindow(
                e.caller, e.callee, e.kind, e.caller_version, e.callee_version, c, x, c * ratio, x, *(h[which] for h in halves)
            )

        return row(calls, errors, 0), row(e.calls - calls, e.errors - errors, 1)

    def _divided_service(self, s: ServiceWindow) -> tuple[ServiceWindow, ServiceWindow]:
        share = self.condition.late
        errors = int(self.rng.binomial(s.errors, share))
        requests = errors + int(self.rng.binomial(s.requests - s.errors, share))
        latency = self._halved(s.latency, share)
        ratio = s.estimated_requests / s.requests if s.requests else 1.0

        def row(n: int, x: int, which: int) -> ServiceWindow:
            return ServiceWindow(s.service, s.version, n, x, n * ratio, 0, latency[which])

        return row(requests, errors, 0), row(s.requests - requests, s.errors - errors, 1)

    def _divided_exposure(self, e: ExposureWindow) -> tuple[ExposureWindow, ExposureWindow]:
        share = self.condition.late
        errors = int(self.rng.binomial(e.errors, share))
        requests = errors + int(self.rng.binomial(e.requests - e.errors, share))
        latency = self._halved(e.latency, share)

        def row(n: int, x: int, which: int) -> ExposureWindow:
            return replace(e, requests=n, errors=x, latency=latency[which])

        return row(requests, errors, 0), row(e.requests - requests, e.errors - errors, 1)

    def _halved(self, sketch: Sketch, share: float) -> tuple[Sketch, Sketch]:
        if not sketch.indices:
            return EMPTY, EMPTY
        late = self.rng.binomial(sketch.counts, share)
        return _sketch(sketch.indices, late), _sketch(sketch.indices, np.array(sketch.counts) - late)

    def _with_losses(self, part: WindowPart) -> WindowPart:
        """Server halves are lost: their calls turn to version unknown, and failed ones among them look like a dead server."""
        edges: list[EdgeWindow] = []
        for e in part.edges:
            if e.callee_version == UNKNOWN_VERSION:
                edges.append(e)
                continue
            errors = int(self.rng.binomial(e.errors, self.condition.lost))
            calls = errors + int(self.rng.binomial(e.calls - e.errors, self.condition.lost))
            ratio = e.estimated_calls / e.calls if e.calls else 1.0
            left, gone = e.calls - calls, e.errors - errors
            edges.append(
                EdgeWindow(
                    e.caller,
                    e.callee,
                    e.kind,
                    e.caller_version,
                    e.callee_version,
                    left,
                    gone,
                    left * ratio,
                    gone,
                    e.client,
                    self._halved(e.server, 1 - self.condition.lost)[0],
                    e.gap,
                )
            )
            edges.append(EdgeWindow(e.caller, e.callee, e.kind, e.caller_version, UNKNOWN_VERSION, calls, errors, calls * ratio, errors))
        services = [self._thinned(s) for s in part.services]
        return replace_rows(part, edges, services, [self._thinned_exposure(e) for e in part.exposures])

    def _thinned(self, s: ServiceWindow) -> ServiceWindow:
        kept = 1 - self.condition.lost
        errors = int(self.rng.binomial(s.errors, kept))
        requests = errors + int(self.rng.binomial(s.requests - s.errors, kept))
        ratio = s.estimated_requests / s.requests if s.requests else 1.0
        return ServiceWindow(s.service, s.version, requests, errors, requests * ratio, s.roots, self._halved(s.latency, kept)[0])

    def _thinned_exposure(self, e: ExposureWindow) -> ExposureWindow:
        """Traces whose first span is lost enter nowhere that is known."""
        kept = 1 - self.condition.lost
        errors = int(self.rng.binomial(e.errors, kept))
        requests = errors + int(self.rng.binomial(e.requests - e.errors, kept))
        return replace(e, requests=requests, errors=errors, latency=self._halved(e.latency, kept)[0])


def slowed(part: WindowPart, factor: float) -> WindowPart:
    """A part in which everything took so many times as long, by whole buckets."""
    shift = round(math.log2(factor) * 32)
    if not shift:
        return part

    def later(sketch: Sketch) -> Sketch:
        return Sketch(tuple(index + shift for index in sketch.indices), sketch.counts)

    edges = [replace(e, client=later(e.client), server=later(e.server), gap=later(e.gap)) for e in part.edges]
    services = [replace(s, latency=later(s.latency)) for s in part.services]
    return replace_rows(part, edges, services, [replace(e, latency=later(e.latency)) for e in part.exposures])


def replace_rows(
    part: WindowPart, edges: Iterable[EdgeWindow], services: Iterable[ServiceWindow], exposures: Iterable[ExposureWindow]
) -> WindowPart:
    """A part with other rows."""
    return WindowPart(part.environment, part.partition, part.window, part.part, tuple(edges), tuple(services), tuple(exposures))


def _sketch(indices: tuple[int, ...], counts: np.ndarray) -> Sketch:
    at = np.nonzero(counts)[0].tolist()
    return Sketch(tuple([indices[i] for i in at]), tuple(counts[at].tolist()))


def _sum(a: Sketch, b: Sketch) -> Sketch:
    totals = dict(zip(a.indices, a.counts, strict=True))
    for index, count in zip(b.indices, b.counts, strict=True):
        totals[index] = totals.get(index, 0) + count
    return Sketch(tuple(sorted(totals)), tuple(totals[i] for i in sorted(totals)))
