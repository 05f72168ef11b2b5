"""Services outside the set say whether the time itself has changed, before the past is held against a candidate."""

from typing import Any

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.judge import Baseline, begin, judge_environment, judge_window, observe, sort_rows
from ctrlplane_stream.decision.judge.environment import EnvironmentState
from ctrlplane_stream.decision.judge.witnesses import MOST
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.verdicts import Change, Concurrent, GatePolicy, Metric, Verdict, VerdictStatus
from ctrlplane_stream.model.windows import EdgeWindow, ServiceWindow

SECONDS = 10
ISLANDS = ("island-a", "island-b", "island-c")


def window(shop: Any, number: int, traffic: Any, islands_ms: dict[str, float]) -> Any:
    """A window of the shop, and of services that have nothing to do with it."""
    part = shop.part(number * SECONDS, traffic)
    more = tuple(ServiceWindow(name, "#1", 100, 0, 100, 100, shop.latencies(100, ms)) for name, ms in islands_ms.items())
    closed = shop.window(number * SECONDS, traffic)
    return replace(closed, parts=(replace(part, services=(*part.services, *more)),))


def verdicts(shop: Any, traffic: Any, islands_ms: dict[str, float], **changes: Any) -> list[Verdict]:
    """The verdicts of twenty windows in which cart's candidate has all the traffic: only the past can be compared with."""
    baseline = Baseline()
    for number in range(30):
        before = window(shop, number, traffic(stable=400, candidate=0), dict.fromkeys(ISLANDS, 10.0))
        baseline = observe(baseline, sort_rows(before, 0), ())
    assignment = shop.assignment(weight=1.0, baking=True, **changes)
    state, found = begin(assignment, baseline), []
    for number in range(20):
        state, verdict = judge_window(state, assignment, window(shop, 30 + number, traffic(stable=0, candidate=400, **SLOW), islands_ms))
        found.append(verdict)
    return found


SLOW = {"candidate_ms": 60.0}


def failed(found: list[Verdict]) -> bool:
    return any(verdict.status is VerdictStatus.FAIL for verdict in found)


def test_what_became_slow_with_everything_else_is_not_the_candidates_doing(shop: Any, traffic: Any) -> None:
    """All became three times slower, those that the rollout cannot touch too: no FAIL, and no PASS either."""
    found = verdicts(shop, traffic, dict.fromkeys(ISLANDS, 30.0))
    assert {verdict.status for verdict in found} == {VerdictStatus.INCONCLUSIVE}
    told = {e.missing for e in found[-1].metrics if e.guard == "cart" and e.name is Metric.LATENCY_P50}
    assert told == {"the past is no yardstick: 3 of 3 services that this rollout cannot touch became worse too"}


@pytest.mark.parametrize(
    "islands_ms",
    [
        pytest.param(dict.fromkeys(ISLANDS, 10.0), id="nobody else is slower"),
        pytest.param({"island-a": 30.0, "island-b": 10.0, "island-c": 10.0}, id="one of three is"),
        pytest.param({}, id="nobody else can be heard"),
    ],
)
def test_a_candidate_that_is_slow_alone_fails(shop: Any, traffic: Any, islands_ms: dict[str, float]) -> None:
    """The same slowness is harm where most witnesses saw nothing, or where there are none."""
    assert failed(verdicts(shop, traffic, islands_ms))


def test_slow_witnesses_excuse_no_errors(shop: Any, traffic: Any) -> None:
    """Each metric has its own witnesses: a slow machine does not explain failed requests."""
    found = verdicts(
        shop, lambda **kw: traffic(**kw | ({"candidate_errors": 120} if kw["candidate"] else {})), dict.fromkeys(ISLANDS, 30.0)
    )
    assert failed(found)
    fail = next(verdict for verdict in found if verdict.status is VerdictStatus.FAIL)
    assert fail.culprit is not None
    assert fail.culprit.metric is Metric.ERROR_RATIO


def test_slow_witnesses_excuse_nothing_that_is_seen_side_by_side(shop: Any, traffic: Any) -> None:
    """Against a stable version in the same windows the candidate is slower, whatever became of the rest."""
    baseline = Baseline()
    for number in range(30):
        baseline = observe(baseline, sort_rows(window(shop, number, traffic(stable=400, candidate=0), dict.fromkeys(ISLANDS, 10.0)), 0), ())
    assignment = shop.assignment(weight=0.5)
    state, found = begin(assignment, baseline), []
    for number in range(20):
        both = window(shop, 30 + number, traffic(stable=200, candidate=200, **SLOW), dict.fromkeys(ISLANDS, 30.0))
        state, verdict = judge_window(state, assignment, both)
        found.append(verdict)
    assert failed(found)


def test_what_changes_itself_is_no_witness(shop: Any, traffic: Any) -> None:
    """Neither what guards, nor what another rollout changes at the same time."""
    baseline = Baseline()
    for number in range(3):
        many = {f"far-{n}": 10.0 for n in range(9)} | dict.fromkeys(ISLANDS, 10.0)
        baseline = observe(baseline, sort_rows(window(shop, number, traffic(stable=400, candidate=0), many), 0), ())
    other = (Concurrent("far-1", "far-1", "#2"),)
    state = begin(shop.assignment(concurrent=other, changed=(Change("far-0", "#2", "#1"),)), baseline)
    named = [name.removeprefix("witness|") for name in state.references if name.startswith("witness|")]
    assert len(named) == MOST
    assert not {"far-0", "far-1", "cart", "frontend", "db"} & set(named)


def test_the_steps_of_a_rollout_keep_its_first_witnesses(shop: Any, traffic: Any) -> None:
    """A later step hears those whose past is from before the rollout, though others have become busier since."""
    state = EnvironmentState()
    for number in range(3):
        state, _ = judge_environment(state, (), window(shop, number, traffic(stable=400, candidate=0), dict.fromkeys(ISLANDS, 10.0)))
    for number, step in ((3, 0), (4, 1)):
        assignment = shop.assignment(step=step, weight_confirmed_at_ms=0, policy=GatePolicy())
        busier = dict.fromkeys(ISLANDS, 30.0) | {f"new-{n}": 10.0 for n in range(6)}
        state, _ = judge_environment(state, (assignment,), window(shop, number, traffic(), busier))
    kept = state.steps["cart-2"].references
    assert [name for name in kept if name.startswith("witness|")] == [f"witness|{name}" for name in ISLANDS]


def test_a_witness_that_sends_no_spans_is_heard_through_its_callers(shop: Any, traffic: Any) -> None:
    """The latency that its callers saw counts."""

    def with_edge(number: int, ms: float) -> Any:
        closed = window(shop, number, traffic(stable=0 if number >= 30 else 400, candidate=400 if number >= 30 else 0, **SLOW), {})
        part = closed.parts[0]
        call = EdgeWindow("x", "y", EdgeKind.CALL, "#1", "#1", 100, 0, 100, 0, client=shop.latencies(100, ms))
        return replace(closed, parts=(replace(part, edges=(*part.edges, call)),))

    baseline = Baseline()
    for number in range(30):
        baseline = observe(baseline, sort_rows(with_edge(number, 10.0), 0), ())
    assignment = shop.assignment(weight=1.0, baking=True)
    state, found = begin(assignment, baseline), []
    for number in range(20):
        state, verdict = judge_window(state, assignment, with_edge(30 + number, 40.0))
        found.append(verdict)
    assert not failed(found)
