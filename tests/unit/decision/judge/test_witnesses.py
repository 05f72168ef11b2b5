"""Services that a candidate cannot have slowed say whether the time itself has changed, before the past is held against it."""

from typing import Any

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.judge import Baseline, begin, judge_environment, judge_window, observe, sort_rows
from ctrlplane_stream.decision.judge.environment import EnvironmentState
from ctrlplane_stream.decision.judge.witnesses import MOST
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.model.verdicts import Change, Concurrent, GatePolicy, Metric, Verdict, VerdictStatus
from ctrlplane_stream.model.windows import EdgeWindow, ServiceWindow
from tests.unit.decision.judge.conftest import Traffic

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
    assert told == {"the past is no yardstick: 3 of 4 services that do not wait for this one became worse too"}


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
    """Neither in this rollout, nor in another at the same time; and what guards is not asked while others can be."""
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
    assert [name for name in kept if name.startswith("witness|")] == [f"witness|{name}" for name in (*ISLANDS, "db", "frontend")]


def baked(shop: Any, closed: Any, windows: int) -> list[Verdict]:
    """The verdicts of a bake of so many windows, after thirty of past; ``closed`` is a window by its number, from 0."""
    baseline = Baseline()
    for number in range(30):
        baseline = observe(baseline, sort_rows(closed(number), 0), ())
    assignment = shop.assignment(weight=1.0, baking=True)
    state, found = begin(assignment, baseline), []
    for number in range(windows):
        state, verdict = judge_window(state, assignment, closed(30 + number))
        found.append(verdict)
    return found


def test_a_witness_that_sends_no_spans_is_heard_through_its_callers(shop: Any, traffic: Any) -> None:
    """The latency that its callers saw counts."""

    def with_edge(number: int, ms: float) -> Any:
        closed = window(shop, number, traffic(stable=0 if number >= 30 else 400, candidate=400 if number >= 30 else 0, **SLOW), {})
        part = closed.parts[0]
        calls = [EdgeWindow("x", to, EdgeKind.CALL, "#1", "#1", 100, 0, 100, 0, client=shop.latencies(100, ms)) for to in ("y", "z")]
        return replace(closed, parts=(replace(part, edges=(*part.edges, *calls)),))

    found = baked(shop, lambda number: with_edge(number, 10.0 if number < 30 else 40.0), 20)
    assert not failed(found)


def shop_alone(shop: Any, traffic: Any, after: Any) -> list[Verdict]:
    """The verdicts of a bake in a system of nothing but the shop; ``after`` gives the traffic of each of its twelve windows, from 0."""
    baseline = Baseline()
    for number in range(30):
        baseline = observe(baseline, sort_rows(shop.window(number * SECONDS, traffic(stable=400, candidate=0)), 0), ())
    assignment = shop.assignment(weight=1.0, baking=True)
    state, found = begin(assignment, baseline), []
    for number in range(12):
        state, verdict = judge_window(state, assignment, shop.window((30 + number) * SECONDS, after(number)))
        found.append(verdict)
    return found


def test_one_window_in_which_a_machine_stalled_is_one_event_however_many_requests_it_had(shop: Any, traffic: Any) -> None:
    """A busy machine keeps every request of cart waiting for a window, and no other service."""

    def stalled_once(number: int) -> Any:
        return traffic(stable=0, candidate=400, candidate_ms=170.0 if number == 5 else 20.0)

    assert not failed(shop_alone(shop, traffic, stalled_once))


def test_what_is_slow_for_longer_is_found_though_nobody_can_be_heard(shop: Any, traffic: Any) -> None:
    """Three windows of it, since no one window is worth more than a third of a finding."""
    found = shop_alone(shop, traffic, lambda _: traffic(stable=0, candidate=400, candidate_ms=170.0))
    assert [verdict.status is VerdictStatus.FAIL for verdict in found[:3]] == [False, False, True]


def test_where_nobody_is_outside_the_guards_that_do_not_wait_for_a_service_are_its_witnesses(shop: Any, traffic: Any) -> None:
    """Everything takes twice as long, also a database of whose few milliseconds more nobody would complain."""
    found = shop_alone(shop, traffic, lambda _: traffic(stable=0, candidate=400, candidate_ms=42.0, db_ms=6.0))
    assert not failed(found)
    told = {e.missing for e in found[-1].metrics if e.guard == "cart" and e.name is Metric.LATENCY_P50}
    assert told == {"the past is no yardstick: 1 of 1 services that do not wait for this one became worse too"}


def test_who_waits_for_an_overloaded_callee_does_not_excuse_it(shop: Any, traffic: Any) -> None:
    """The candidate overloads the database, and everybody above is slow for want of it: all that can be heard, and no excuse."""

    def closed(number: int) -> Any:
        if number < 30:
            return shop.window(number * SECONDS, traffic(stable=400, candidate=0))
        overloaded = shop.window(number * SECONDS, traffic(stable=300, candidate=100, stable_ms=80.0, candidate_ms=80.0, db_ms=60.0))
        (part,) = overloaded.parts
        services = tuple(replace(s, latency=shop.latencies(400, 95.0)) if s.service == "frontend" else s for s in part.services)
        return replace(overloaded, parts=(replace(part, services=services),))

    baseline = Baseline()
    for number in range(30):
        baseline = observe(baseline, sort_rows(closed(number), 0), ())
    assignment = shop.assignment(weight=0.25)
    state = begin(assignment, baseline)
    for number in range(3):
        state, verdict = judge_window(state, assignment, closed(30 + number))
    assert verdict.status is VerdictStatus.FAIL
    assert {e.guard for e in verdict.metrics if e.status is VerdictStatus.FAIL} == {"db"}


