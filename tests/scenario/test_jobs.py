"""Jobs: what runs to its end by a schedule, whose next runs are the candidate's and whose evidence is how they end."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.planning import in_words, plan
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.facts import ReleaseOrder, WorldCause
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Step
from ctrlplane_stream.simulation.loop import QUICK, Loop, artifact, catalog, service
from ctrlplane_stream.simulation.world import Sickness
from tests.scenario.shop import held, phase, reasons, until, weights

NIGHTLY = replace(QUICK, steps=(Step(10, 10, 300), Step(100, 10, 300, 3)), bake_windows=2)


def office() -> Loop:
    """A job and a service that each have a first version; the job runs every 8 s, for 5 s or for 15."""
    loop = Loop.of(catalog(service("report", NIGHTLY, ServiceKind.JOB), service("cart", QUICK)))
    loop.push("report", 1)
    loop.push("cart", 1)
    loop.run(150)
    assert (phase(loop, "report/1"), phase(loop, "cart/1")) == (Phase.COMPLETED, Phase.COMPLETED)
    return loop


def under_way(loop: Loop) -> dict[str, int]:
    """Runs of the report that are under way, by version."""
    return {label: len(v.ends_ms) for label, v in loop.world.target("report").versions.items() if v.ends_ms}


def test_a_job_takes_its_next_runs_whole_and_bakes_by_their_number() -> None:
    loop = office()
    loop.push("report", 2)
    until(loop, "report/2", Phase.VERIFYING)
    assert weights(loop, "report") == {"#2": 100}
    until(loop, "report/2", Phase.BAKING)
    rollout = loop.driver.rollout("production/report/2")
    until(loop, "report/2", Phase.COMPLETED)
    assert rollout is not None
    assert rollout.steps == NIGHTLY.steps[-1:]
    assert "runs ended well: 3 of report" in reasons(loop)
    asked = {c.wanted.weight("#2") for c in loop.driver.commands if c.target.service == "report"}
    assert asked == {0, 100}


def test_a_run_that_fails_gives_the_next_run_back_to_stable() -> None:
    loop = office()
    loop.world.failing.add(("report", "#2"))
    loop.push("report", 2)
    until(loop, "report/2", Phase.REVERTED)
    assert "a run failed: exit 1" in (loop.driver.rollout("production/report/2").stopped_because or "")  # type: ignore[union-attr]
    runs = loop.world.runs["report", "#1"]
    loop.run(30)
    assert weights(loop, "report") == {"#1": 100}
    assert loop.world.runs["report", "#1"] > runs


def test_a_job_that_cannot_be_made_ready_is_given_no_run() -> None:
    loop = office()
    loop.world.sick["report", "#2"] = Sickness.CRASHES
    loop.push("report", 2)
    until(loop, "report/2", Phase.REVERTED)
    assert all(c.wanted.weight("#2") == 0 for c in loop.driver.commands if c.target.service == "report")


def test_runs_under_way_are_not_ended_by_a_step_and_the_old_version_is_kept_for_them() -> None:
    loop = office()
    loop.push("report", 2)
    until(loop, "report/2", Phase.SHIFTING)
    target = loop.world.target("report")
    target.versions["#1"].ends_ms = (loop.now_ms + 150_000,)
    until(loop, "report/2", Phase.DRAINING)
    loop.run(10)
    assert phase(loop, "report/2") is Phase.DRAINING
    assert under_way(loop)["#1"] == 1
    assert "report #1: 1 runs are under way" in (loop.driver.rollout("production/report/2").waiting_for or "")  # type: ignore[union-attr]
    until(loop, "report/2", Phase.COMPLETED)
    parked = next(c for c in loop.driver.commands if c.verb is Verb.PARK and c.target.service == "report")
    assert under_way(loop).get("#1") is None
    assert "#1 has drained" in parked.because


def test_a_run_that_never_ends_keeps_the_old_version_no_longer_than_the_drain_limit() -> None:
    loop = office()
    loop.push("report", 2)
    until(loop, "report/2", Phase.SHIFTING)
    loop.world.target("report").versions["#1"].ends_ms = (loop.now_ms + 10_000_000,)
    until(loop, "report/2", Phase.COMPLETED)


def test_an_abort_lets_the_candidates_runs_end_and_gives_the_next_to_stable() -> None:
    loop = office()
    loop.push("report", 2)
    until(loop, "report/2", Phase.VERIFYING)
    loop.run(5)
    loop.world.target("report").versions["#2"].ends_ms = (loop.now_ms + 40_000,)
    loop.say(Say.ABORT, rollout="production/report/2")
    loop.run(20)
    assert (weights(loop, "report"), phase(loop, "report/2")) == ({"#1": 100}, Phase.DRAINING)
    assert under_way(loop)["#2"] == 1
    until(loop, "report/2", Phase.REVERTED)


def test_a_job_waits_for_its_runs_however_long_and_needs_no_telemetry() -> None:
    loop = office()
    loop.judge.telemetry.cut = True
    loop.world.target("report").next_run_ms = loop.now_ms + 800_000
    loop.push("report", 2)
    loop.run(700)
    rollout = loop.driver.rollout("production/report/2")
    assert rollout is not None
    assert (rollout.phase, rollout.holds, rollout.waiting_for) == (Phase.VERIFYING, (), "report: 0 of 3 runs ended well")
    until(loop, "report/2", Phase.COMPLETED)


def counted(loop: Loop) -> int:
    """Runs of the report's candidate that count for this step."""
    rollout = loop.driver.rollout("production/report/2")
    assert rollout is not None
    return rollout.runs["report"]


