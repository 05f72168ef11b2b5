"""What other judges may do to our verdict, and what the world's own failures say."""

from typing import Any

import msgspec
import pytest

from ctrlplane_stream.decision.judge import combined, readiness_verdict
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.verdicts import GatePolicy, OutsideJudge, Verdict, VerdictStatus
from ctrlplane_stream.model.world import ObservedVersion, TargetObserved

PASS, FAIL, INCONCLUSIVE, NO_DATA = VerdictStatus.PASS, VerdictStatus.FAIL, VerdictStatus.INCONCLUSIVE, VerdictStatus.NO_DATA
POLICY = GatePolicy(
    outside=(OutsideJudge("probe"), OutsideJudge("owner", may_veto=False, may_approve=True), OutsideJudge("audit", required=True))
)


def said(judge: str, status: VerdictStatus, attempt: int = 1, windows: int = 10) -> Verdict:
    return Verdict(
        judge=judge,
        environment="prod",
        rollout="cart-2",
        step=0,
        attempt=attempt,
        status=status,
        reason=f"{judge} says {status}",
        windows_judged=windows,
        proven=status is PASS,
    )


@pytest.mark.parametrize(
    ("ours", "others", "outcome"),
    [
        (PASS, [("audit", PASS)], PASS),
        (PASS, [], INCONCLUSIVE),
        (PASS, [("audit", INCONCLUSIVE)], INCONCLUSIVE),
        (PASS, [("audit", PASS), ("probe", FAIL)], FAIL),
        (PASS, [("audit", PASS), ("probe", FAIL), ("probe", PASS)], PASS),
        (PASS, [("audit", PASS), ("owner", FAIL)], PASS),
        (PASS, [("audit", PASS), ("stranger", FAIL)], PASS),
        (INCONCLUSIVE, [("audit", PASS), ("owner", PASS)], PASS),
        (INCONCLUSIVE, [("audit", PASS), ("probe", PASS)], INCONCLUSIVE),
        (INCONCLUSIVE, [("owner", PASS)], INCONCLUSIVE),
        (NO_DATA, [("audit", PASS), ("owner", PASS)], NO_DATA),
        (FAIL, [("audit", PASS), ("owner", PASS)], FAIL),
        (PASS, [("audit", PASS), ("readiness", FAIL)], FAIL),
    ],
)
def test_rights_decide_what_a_voice_does(
    shop: Any, ours: VerdictStatus, others: list[tuple[str, VerdictStatus]], outcome: VerdictStatus
) -> None:
    """Veto beats approval, approval lifts only what is undecided, blindness is never approved, a required judge is waited for."""
    verdict = combined(said("gates", ours), [said(*other) for other in others], shop.assignment(policy=POLICY))
    assert verdict.status is outcome
    assert verdict.judge == "gates"


def test_an_approved_step_is_not_proven(shop: Any) -> None:
    verdict = combined(said("gates", INCONCLUSIVE), [said("audit", PASS), said("owner", PASS)], shop.assignment(policy=POLICY))
    assert not verdict.proven
    assert "Approved by owner" in verdict.reason


def test_a_step_too_young_cannot_be_approved(shop: Any) -> None:
    young = said("gates", INCONCLUSIVE, windows=1)
    assert combined(young, [said("audit", PASS), said("owner", PASS)], shop.assignment(policy=POLICY)).status is INCONCLUSIVE


def test_a_voice_about_another_attempt_is_not_heard(shop: Any) -> None:
    voices = [said("audit", PASS), said("probe", FAIL, attempt=2)]
    assert combined(said("gates", PASS), voices, shop.assignment(policy=POLICY)).status is PASS


@pytest.mark.parametrize(
    ("instances", "ready", "weight", "failure", "fails"),
    [(2, 2, 10, None, False), (2, 0, 10, None, True), (2, 0, 0, None, False), (2, 1, 10, "CrashLoopBackOff, 5 restarts", True)],
)
def test_readiness_fails_without_telemetry(shop: Any, instances: int, ready: int, weight: int, failure: str | None, fails: bool) -> None:
    observed = TargetObserved(Target("prod", "cart"), (ObservedVersion("#2", "sha256:0", instances, ready, weight, failure),))
    verdict = readiness_verdict(observed, shop.assignment())
    assert (verdict is not None) == fails
    if verdict is not None:
        assert verdict.status is FAIL
        assert failure is None or failure in verdict.reason


def test_readiness_of_stable_or_of_others_is_none_of_the_candidates(shop: Any) -> None:
    stable = TargetObserved(Target("prod", "cart"), (ObservedVersion("#1", "sha256:0", 2, 0, 90, "crash"),))
    other = TargetObserved(Target("prod", "db"), (ObservedVersion("#2", "sha256:0", 2, 0, 90, "crash"),))
    assert readiness_verdict(stable, shop.assignment()) is None
    assert readiness_verdict(other, shop.assignment()) is None


def test_verdicts_of_all_judges_share_one_schema() -> None:
    verdict = said("probe", FAIL)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict
