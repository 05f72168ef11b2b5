"""A judge that knows the truth: it sees a fault after some windows and passes what is healthy, unless telemetry is cut.

The real judge is tested by itself; here only its answers matter: on time, late, silent, or from an earlier attempt.
"""

import msgspec

from ctrlplane_stream.model.verdicts import OUR_JUDGE, Assignment, Culprit, Metric, NoDataCause, Verdict, VerdictStatus


class Telemetry(msgspec.Struct):
    """How well the pipeline works."""

    cut: bool = False
    """Nothing closes any window: the judge says nothing at all."""
    late: bool = False
    """Windows do not close, and the judge says so."""


class Judging(msgspec.Struct):
    """One assignment under way."""

    assignment: Assignment
    windows: int = 0
    failed: bool = False


class SimulatedJudge:
    """Verdicts of one environment. ``faulty`` holds (service, label); ``silent`` services get no requests; ``unsure`` ones never prove,
    and of ``doubted`` ones that is not for want of traffic.

    Requests to a ``bypassed`` service arrive past what splits them by weight.
    """

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self.faulty: set[tuple[str, str]] = set()
        self.silent: set[str] = set()
        self.unsure: set[str] = set()
        self.doubted: set[str] = set()
        self.bypassed: set[str] = set()
        self.outside: tuple[str, ...] = ()
        """Judges besides ours, which know the truth too."""
        self.outside_silent = False
        self.slandered: set[str] = set()
        """Services of which the outside judges say FAIL, whatever is true."""
        self.telemetry = Telemetry()
        self.fail_after = 2
        self.pass_after = 3
        self._at: dict[str, Judging] = {}

    def assign(self, assignment: Assignment) -> None:
        """Judge this from now on."""
        self._at[assignment.rollout] = Judging(assignment)

    def release(self, rollout: str) -> None:
        """Stop judging."""
        self._at.pop(rollout, None)

    def window_closed(self, window: int, seconds: float) -> list[Verdict]:
        """The verdicts after a window that started at ``window`` seconds."""
        if self.telemetry.cut:
            return []
        ours = [v for judging in self._at.values() if (v := self._judge(judging, window, seconds)) is not None]
        return [*ours, *(self._outside(judging, name) for judging in self._at.values() for name in self._speaking(judging))]

    def _speaking(self, judging: Judging) -> tuple[str, ...]:
        return () if self.outside_silent or judging.windows < self.fail_after else self.outside

    def _outside(self, judging: Judging, name: str) -> Verdict:
        bad = any((c.service, c.candidate) in self.faulty or c.service in self.slandered for c in judging.assignment.changed)
        status = VerdictStatus.FAIL if bad else VerdictStatus.PASS
        return msgspec.structs.replace(self._say(judging, 0, status, f"{name} has looked"), judge=name, window=None, proven=False)

    def _judge(self, judging: Judging, window: int, seconds: float) -> Verdict | None:
        assignment = judging.assignment
        if self.telemetry.late:
            return self._say(judging, window, VerdictStatus.NO_DATA, "the pipeline is late", cause=NoDataCause.PIPELINE_LATE)
        if window * 1000 < assignment.weight_confirmed_at_ms:
            return None
        judging.windows += 1
        services = [c.service for c in assignment.changed]
        if all(name in self.silent for name in services):
            verdict = self._say(judging, window, VerdictStatus.NO_DATA, "no request came", cause=NoDataCause.SILENT_SERVICE)
            return msgspec.structs.replace(verdict, doubtful=any(name in self.doubted for name in services))
        bad = [(c.service, c.candidate) for c in assignment.changed if (c.service, c.candidate) in self.faulty]
        if bad and judging.windows >= self.fail_after:
            culprit = Culprit(bad[0][0], bad[0][1], Metric.ERROR_RATIO)
            return self._say(judging, window, VerdictStatus.FAIL, f"errors of {bad[0][0]} {bad[0][1]}", culprit=culprit)
        if not bad and any(name in self.bypassed for name in services):
            verdict = self._say(judging, window, VerdictStatus.INCONCLUSIVE, "arrivals do not follow the weight")
            return msgspec.structs.replace(verdict, contradicted=assignment.weight < 1)
        if not bad and any(name in self.doubted for name in services):
            verdict = self._say(judging, window, VerdictStatus.INCONCLUSIVE, "neither harm nor its absence is shown")
            return msgspec.structs.replace(verdict, doubtful=True)
        if bad or judging.windows < self.pass_after or any(name in self.unsure for name in services):
            return self._say(judging, window, VerdictStatus.INCONCLUSIVE, "more windows are needed")
        return self._say(judging, window, VerdictStatus.PASS, "within its margins")

    def _say(
        self,
        judging: Judging,
        window: int,
        status: VerdictStatus,
        reason: str,
        cause: NoDataCause | None = None,
        culprit: Culprit | None = None,
    ) -> Verdict:
        a = judging.assignment
        return Verdict(
            judge=OUR_JUDGE,
            environment=self.environment,
            rollout=a.rollout,
            step=a.step,
            attempt=a.attempt,
            status=status,
            reason=reason,
            window=window,
            windows_judged=judging.windows,
            proven=status is VerdictStatus.PASS,
            no_data=cause,
            culprit=culprit,
        )
