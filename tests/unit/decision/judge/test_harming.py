"""What a candidate harmed: failures of requests that touched it, beyond those that would have failed anyhow."""

import random
from typing import NamedTuple

import pytest

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, begin, follow, judge_window, observe, sort_rows
from ctrlplane_stream.decision.stats.intervals import surely
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.model.verdicts import Assignment, Change, GatePolicy, Guard, GuardRole, Harm, Metric
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart

SECONDS, BEGINS = 10, 300
NOT_ERRORS = GatePolicy(metrics=(Metric.LATENCY_P99,), proof=(Metric.LATENCY_P99,))


class Traffic(NamedTuple):
    """A window of front, half of whose requests go through cart: failures of those that stand for the stable version, of those that stand
    for the candidate, and of the others; calls to cart that nobody answered; and of those that stand for stable those that touch both."""

    stable: tuple[int, int] = (0, 0)
    candidate: tuple[int, int] = (0, 0)
    others: tuple[int, int] = (0, 500)
    lost: int = 0
    stands_for: int = 1
    elsewhere: tuple[int, int] = (0, 0)


def window(number: int, t: Traffic, watched: bool = True) -> ClosedWindow:
    exposures, edges = [], []
    for label, (failed, requests) in (("#1", t.stable), ("#2", t.candidate)):
        edges.append(EdgeWindow("front", "cart", EdgeKind.CALL, "#1", label, requests, failed, requests, failed))
        if watched:
            exposures.append(ExposureWindow("front", "cart", label, Exposure.EXPOSED, requests, failed))
            exposures.append(ExposureWindow("front", "cart", label, Exposure.POSSIBLE, t.lost, t.lost))
    if watched:
        exposures.append(ExposureWindow("front", "cart", "#2", Exposure.EXPOSED, t.elsewhere[1], t.elsewhere[0], elsewhere=True))
    failed, requests = (sum(each) for each in zip(t.stable, t.candidate, t.others, (t.lost, t.lost), strict=True))
    each = t.stands_for
    front = ServiceWindow("front", "#1", requests, failed, requests * each, requests, estimated_errors=failed * each)
    if t.lost:
        edges.append(EdgeWindow("front", "cart", EdgeKind.CALL, "#1", UNKNOWN_VERSION, t.lost, t.lost, t.lost, t.lost))
    part = WindowPart("prod", 0, BEGINS + number * SECONDS, 0, tuple(edges), (front,), tuple(exposures))
    return ClosedWindow(BEGINS + number * SECONDS, (part,))


def assigned(step: int = 0, weight: float = 0.1, first: bool = False, **more: object) -> Assignment:
    return Assignment(
        rollout="cart-2",
        environment="prod",
        step=step,
        attempt=step + 1,
        changed=(Change("cart", "#2", None if first else "#1"),),
        guards=(Guard("cart", GuardRole.CHANGED, required=True), Guard("", GuardRole.ENTRY, required=True)),
        weight=weight,
        weight_confirmed_at_ms=0,
        steps=4,
        entry_points=("front",),
        counts_harm=True,
        **more,  # type: ignore[arg-type]
    )


def past(t: Traffic, windows: int = 30) -> Baseline:
    baseline = Baseline()
    for number in range(-windows, 0):
        baseline = observe(baseline, sort_rows(window(number, t), 0), ())
    return baseline


def told(*steps: tuple[Assignment, Traffic], before: Baseline | None = None, windows: int = 10) -> Harm:
    """What is told of cart at the end of the last of these steps, each of so many windows."""
    baseline, state, harm, number = before or Baseline(), None, (), 0
    for assignment, traffic in steps:
        state = begin(assignment, baseline) if state is None else follow(state, assignment, baseline)
        for _ in range(windows):
            watched = assignment.changed[0].stable is not None
            state, verdict = judge_window(state, assignment, window(number, traffic, watched))
            harm, number = verdict.harm, number + 1
    (of_cart,) = harm
    return of_cart


BESIDE, ALONE = assigned(), assigned(1, 1.0)
FAILING_ELSEWHERE = Traffic(stable=(0, 500), others=(10, 500))


def test_beside_stable_as_many_are_expected_to_fail_as_of_those_that_touch_that() -> None:
    harm = told((BESIDE, Traffic(stable=(9, 450), candidate=(6, 50), others=(100, 500))))
    assert (harm.service, harm.failed, harm.expected) == ("cart", 60, pytest.approx(10))


def test_failures_of_both_versions_that_are_tried_again_harm_nobody_though_the_candidate_is_touched_by_more_of_them() -> None:
    """One in ten fails whoever serves it, and is tried three times: as many of those that touch the candidate fail as do not."""
    harm = told((BESIDE, Traffic(stable=(45, 450), candidate=(5, 50), elsewhere=(9, 9))))
    assert (harm.failed, harm.expected) == (140, pytest.approx(140))


def test_of_all_that_touch_the_candidate_as_large_a_part_is_harmed_as_of_those_that_stand_for_it() -> None:
    """But no more than failed."""
    harm = told((BESIDE, Traffic(stable=(18, 450), candidate=(7, 50), elsewhere=(8, 50))))
    assert (harm.failed, harm.failed - harm.expected) == (150, pytest.approx(2 * (70 - 20)))
    alone = told((BESIDE, Traffic(stable=(18, 450), candidate=(7, 50))))
    assert harm.variance == pytest.approx(4 * alone.variance, rel=0.1)
    most = told((BESIDE, Traffic(stable=(0, 450), candidate=(5, 50), elsewhere=(1, 200))))
    assert (most.failed, most.expected) == (60, 0)


