"""A judge that knows the truth: the same questions, nulls, error budgets and windows, but every true share known beforehand.

It bets with the best alternative there is (the log-optimal one) and knows the past exactly. It must be a valid test of the same counts
all the same: where outcomes come in runs its capital is divided by their true design effect, and where calls and requests are sampled
apart, so that both are counts with noise, by 1 + calls per request (first order; the likelihood ratio of the two by two table of calls and
requests agrees within some percent). No valid test that looks at the same counts is much faster on average, so that the ratio of our time
to its time is what not knowing costs.
"""

import math
from dataclasses import dataclass, field

from ctrlplane_stream.decision.judge.questions import Question
from ctrlplane_stream.decision.judge.state import CheckState, Counts, StepState
from ctrlplane_stream.decision.stats.betting import Sample, log_capital, log_capital_against
from ctrlplane_stream.model.verdicts import Comparison, GatePolicy, Metric

_EDGE = 1e-6


@dataclass(frozen=True)
class Truth:
    """The true shares (or, for calls, rates per request) of one question: of the stable arm and of the candidate's."""

    stable: float
    candidate: float


@dataclass
class Oracle:
    """Log capital of one question in one step, for harm or for safety."""

    question: Question
    truth: Truth
    policy: GatePolicy
    wanted: float
    safety: bool
    weight: float
    noise: float = 1.0
    """How many times as much the counts scatter as independent ones that are all seen: the true figure, which the judge must estimate."""
    log: float = 0.0
    crossed_at: int | None = None
    _before: tuple[Counts, Counts] = field(default=(Counts(), Counts()))

    def look(self, state: StepState, window: int, key: str) -> None:
        """Take the counts that this window added to the judge's state."""
        check = state.checks.get(key, CheckState())
        x, m = check.candidate.events - self._before[0].events, check.candidate.total - self._before[0].total
        y, n = check.stable.events - self._before[1].events, check.stable.total - self._before[1].total
        self._before = check.candidate, check.stable
        if m > 0:
            self.log += self._capital(x, m, y, n) / self.noise
        if self.crossed_at is None and self.log >= self.wanted:
            self.crossed_at = window

    def _capital(self, x: float, m: float, y: float, n: float) -> float:
        stable, candidate = self.truth.stable, self.truth.candidate
        if self.question.metric is Metric.CALLS_PER_REQUEST:
            ratio = 1 + self.policy.calls_margin if candidate > stable else 1 / (1 + self.policy.calls_margin)
            alternative = m * candidate / (m * candidate + n * stable)
            return log_capital_against(x, x + y, _inside(alternative), m * ratio / (m * ratio + n))
        if self.question.comparison is Comparison.BASELINE:
            limit = stable + self._margin() * self.policy.baseline_margin_factor
            if self.question.metric is Metric.LOST_CALLS:
                limit = stable + self.policy.lost_margin * min(1.0, self.weight)
            return log_capital_against(x, m, _inside(candidate), _inside(limit)) if self.safety or candidate > limit else 0.0
        if not self.safety and candidate <= stable + self._margin():
            return 0.0
        return log_capital(Sample(x, m, y, n), _inside(stable), _inside(candidate), self._margin())

    def _margin(self) -> float:
        return self.policy.error_margin if self.question.metric is Metric.ERROR_RATIO else 0.0


def _inside(share: float) -> float:
    return min(1 - _EDGE, max(_EDGE, share))


def nats(chance: float) -> float:
    """The log capital at which a test of this level decides."""
    return -math.log(chance)
