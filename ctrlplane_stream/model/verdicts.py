"""The words of the gates: what the judge is asked, what it answers, and on what evidence.

The engine *assigns* (`Assignment`): these versions moved to this weight, these guards watch. The judge answers after every window
with a `Verdict`; judges outside the program answer in the same words under their own ``judge`` name. Shares are fractions of 1, latencies
milliseconds, windows the start of the window in whole seconds since the epoch.
"""

from enum import StrEnum

import msgspec

from ctrlplane_stream.model.identity import EdgeKey

OUR_JUDGE = "gates"
"""The ``judge`` of verdicts that our own judge gives; outside judges choose another name."""

INSTANCES = "instances"
"""The judge's name of lost readiness and crash loops, whose word needs no telemetry and no policy: the step fails by it."""


class VerdictStatus(StrEnum):
    """What a judge says of a step."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_DATA = "NO_DATA"


class GuardRole(StrEnum):
    """Why a service is watched, which fixes what it is compared with."""

    __hash__ = str.__hash__

    CHANGED = "changed"
    CALLER = "caller"
    CALLEE = "callee"
    COLLATERAL = "collateral"
    CONSUMER = "consumer"
    ENTRY = "entry"
    """The pooled exposure at the entry points; its guard names no service (``""``)."""


class Metric(StrEnum):
    """What is measured."""

    __hash__ = str.__hash__
    """An enumeration's own is written in Python, and the judge looks metrics up thousands of times a window."""

    ERROR_RATIO = "error_ratio"
    """Share of requests that failed."""
    LATENCY_P50 = "latency_p50"
    """Median time to answer."""
    LATENCY_P99 = "latency_p99"
    """Time within which 99 of 100 requests were answered."""
    NETWORK_GAP = "network_gap"
    """What the caller waited beyond what the callee took: a fault of the network shows nowhere else."""
    CALLS_PER_REQUEST = "calls_per_request"
    """Calls that a service makes for each request: retries and lost caches show here."""
    LOST_CALLS = "lost_calls"
    """Failed client halves whose server never answered with a span, over the rate before the step."""
    SAMPLE_RATIO = "sample_ratio"
    """Arrivals at the candidate against its weight: never a FAIL, but no PASS while it is proven wrong."""


HARM_METRICS = (
    Metric.ERROR_RATIO,
    Metric.LATENCY_P50,
    Metric.LATENCY_P99,
    Metric.NETWORK_GAP,
    Metric.CALLS_PER_REQUEST,
    Metric.LOST_CALLS,
)
"""The metrics that can FAIL a step; the error budget is split over them."""

LIMITED_METRICS = (Metric.ERROR_RATIO, Metric.LATENCY_P50, Metric.LATENCY_P99, Metric.NETWORK_GAP)
"""What an absolute limit can be set to: lost calls are of no version, and the rest is harm by stable or the weight only."""

PROVEN_METRICS = (*LIMITED_METRICS, Metric.LOST_CALLS)
"""What can be proven harmless: calls per request are bet on for harm only."""


class Comparison(StrEnum):
    """What the candidate's numbers are held against."""

    __hash__ = str.__hash__

    VERSIONS = "versions"
    """Candidate against stable on the same edges in the same windows."""
    EXPOSURE = "exposure"
    """Requests that stand for the candidate against those that stand for stable, by one call of each, in the same windows."""
    BASELINE = "baseline"
    """This step against the windows before the rollout: a before/after comparison, and it says so."""
    LIMIT = "limit"
    """The candidate against an absolute limit of the policy."""


class OnUnprovable(StrEnum):
    """What happens where the traffic cannot prove the margin within the step's maximum time."""

    SOAK = "soak"
    """PASS marked unproven after ``soak_windows`` without harm shown and without standing doubt."""
    HOLD = "hold"
    """INCONCLUSIVE until somebody widens the margin, enlarges the step or promotes."""
    APPROVAL = "approval"
    """INCONCLUSIVE until an outside judge with the right to approve says PASS."""


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An absolute limit (SLO) of the changed services' metric: a share for ratios, milliseconds for latencies."""

    metric: Metric
    """What is limited: error_ratio, latency_p50, latency_p99 or network_gap."""
    maximum: float
    """The largest value that is no breach: of error_ratio a share from 0 to 1."""


