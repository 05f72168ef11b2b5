"""How long a step must last, before it begins: what a traffic can find (the check is played: `foreseen`) and prove (by growth of bets).

Expected requests of a proof are wanted capital over growth per request (Wald 1947, 3.5). A step waits for the slowest of its proofs,
and the spread of such times is wide: half of all steps take longer than said, one in twenty up to three times as long.
"""

import math
from typing import NamedTuple

import msgspec
from msgspec.structs import asdict, replace

from ctrlplane_stream.decision.judge.foreseen import PAST_WINDOWS, Rise, expected_windows, sufficient_windows
from ctrlplane_stream.decision.judge.outlook import NEVER, requests_needed
from ctrlplane_stream.decision.judge.questions import FIRST_PASS, REQUIRED_QUESTIONS, shares
from ctrlplane_stream.decision.stats.betting import divergence
from ctrlplane_stream.decision.stats.intervals import lower_share
from ctrlplane_stream.model.verdicts import GatePolicy, Metric

_SLOWEST = 1.4
"""By how much the time in which half of all steps have a proof exceeds what is expected of one: each is asked of the service and of the
entry points (the median of the longer of two inverse Gaussian times, whose shape is half the wanted capital, is 1.15 of their mean), and
independent requests seem to scatter some 14% more than they do. Drawn, it is 1.2 to 1.6."""
_P99_SCORE = 2.3263478740408408


class Traffic(NamedTuple):
    """What a step has to go by: requests a second of the whole service, the candidate's share of them (0..1), stable's share of errors.

    ``p99_over_p50`` is the spread of latencies, taken to be lognormal; ``window_seconds`` how often the judge looks.
    """

    rps: float
    weight: float
    error_share: float = 0.005
    p99_over_p50: float = 3.0
    window_seconds: float = 10.0


class ProofPlan(msgspec.Struct, frozen=True):
    """Seconds in which half of all steps have each proof; NEVER (infinity) where it cannot be had.

    ``samples_seconds`` is until the least number of requests came that a PASS needs. ``step_seconds`` is how long a step without harm
    lasts until all is had that the policy wants proven, in whole windows and no less than its minimum; ``provable`` whether that is within
    its maximum. ``provable_margin`` is the least `error_margin` that is, 1 where none is.
    """

    error_proof_seconds: float
    latency_proof_seconds: float
    samples_seconds: float
    step_seconds: float
    windows: float
    provable: bool
    provable_margin: float


class StepPlan(ProofPlan, frozen=True, kw_only=True):
    """As `ProofPlan`; and seconds until harm of the wanted size is found, in half of all cases and in 19 of 20, NEVER where it is not.

    A policy that does not ask after failed requests never finds a rise of them.

    ``margin`` is the error margin used: the policy's, twice as wide or as the policy says where the past is compared with; or half of what
    is to be detected where that lies within. Harm may take longer to be found than a step lasts: until then it is in the way of the proofs,
    and no such step passes as proven but by the chance ``false_pass``.
    """

    margin: float
    detect_seconds: float
    detect_within_seconds: float


def duration(seconds: float) -> str:
    """How long that is, as people say it: ``45 s``, ``43 min``, ``2.5 h``; never for NEVER."""
    if math.isinf(seconds):
        return "never"
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def plan_step(traffic: Traffic, detect: float, policy: GatePolicy, *, questions: int, steps: int) -> StepPlan:
    """The plan of one step that is to find a rise of the error share by ``detect`` (absolute) at the changed service, with ``questions``
    sharing the error budget, of which the changed service and the entry points are asked the usual ones."""
    factor = margin_factor(traffic, policy)
    allowed = factor * policy.error_margin
    margin = allowed if detect > allowed else detect / 2
    alpha = policy.alpha * FIRST_PASS / (max(1.0, _shares(questions)) * steps)
    harmed = min(0.999, traffic.error_share + detect)
    ours = traffic.rps * traffic.weight * traffic.window_seconds
    rise = Rise(traffic.error_share, harmed, margin, ours * _ratio(traffic.weight), ours)
    found, within = (expected_windows(rise, alpha), sufficient_windows(rise, alpha)) if finds_errors(policy) else (NEVER, NEVER)
    proof = plan_proof(traffic, replace(policy, error_margin=margin / factor) if factor else policy)
    return StepPlan(
        **asdict(proof),
        margin=margin,
        detect_seconds=found * traffic.window_seconds,
        detect_within_seconds=within * traffic.window_seconds,
    )