def test_a_job_that_is_made_anew_in_a_step_counts_on_though_its_world_counts_from_nothing() -> None:
    loop = office()
    loop.world.runs["report", "#2"] = 40
    loop.push("report", 2)
    until(loop, "report/2", Phase.VERIFYING)
    while counted(loop) < 2:
        loop.run(1)
    loop.world.runs["report", "#2"] = 0
    loop.world.target("report").next_run_ms = loop.now_ms + 50_000
    loop.tell_world("report", WorldCause.READINESS, "the job was made anew")
    loop.run(30)
    assert (phase(loop, "report/2"), counted(loop)) == (Phase.VERIFYING, 2)
    until(loop, "report/2", Phase.BAKING, 60)
    assert "report counts its runs anew, from 0 instead of 42" in reasons(loop)
    until(loop, "report/2", Phase.COMPLETED, 120)


def test_late_words_of_a_jobs_runs_count_none_of_them_twice() -> None:
    loop = office()
    loop.push("report", 2)
    until(loop, "report/2", Phase.VERIFYING)
    loop.world.target("report").next_run_ms = loop.now_ms + 10_000_000
    loop.world.runs["report", "#2"] = 40
    loop.tell_world("report", WorldCause.READINESS, "a run ended")
    before = counted(loop)
    for seen, seconds in ((1, 70), (40, 70), (39, 2), (40, 1), (38, 1), (39, 1)):
        loop.world.runs["report", "#2"] = seen
        loop.tell_world("report", WorldCause.READINESS, "late")
        loop.run(seconds)
    assert counted(loop) == before


def test_a_late_word_while_a_job_is_given_its_weight_makes_no_run_of_an_older_one() -> None:
    loop = office()
    loop.actuation_seconds = 20
    loop.push("report", 2)
    until(loop, "report/2", Phase.SHIFTING)
    loop.world.target("report").next_run_ms = loop.now_ms + 10_000_000
    for seen in (40, 39):
        loop.world.runs["report", "#2"] = seen
        loop.tell_world("report", WorldCause.READINESS, "the second word is late")
        loop.run(1)
    until(loop, "report/2", Phase.VERIFYING)
    loop.world.runs["report", "#2"] = 40
    loop.tell_world("report", WorldCause.READINESS, "as it is")
    loop.run(1)
    assert counted(loop) == 0


