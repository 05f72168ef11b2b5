"""The chance of a false abort holds for a rollout as a whole: what all of its assignments may spend together is at most alpha."""

import random

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.assigning import judged_on, step_count
from ctrlplane_stream.decision.judge.questions import FIRST_PASS, FOREMOST, alpha_of_assignment, budget_of, questions
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.policy import Step
from ctrlplane_stream.model.verdicts import Assignment, Change, GatePolicy, Guard, GuardRole, Limit, Metric

ALPHA = 0.01


def asked(attempt: int, steps: int) -> Assignment:
    return Assignment(
        rollout="r",
        environment="prod",
        step=0,
        attempt=attempt,
        changed=(Change("cart", "#2", "#1"),),
        guards=(Guard("cart", GuardRole.CHANGED, required=True), Guard("db", GuardRole.CALLEE)),
        weight=0.1,
        weight_confirmed_at_ms=0,
        steps=steps,
        policy=GatePolicy(alpha=ALPHA),
    )


def rollout(steps: int, cause: str = "release") -> e.Rollout:
    weights = tuple(Step(weight=round(100 * (n + 1) / steps)) for n in range(steps - 1))
    return e.Rollout(
        id="prod/cart/2",
        environment="prod",
        phase=Phase.QUEUED,
        units=(e.Unit("cart", "#2", "#1", 0),),
        steps=weights,
        attempt=1,
        cause=cause,
        began_ms=0,
        queued_steady=0,
        phase_since_steady=0,
    )


@pytest.mark.parametrize("steps", [1, 2, 5, 13])
def test_however_often_a_rollout_climbs_it_never_spends_more_than_alpha(steps: int) -> None:
    spent = [alpha_of_assignment(asked(attempt, steps)) for attempt in range(1, 5000)]
    assert sum(spent) <= ALPHA * (1 + 1e-9)
    assert sum(spent) > 0.99 * ALPHA, "and nothing of it is given away"


def test_the_first_pass_has_most_of_it_evenly_over_its_steps() -> None:
    assert [alpha_of_assignment(asked(attempt, 5)) for attempt in range(1, 6)] == [FIRST_PASS * ALPHA / 5] * 5
    assert alpha_of_assignment(asked(6, 5)) == pytest.approx(0.1 * ALPHA / 5)


def test_the_questions_of_an_assignment_share_what_it_has() -> None:
    """All of it and no more, a limit's part included; a required guard's question has four times another's."""
    one = replace(asked(1, 5), policy=GatePolicy(alpha=ALPHA, limits=(Limit(Metric.ERROR_RATIO, 0.1),)))
    budget, of_limit = budget_of(one), budget_of(one).required
    assert sum(budget.of(question.guard) for question in questions(one)) + of_limit == pytest.approx(alpha_of_assignment(one))
    assert budget.required == FOREMOST * budget.other


@pytest.mark.parametrize("seed", range(20))
def test_retries_with_other_numbers_of_steps_spend_no_more_either(seed: int) -> None:
    """Each climb begins as the engine begins it, ends somewhere, and the next one may have other steps."""
    rng = random.Random(seed)
    spent, before = 0.0, None
    for _ in range(60):
        now = judged_on(before, rollout(rng.randint(2, 9)))
        for _ in range(rng.randint(1, 12)):
            now = replace(now, judged_attempt=now.judged_attempt + 1)
            spent += alpha_of_assignment(asked(now.judged_attempt, step_count(now)))
        assert before is None or now.judged_attempt > before.judged_attempt, "no attempt is judged twice"
        before = now
    assert spent <= ALPHA * (1 + 1e-9)