class OutsideJudge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a judge outside the program may do: stop a step (veto), let an unproven one pass (approve), or be waited for (required)."""

    name: str
    """The ``judge`` of its verdicts."""
    may_veto: bool = True
    """Its FAIL stops the step."""
    may_approve: bool = False
    """Its PASS lets a step pass that could not be proven, after the step's own ``min_seconds`` and ``min_windows`` (the bounds of ``gate``
    are for our proof); such a step waits for it rather than soak."""
    required: bool = False
    """No step passes without its PASS."""


class GatePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How sure the judge must be, of what, and how long it may take.

    The defaults need no tuning for most services: at 100 requests a second and a first weight of 5% a healthy step is proven within
    a few minutes. ``ctrlplane-stream gates plan`` says what a given traffic can prove.
    """

    metrics: tuple[Metric, ...] = HARM_METRICS
    """Metrics that can FAIL a step, besides those of ``proof``."""
    proof: tuple[Metric, ...] = (Metric.ERROR_RATIO, Metric.LATENCY_P99)
    """Metrics of the required guards that must be *proven* within their margin for a PASS, and are asked therefore; empty: minimum samples
    suffice. Harm only is found by calls_per_request, and neither by sample_ratio: these cannot be named."""
    alpha: float = 0.01
    """Chance of a false abort of a whole rollout, however often it climbs again: split over its guards, metrics, steps and climbs."""
    false_pass: float = 0.05
    """Chance that a step passes a metric that is truly beyond its margin (every proof must hold, so it is not split)."""
    error_margin: float = 0.01
    """Rise of the error share that does no harm (absolute: 0.01 is one call in a hundred)."""
    latency_margin: float = 0.25
    """Relative rise of a latency quantile that does no harm (rounded up to the sketch's buckets of 2.2%)."""
    latency_slack_ms: float = 5.0
    """Absolute rise of a latency quantile that does no harm, whatever its share: nobody aborts for 1 ms becoming 2 ms."""
    calls_margin: float = 0.25
    """Relative change of calls per request, up or down, that does no harm."""
    lost_margin: float = 0.01
    """Rise of the share of calls lost without a server span that does no harm, of the candidate's own share of the calls."""
    baseline_margin_factor: float = 2.0
    """Margins of before/after comparisons are this many times wider, but `lost_margin`, which is of none else: time itself changes
    services."""
    sample_ratio_tolerance: float = 2.0
    """Arrivals at the candidate may be off its weight by this factor either way."""
    limits: tuple[Limit, ...] = ()
    """Absolute limits; one that stable breaches too is pre-existing and neither fails nor blocks."""
    warm_up_windows: int | msgspec.UnsetType = msgspec.UNSET
    """First windows of a step whose latencies (of the changed services, at their callers and at the entry points) are not judged, as fresh
    instances warm up: compilers, caches, pools; 1 unless said. All else is judged from the first window on."""
    minimum_windows: int = 3
    """Judged windows before a PASS: those in which the changed services had requests."""
    minimum_samples: int = 50
    """Candidate requests before a PASS, but for a step that soaks because they will not come: that wants its windows, and one request."""
    maximum_windows: int = 60
    """Windows, with requests or without, within which a step must be proven, or it is unprovable (10 minutes of 10 s windows)."""
    soak_windows: int = 12
    """Judged windows that an unprovable step soaks before it passes unproven."""
    on_unprovable: OnUnprovable = OnUnprovable.SOAK
    """What the judge does with a step that this traffic cannot prove; a policy's own ``on_unprovable`` outranks SOAK if it is not that."""
    silent_windows: int = 3
    """Windows in a row without one request to the changed service, whatever its version, before the step has NO_DATA. Where only the
    candidate gets none it has NO_DATA once ten of its requests were due: at a small weight a window without any is nothing unusual."""
    outside: tuple[OutsideJudge, ...] = ()
    """Outside judges that have a say, by name; others are recorded and not heard."""

    @property
    def warm_up(self) -> int:
        """How many windows warm up. Where nobody said so it is not written: builds that do not know the field refuse it."""
        return 1 if self.warm_up_windows is msgspec.UNSET else self.warm_up_windows


class Change(msgspec.Struct, frozen=True):
    """A changed service with its two version labels as telemetry carries them; ``stable`` is None for a first version."""

    service: str
    candidate: str
    stable: str | None = None


class Guard(msgspec.Struct, frozen=True):
    """A service that is watched, and why. Only required guards must prove a PASS; all may veto."""

    service: str
    role: GuardRole
    required: bool = False