def test_an_operator_may_promote_a_job_on_fewer_runs() -> None:
    loop = office()
    loop.world.target("report").next_run_ms = loop.now_ms + 10_000_000
    loop.push("report", 2)
    until(loop, "report/2", Phase.VERIFYING)
    loop.run(30)
    loop.say(Say.PROMOTE, rollout="production/report/2")
    until(loop, "report/2", Phase.BAKING)
    assert "an operator promotes on fewer runs: report: 0 of 3 runs ended well" in reasons(loop)


def test_the_judge_of_a_jobs_spans_may_object() -> None:
    loop = office()
    loop.judge.faulty.add(("report", "#2"))
    loop.push("report", 2)
    until(loop, "report/2", Phase.REVERTED)
    assert "errors of report #2" in (loop.driver.rollout("production/report/2").stopped_because or "")  # type: ignore[union-attr]


def test_in_a_release_with_a_service_a_job_takes_its_weight_at_the_last_step() -> None:
    loop = office()
    for name in ("report", "cart"):
        loop.push(name, 2, release="r1", release_size=2)
    id_ = next(r.id for r in loop.driver.rollouts if len(r.units) == 2).removeprefix("production/")
    until(loop, id_, Phase.COMPLETED)
    asked = [(c.target.service, c.wanted.weight("#2")) for c in loop.driver.commands if c.verb is Verb.SHIFT]
    assert [weight for name, weight in asked if name == "report" and weight] == [100]
    assert sorted({weight for name, weight in asked if name == "cart"} - {0}) == [10, 50, 100]


def called_by_a_service(order: ReleaseOrder) -> tuple[Loop, str]:
    """A release of the job and of the service that calls it, just begun, while the job is seen in no trace; and its id."""
    loop = office()
    loop.edges("cart>report")
    loop.judge.silent.add("report")
    for name in ("report", "cart"):
        loop.push(name, 2, release="together", release_size=2, order=order)
    return loop, next(r.id for r in loop.driver.rollouts if len(r.units) == 2).removeprefix("production/")


@pytest.mark.parametrize("order", ReleaseOrder)
def test_a_job_with_an_edge_to_a_released_service_is_a_wave_with_one_step_that_goes_by_its_runs(order: ReleaseOrder) -> None:
    loop, id_ = called_by_a_service(order)
    until(loop, id_, Phase.COMPLETED)
    rollout = loop.driver.rollout(f"production/{id_}")
    assert rollout is not None
    assert weights(loop, "report") == weights(loop, "cart") == {"#2": 100}
    steps = [passage.step for passage in rollout.timeline if passage.phase is Phase.VERIFYING]
    last = len(rollout.steps) - 1
    assert steps == ([last, *range(last + 1)] if order is ReleaseOrder.CALLEES_FIRST else [*range(last + 1), last])
    assert "runs ended well: 3 of report" in reasons(loop)


def test_a_wave_of_jobs_goes_on_blind_no_more_than_the_services_that_move_with_it() -> None:
    loop, id_ = called_by_a_service(ReleaseOrder.CALLERS_FIRST)
    loop.run(100)
    rollout = loop.driver.rollout(f"production/{id_}")
    assert rollout is not None
    while rollout.wave == 0 or rollout.phase is not Phase.VERIFYING:
        loop.run(1)
        rollout = loop.driver.rollout(f"production/{id_}")
        assert rollout is not None
    loop.judge.telemetry.cut = True
    loop.run(65)
    assert phase(loop, id_) is Phase.VERIFYING
    assert held(loop, id_) == ["blind"]


def test_a_plan_of_a_job_and_of_a_service_that_calls_it_gives_the_job_one_step() -> None:
    loop = office()
    loop.edges("cart>report")
    planned = plan(loop.driver.state, (artifact("report", 2), artifact("cart", 2)))
    assert [(step.wave, step.weight) for step in planned.steps] == [(0, 100), (1, 10), (1, 50), (1, 100)]


def test_a_plan_says_how_many_runs_a_job_needs() -> None:
    planned = plan(office().driver.state, (artifact("report", 2),))
    assert [step.weight for step in planned.steps] == [100]
    assert any("report takes the next runs, and goes on after 3 that end well" in line for line in in_words(planned))