def test_a_candidate_that_fails_less_than_stable_harms_nobody() -> None:
    harm = told((BESIDE, Traffic(stable=(9, 450), candidate=(0, 50))))
    assert (harm.failed, harm.expected) == (0, 0)


def test_with_all_traffic_as_many_are_expected_to_fail_as_touched_stable_before_and_did() -> None:
    """What never touches the candidate counts for nothing, even if it fails more than before."""
    harm = told((BESIDE, Traffic(stable=(9, 450), candidate=(1, 50))), (ALONE, Traffic(candidate=(15, 500), others=(90, 500))))
    assert (harm.failed, harm.expected) == (150, pytest.approx(100))


@pytest.mark.parametrize("first", [False, True])
def test_without_a_step_beside_stable_the_failures_of_all_entry_points_beyond_those_of_before_are_the_most(first: bool) -> None:
    alone = assigned(0, 1.0, first=first)
    healthy, worse_elsewhere = Traffic(candidate=(0, 500), others=(10, 500)), Traffic(candidate=(0, 500), others=(90, 500))
    for traffic in (healthy, worse_elsewhere):
        assert told((alone, traffic), before=past(FAILING_ELSEWHERE)).failed == 0
    harm = told((alone, Traffic(candidate=(7, 500), others=(10, 500))), before=past(FAILING_ELSEWHERE))
    assert harm.failed - harm.expected == pytest.approx(70)
    as_ever = told((alone, Traffic(candidate=(10, 500), others=(0, 500))), before=past(FAILING_ELSEWHERE))
    assert as_ever.failed - as_ever.expected == pytest.approx(0)


def test_where_nothing_is_known_of_before_nothing_counts_but_what_a_first_version_fails() -> None:
    traffic = Traffic(candidate=(5, 500))
    assert (harm := told((assigned(0, 1.0), traffic))).failed == harm.expected == 50
    assert told((assigned(0, 1.0, first=True), traffic)) == Harm("cart", 50, 0, 0)
    assert told((assigned(0, 1.0, first=True), Traffic(lost=5))) == Harm("cart", 50, 0, 0)


def test_lost_calls_that_may_have_been_the_candidates_count_beyond_those_that_were_lost_before() -> None:
    ever = past(Traffic(stable=(0, 490), lost=10))
    harm = told((BESIDE, Traffic(stable=(0, 441), candidate=(0, 49), lost=10)), before=ever)
    assert harm.failed - harm.expected == pytest.approx(0)
    dies = told((BESIDE, Traffic(stable=(0, 441), lost=59)), before=ever)
    assert (dies.failed, dies.expected) == (590, pytest.approx(100))


def test_harm_is_counted_whatever_the_gate_asks_for_and_only_where_there_is_a_budget() -> None:
    traffic = Traffic(stable=(0, 450), candidate=(5, 50))
    assert told((assigned(policy=NOT_ERRORS), traffic)).failed == 50
    unasked = Assignment(**{name: getattr(BESIDE, name) for name in BESIDE.__struct_fields__ if name != "counts_harm"})
    assert judge_window(begin(unasked, Baseline()), unasked, window(0, traffic))[1].harm == ()


def test_a_failure_that_was_seen_counts_for_as_many_as_it_stands_for() -> None:
    harm = told((BESIDE, Traffic(stable=(0, 450), candidate=(5, 50), stands_for=4)))
    assert harm.failed == pytest.approx(200)


def test_a_healthy_version_is_hardly_ever_sure_to_have_harmed_anybody_and_harm_is_sure_soon() -> None:
    """Three steps and a bake of 60 windows, where one request in a hundred fails anyhow; looked at after every window."""
    steps = [(assigned(0), 0.1, 6), (assigned(1, 0.5), 0.5, 6), (assigned(2, 1.0), 1.0, 6), (assigned(3, 1.0, baking=True), 1.0, 60)]
    rng, accused = random.Random(11), 0

    def some(requests: int) -> tuple[int, int]:
        return sum(rng.random() < 0.01 for _ in range(requests)), requests

    for _ in range(60):
        state, number, before, most = None, 0, (0.0, 0.0), 0.0
        for assignment, weight, windows in steps:
            state = begin(assignment, Baseline()) if state is None else follow(state, assignment, Baseline())
            for _ in range(windows):
                ours = round(500 * weight)
                traffic = Traffic(some(500 - ours), some(ours), some(500))
                state, verdict = judge_window(state, assignment, window(number, traffic))
                (harm,), number = verdict.harm, number + 1
                most = max(most, surely(before[0] + harm.failed - harm.expected, before[1] + harm.variance, 0.01))
            before = before[0] + harm.failed - harm.expected, before[1] + harm.variance
        accused += most > 0
    assert accused <= 2
    harm = told((BESIDE, Traffic((4, 450), (3, 50))), windows=12)
    assert surely(harm.failed - harm.expected, harm.variance, 0.01) > 10


def test_a_variance_below_zero_counts_as_none() -> None:
    """No judge of ours tells one, but whoever may write verdicts can."""
    assert surely(20.0, -5.0, 0.01) == surely(20.0, 0.0, 0.01)
