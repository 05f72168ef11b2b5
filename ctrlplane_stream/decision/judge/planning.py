"""How long a step must last, before it begins: what a traffic can find and prove, by the growth of the bets.

Expected requests are wanted capital over growth per request (Wald 1947, 3.5), to which the judge's mixture adds log(1/0.2) nats for
finding harm. The spread of such times is wide: half of all steps take longer than the expectation says, so plan with room.
"""

import math
from typing import NamedTuple

from ctrlplane_stream.decision.judge.outlook import NEVER, requests_needed
from ctrlplane_stream.decision.judge.questions import FIRST_PASS, REQUIRED_QUESTIONS, shares
from ctrlplane_stream.decision.stats.betting import growth
from ctrlplane_stream.model.verdicts import GatePolicy, Metric

_MIXTURE = math.log(1 / 0.2)
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


class StepPlan(NamedTuple):
    """Expected seconds until harm of the wanted size is found and until each proof is had; NEVER (infinity) where it cannot be.

    ``margin`` is the error margin used: the policy's, or half of what is to be detected where that is less. ``samples_seconds`` is until
    the least number of requests came that a PASS needs. ``step_seconds`` is how long a step without harm lasts until all is had that the
    policy wants proven, in whole windows and no less than its minimum; ``provable`` whether that is within its maximum. Harm may take
    longer to be found: until then it is in the way of the proofs, and no such step passes as proven but by the chance ``false_pass``.
    """

    margin: float
    detect_seconds: float
    error_proof_seconds: float
    latency_proof_seconds: float
    samples_seconds: float
    step_seconds: float
    windows: float
    provable: bool
    provable_margin: float


def plan_step(traffic: Traffic, detect: float, policy: GatePolicy, *, questions: int, steps: int) -> StepPlan:
    """The plan of one step that is to find a rise of the error share by ``detect`` (absolute) at the changed service, with ``questions``
    sharing the error budget, of which the changed service and the entry points are asked the usual ones."""
    rate, ratio = traffic.rps * traffic.weight, _ratio(traffic.weight)
    margin = min(policy.error_margin, detect / 2)
    wanted = -math.log(_left(policy.alpha * FIRST_PASS, traffic.weight) / (_shares(questions) * steps)) + _MIXTURE
    harmed = min(0.999, traffic.error_share + detect)
    found = wanted / growth(traffic.error_share, harmed, margin, ratio) / rate
    false_pass = _left(policy.false_pass, traffic.weight)
    errors = requests_needed(traffic.error_share, traffic.error_share, margin, ratio, false_pass) / rate
    tail = _latency_requests(traffic, policy) / rate
    samples = policy.minimum_samples / rate
    proofs = {Metric.ERROR_RATIO: errors, Metric.LATENCY_P99: tail}
    longest = max([samples, *(seconds for metric, seconds in proofs.items() if metric in policy.proof)])
    windows = max(float(policy.minimum_windows), longest / traffic.window_seconds)
    windows = NEVER if math.isinf(windows) else float(math.ceil(windows))
    return StepPlan(
        margin,
        found,
        errors,
        tail,
        samples,
        windows * traffic.window_seconds,
        windows,
        windows <= policy.maximum_windows,
        _provable_margin(traffic, policy),
    )


def _shares(questions: int) -> float:
    required = min(REQUIRED_QUESTIONS, questions)
    return shares(required, questions - required)


def _ratio(weight: float) -> float:
    """Stable requests to each of the candidate; with no stable beside it a past of ten times as many is assumed."""
    return (1 - weight) / weight if weight < 1 else 10.0


def _left(level: float, weight: float) -> float:
    """What is left of a level for the step itself: half where the past is the other side, whose bounds take the rest."""
    return level / 2 if weight >= 1 else level


def _latency_requests(traffic: Traffic, policy: GatePolicy) -> float:
    sigma = math.log(traffic.p99_over_p50) / _P99_SCORE
    well = 0.5 * math.erfc((_P99_SCORE + math.log(1 + policy.latency_margin) / sigma) / math.sqrt(2))
    return requests_needed(0.01, well, 0.0, _ratio(traffic.weight), _left(policy.false_pass, traffic.weight))


def _provable_margin(traffic: Traffic, policy: GatePolicy) -> float:
    """The smallest error margin that this traffic can prove within the policy's maximum time; 1 where none."""
    seconds = policy.maximum_windows * traffic.window_seconds
    low, high = 0.0, 1.0 - traffic.error_share - 1e-6
    for _ in range(40):
        middle = (low + high) / 2
        level = _left(policy.false_pass, traffic.weight)
        need = requests_needed(traffic.error_share, traffic.error_share, middle, _ratio(traffic.weight), level)
        low, high = (low, middle) if need / (traffic.rps * traffic.weight) <= seconds else (middle, high)
    return high