def plan_proof(traffic: Traffic, policy: GatePolicy) -> ProofPlan:
    """How long a step without harm lasts."""
    rate, share, factor = traffic.rps * traffic.weight, traffic.error_share, margin_factor(traffic, policy)
    errors = _requests_needed(traffic, share, share, factor * policy.error_margin, policy) / rate
    tail = _latency_requests(traffic, factor * policy.latency_margin, policy) / rate
    samples = policy.minimum_samples / rate
    proofs = {Metric.ERROR_RATIO: errors, Metric.LATENCY_P99: tail}
    longest = max([samples, *(seconds for metric, seconds in proofs.items() if metric in policy.proof)])
    windows = max(float(policy.minimum_windows), longest / traffic.window_seconds)
    windows = NEVER if math.isinf(windows) else float(math.ceil(windows))
    return ProofPlan(
        errors,
        tail,
        samples,
        windows * traffic.window_seconds,
        windows,
        windows <= policy.maximum_windows,
        _provable_margin(traffic, policy) / (factor or 1.0),
    )


def finds_errors(policy: GatePolicy) -> bool:
    """Whether a policy asks after failed requests; one that does not knows of them by its absolute limits alone, if at all."""
    return Metric.ERROR_RATIO in policy.metrics or Metric.ERROR_RATIO in policy.proof


def margin_factor(traffic: Traffic, policy: GatePolicy) -> float:
    """How many times the policy's margins are as wide: where no stable is beside the candidate, the past is compared with."""
    return policy.baseline_margin_factor if traffic.weight >= 1 else 1.0


def _shares(questions: int) -> float:
    required = min(REQUIRED_QUESTIONS, questions)
    return shares(required, questions - required)


def _ratio(weight: float) -> float:
    """Stable requests to each of the candidate."""
    return (1 - weight) / weight if weight < 1 else 0.0


def _requests_needed(traffic: Traffic, share: float, well: float, margin: float, policy: GatePolicy) -> float:
    """Candidate requests that prove a share no more than the margin above ``share``, if it is ``well``; where the past is the other side,
    above the lower bound of what that was, which takes half of the level."""
    if traffic.weight < 1:
        return _SLOWEST * requests_needed(share, well, margin, _ratio(traffic.weight), policy.false_pass)
    level, past = policy.false_pass / 2, PAST_WINDOWS * traffic.window_seconds * traffic.rps
    floor = lower_share(share * past, past, level) + margin
    return _SLOWEST * -math.log(level) / divergence(well, floor) if well < floor < 1 else NEVER


def _latency_requests(traffic: Traffic, margin: float, policy: GatePolicy) -> float:
    sigma = math.log(traffic.p99_over_p50) / _P99_SCORE
    well = 0.5 * math.erfc((_P99_SCORE + math.log(1 + margin) / sigma) / math.sqrt(2))
    return _requests_needed(traffic, 0.01, well, 0.0, policy)


def _provable_margin(traffic: Traffic, policy: GatePolicy) -> float:
    """The smallest error margin that this traffic can prove within the policy's maximum time; 1 where none."""
    seconds = policy.maximum_windows * traffic.window_seconds
    low, high = 0.0, 1.0 - traffic.error_share - 1e-6
    for _ in range(40):
        middle = (low + high) / 2
        need = _requests_needed(traffic, traffic.error_share, traffic.error_share, middle, policy)
        low, high = (low, middle) if need / (traffic.rps * traffic.weight) <= seconds else (middle, high)
    return high