class Concurrent(msgspec.Struct, frozen=True):
    """Another change under way at the same time, which may explain a harm."""

    rollout: str
    service: str
    version: str


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one rollout that the judge is to watch.

    ``weight`` is the candidate's confirmed share of traffic (0..1]; only windows that start at or after ``weight_confirmed_at_ms``
    count. ``steps`` is the number of steps of the whole rollout, over which the error budget is split; ``attempt`` counts its
    assignments from 1, retries included, which says how much of the budget is left.
    """

    rollout: str
    environment: str
    step: int
    attempt: int
    changed: tuple[Change, ...]
    guards: tuple[Guard, ...]
    weight: float
    weight_confirmed_at_ms: int
    steps: int
    window_seconds: int = 10
    entry_points: tuple[str, ...] = ()
    policy: GatePolicy = GatePolicy()
    concurrent: tuple[Concurrent, ...] = ()
    advised: bool = False
    """Another tool makes this rollout, and ``weight`` is what was seen of it: nothing was commanded."""
    baking: bool = False
    """The candidate is at 100 and bakes: there is no stable traffic, comparisons are with the baseline."""
    counts_harm: bool = False
    """Whether what the candidates harm is counted, for an exposure budget."""


class Arm(msgspec.Struct, frozen=True, gc=False):
    """One side of a comparison, summed over the windows used: ``events`` of ``total`` and the value in the metric's unit."""

    events: float = 0.0
    total: float = 0.0
    value: float | None = None


class MetricEvidence(msgspec.Struct, frozen=True, gc=False):
    """What one metric of one guard says.

    ``effect`` is candidate minus stable for shares, candidate over stable for latencies and rates. ``interval`` covers the true
    effect at all windows at once with probability 1 - alpha of this metric (a confidence sequence); None where nothing can be said.
    ``e_value`` is the evidence for harm beyond the margin, ``threshold`` where it suffices for FAIL; ``p_value`` = min(1, 1/e_value),
    valid at every look. ``proof`` is the evidence for "within the margin" where a proof is asked, ``proof_threshold`` where it suffices.
    """

    name: Metric
    guard: str
    role: GuardRole
    comparison: Comparison
    edge: EdgeKey | None = None
    stable: Arm = Arm()
    candidate: Arm = Arm()
    effect: float | None = None
    interval: tuple[float | None, float | None] | None = None
    margin: float = 0.0
    e_value: float = 1.0
    p_value: float = 1.0
    threshold: float = 0.0
    proof: float | None = None
    proof_threshold: float | None = None
    status: VerdictStatus = VerdictStatus.INCONCLUSIVE
    windows: int = 0
    missing: str | None = None
    pre_existing: bool = False


class Culprit(msgspec.Struct, frozen=True):
    """Which version of which service carries the harm, seen on which edge, and what else could explain it.

    ``metric`` is None where no telemetry says so (lost readiness, a crash loop).
    """

    service: str
    version: str
    metric: Metric | None = None
    edge: EdgeKey | None = None
    explained_by: Concurrent | None = None


class NoDataCause(StrEnum):
    """Why there is nothing to judge by."""

    SILENT_SERVICE = "silent_service"
    PIPELINE_LATE = "pipeline_late"


class Coverage(msgspec.Struct, frozen=True):
    """How much of the traffic the evidence rests on.

    ``observed`` is observed over estimated calls (sampling); ``late`` the share that came in late parts and was counted;
    ``dropped`` the share that came too late for this step; ``unknown`` the share of calls whose callee version is unknown;
    ``lag_seconds`` the pipeline's lag.
    """

    observed: float = 1.0
    late: float = 0.0
    dropped: float = 0.0
    unknown: float = 0.0
    lag_seconds: float = 0.0


class Harm(msgspec.Struct, frozen=True):
    """Requests of this step that touched the candidate of a service, or may have: how many ``failed``, and of how many of those it is
    ``expected`` that they would have failed anyhow. ``variance`` is that of the difference, by chance alone."""

    service: str
    failed: float = 0.0
    expected: float = 0.0
    variance: float = 0.0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a judge says of one step after one window, or outside the windows (readiness, crash loops, outside judges).

    ``proven`` is False for a PASS that rests on a soak or an approval rather than on evidence within the margins. ``window`` is None
    for a verdict that rests on no telemetry. A verdict about another attempt or step is ignored by the engine.
    """

    judge: str
    environment: str
    rollout: str
    step: int
    attempt: int
    status: VerdictStatus
    reason: str
    window: int | None = None
    windows_judged: int = 0
    proven: bool = False
    metrics: tuple[MetricEvidence, ...] = ()
    culprit: Culprit | None = None
    no_data: NoDataCause | None = None
    contradicted: bool = False
    """What arrives contradicts the weight that the world confirmed: no time mends that, so nothing soaks through it."""
    doubtful: bool = False
    """Not for want of traffic: evidence speaks for harm that it does not prove, or cannot be weighed, so that no soak settles it. It passes
    by proof, a person's word or a judge who may approve."""
    coverage: Coverage = Coverage()
    harm: tuple[Harm, ...] = ()
    """What the candidates harmed in this step, by service; our judge tells it where it is asked to count it."""