def test_a_witness_too_quiet_to_be_heard_does_not_speak_against_the_candidate(shop: Any, traffic: Any) -> None:
    """Two services became three times slower as cart did; of three others two requests a window say nothing of it."""
    whispers = {f"whisper-{n}": 10.0 for n in range(3)}

    def closed(number: int, slow: float) -> Any:
        at = traffic(stable=0, candidate=400, candidate_ms=20.0 * slow) if number >= 30 else traffic(stable=400, candidate=0)
        base = window(shop, number, at, {"island-a": 10.0 * slow, "island-b": 10.0 * slow})
        part = base.parts[0]
        few = tuple(ServiceWindow(name, "#1", 2, 0, 2, 2, shop.latencies(2, ms)) for name, ms in whispers.items())
        return replace(base, parts=(replace(part, services=(*part.services, *few)),))

    found = baked(shop, lambda number: closed(number, 1.0 if number < 30 else 3.0), 4)
    told = {e.missing for e in found[-1].metrics if e.guard == "cart" and e.name is Metric.LATENCY_P50}
    assert told == {"the past is no yardstick: 2 of 2 services that do not wait for this one became worse too"}
    assert not failed(found)


def network(shop: Any, number: int, at: Any, lost: float, *, frontend_fails: float = 0.0) -> Any:
    """A window of the shop, and of services elsewhere to which a share of all calls is lost; of those to cart ``at`` says it."""
    closed = shop.window(number * SECONDS, at)
    (part,) = closed.parts
    calls, gone = 400, round(400 * lost)
    edges = list(part.edges)
    for name in ISLANDS:
        edges.append(EdgeWindow("x", name, EdgeKind.CALL, "#1", "#1", calls - gone, 0, calls - gone, 0, client=shop.latencies(50, 10.0)))
        edges.append(EdgeWindow("x", name, EdgeKind.CALL, "#1", UNKNOWN_VERSION, gone, gone, gone, gone))
    fails = round(400 * frontend_fails)
    services = tuple(replace(s, errors=fails, estimated_errors=fails) if s.service == "frontend" else s for s in part.services)
    return replace(closed, parts=(replace(part, edges=tuple(edges), services=services),))


def in_a_network(shop: Any, weight: float, after: Any, windows: int) -> list[Verdict]:
    """The verdicts of a step after thirty windows in which the network lost nothing; ``after`` makes each window by its number, from 0."""
    baseline = Baseline()
    for number in range(30):
        baseline = observe(baseline, sort_rows(network(shop, number, Traffic(stable=400, candidate=0), 0.0), 0), ())
    assignment = shop.assignment(weight=weight, baking=weight == 1.0)
    state, found = begin(assignment, baseline), []
    for number in range(windows):
        state, verdict = judge_window(state, assignment, after(30 + number))
        found.append(verdict)
    return found


def split(weight: float, lost: float, *, dead: bool = False) -> Traffic:
    """Traffic of 400 requests by weight, a share of all calls to cart being lost."""
    ours, gone = round(400 * weight), round(400 * lost)
    mine = round(gone * weight)
    return Traffic(stable=400 - ours - gone + mine, candidate=ours - mine, unanswered=gone, dead=dead)


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5, 1.0])
def test_calls_that_a_network_loses_of_all_services_are_not_the_candidates(shop: Any, weight: float) -> None:
    """A twentieth of all calls for two minutes: no FAIL, and the evidence says why."""
    found = in_a_network(shop, weight, lambda n: network(shop, n, split(weight, 0.05), 0.05), 12)
    assert not failed(found), next(v.reason for v in found if v.status is VerdictStatus.FAIL)
    (told,) = {e.missing for e in found[-1].metrics if e.name is Metric.LOST_CALLS}
    others = "the past is no yardstick: 3 of 3 services that do not wait for this one became worse too"
    assert told in {others, "pre-existing: the stable version beside the candidate explains it"}


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5, 1.0])
def test_a_candidate_that_dies_while_the_network_loses_calls_is_found(shop: Any, weight: float) -> None:
    """It answers nothing of what it is due, and no network does that to one version alone."""
    found = in_a_network(shop, weight, lambda n: network(shop, n, split(weight, 0.03, dead=True), 0.03), 3)
    assert failed(found)


def test_calls_that_are_lost_to_the_changed_service_alone_fail_it(shop: Any) -> None:
    """The same losses are harm where nobody else has them."""
    assert failed(in_a_network(shop, 0.25, lambda n: network(shop, n, split(0.25, 0.05), 0.0), 12))


def test_a_caller_of_several_services_fails_as_many_times_as_the_network_loses_their_calls(shop: Any) -> None:
    """frontend calls others too, and fails three times as often as any of them loses calls; beyond the reach of that it is harm."""

    def windows(fails: float) -> list[Verdict]:
        return in_a_network(shop, 0.25, lambda n: network(shop, n, split(0.25, 0.02), 0.02, frontend_fails=fails), 12)

    assert not failed(windows(0.06))
    assert failed(windows(0.3))
