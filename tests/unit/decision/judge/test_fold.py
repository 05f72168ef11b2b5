"""The judge on traffic whose truth is known: each rule of the gates, once."""

from typing import Any

import msgspec
import pytest

from ctrlplane_stream.decision.judge import (
    Baseline,
    ClosedWindow,
    StepState,
    begin,
    judge_window,
    late_verdict,
    observe,
    sort_rows,
    verdict_of,
)
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.verdicts import (
    Comparison,
    Concurrent,
    GatePolicy,
    Guard,
    GuardRole,
    Limit,
    Metric,
    NoDataCause,
    OnUnprovable,
    OutsideJudge,
    VerdictStatus,
)


def test_a_healthy_candidate_is_proven(shop: Any, traffic: Any) -> None:
    _, verdicts = shop.judge(traffic(stable_errors=1))
    assert verdicts[-1].status is VerdictStatus.PASS
    assert verdicts[-1].proven
    assert "Proven within the margins" in verdicts[-1].reason


def test_thirty_percent_errors_fail_within_two_windows(shop: Any, traffic: Any) -> None:
    _, verdicts = shop.judge(traffic(candidate_errors=12))
    assert verdicts[-1].status is VerdictStatus.FAIL
    assert len(verdicts) <= 2
    culprit = verdicts[-1].culprit
    assert (culprit.service, culprit.version, culprit.metric) == ("cart", "#2", Metric.ERROR_RATIO)
    assert culprit.edge == EdgeKey("frontend", "cart", EdgeKind.CALL)
    assert "30.00%" in verdicts[-1].reason


@pytest.mark.parametrize(("stable", "candidate", "errors"), [(20, 20, 6), (40, 40, 12), (60, 20, 6)])
def test_a_demo_sized_load_fails_within_three_windows(shop: Any, traffic: Any, stable: int, candidate: int, errors: int) -> None:
    """10 to 20 requests a second in the candidate's share, windows of 2 s, 30% errors."""
    weight = candidate / (stable + candidate)
    _, verdicts = shop.judge(
        traffic(stable=stable, candidate=candidate, candidate_errors=errors), assignment=shop.assignment(weight=weight)
    )
    assert verdicts[-1].status is VerdictStatus.FAIL
    assert len(verdicts) <= 3


@pytest.mark.parametrize(
    ("change", "metrics"),
    [
        ({"candidate_ms": 45.0}, {Metric.LATENCY_P50, Metric.LATENCY_P99}),
        ({"candidate_gap_ms": 20.0}, {Metric.NETWORK_GAP}),
        ({"candidate_calls": 6.0}, {Metric.CALLS_PER_REQUEST}),
        ({"candidate_calls": 0.0}, {Metric.CALLS_PER_REQUEST}),
        ({"dead": True}, {Metric.LOST_CALLS}),
    ],
)
def test_each_kind_of_harm_is_found_and_named(shop: Any, traffic: Any, change: dict[str, Any], metrics: set[Metric]) -> None:
    _, verdicts = shop.judge(traffic(**change))
    assert verdicts[-1].status is VerdictStatus.FAIL
    assert verdicts[-1].culprit.metric in metrics
    assert verdicts[-1].culprit.service == "cart"


@pytest.mark.parametrize(
    ("change", "metrics"),
    [
        ({"candidate_ms": 60.0}, {Metric.LATENCY_P50, Metric.LATENCY_P99}),
        ({"candidate_slow": 0.5}, {Metric.LATENCY_P50, Metric.LATENCY_P99}),
        ({"candidate_slow": 0.1}, {Metric.LATENCY_P99}),
        ({"candidate_gap_ms": 30.0}, {Metric.NETWORK_GAP}),
    ],
)
def test_harm_is_found_where_all_of_stables_latencies_are_alike(
    shop: Any, traffic: Any, change: dict[str, Any], metrics: set[Metric]
) -> None:
    """The quantile lies in a bucket above which stable has nothing, and above the one below it all."""
    quiet = shop.baseline(traffic=traffic(stable=400, candidate=0, scatter=0.0))
    _, verdicts = shop.judge(traffic(scatter=0.0, **change), baseline=quiet)
    assert verdicts[-1].status is VerdictStatus.FAIL
    assert verdicts[-1].culprit.metric in metrics


@pytest.mark.parametrize("candidate", [40, 400])
def test_a_healthy_candidate_is_proven_where_all_latencies_are_alike(shop: Any, traffic: Any, candidate: int) -> None:
    """Side by side, and once it has all the traffic."""
    quiet = shop.baseline(traffic=traffic(stable=400, candidate=0, scatter=0.0))
    alone = candidate == 400
    asked = shop.assignment(weight=1.0 if alone else 0.1)
    _, verdicts = shop.judge(traffic(stable=0 if alone else 360, candidate=candidate, scatter=0.0), assignment=asked, baseline=quiet)
    assert verdicts[-1].status is VerdictStatus.PASS
    assert verdicts[-1].proven


@pytest.mark.parametrize("metrics", [(Metric.LATENCY_P50,), ()])
def test_what_must_be_proven_is_asked_whatever_else_the_policy_asks(shop: Any, traffic: Any, metrics: tuple[Metric, ...]) -> None:
    policy = GatePolicy(metrics=metrics)
    _, verdicts = shop.judge(traffic(candidate_errors=4), assignment=shop.assignment(policy=policy))
    assert verdicts[-1].status is VerdictStatus.FAIL
    assert verdicts[-1].culprit.metric is Metric.ERROR_RATIO


def test_a_candidate_that_dies_fails_without_one_server_span(shop: Any, traffic: Any) -> None:
    """The loudest signal: no span of the candidate at all, only failed client halves of unknown version, in one window."""
    _, verdicts = shop.judge(traffic(dead=True))
    assert len(verdicts) == 1
    assert verdicts[0].metrics[0].windows == 0, "no window with both versions was ever seen"
    assert verdicts[0].coverage.unknown == pytest.approx(0.1)


def test_a_harmless_difference_passes(shop: Any, traffic: Any) -> None:
    """10% slower, within the margin of 25% and the slack of 5 ms: proven, not failed."""
    _, verdicts = shop.judge(traffic(candidate_ms=22.0, candidate_errors=0, stable_errors=1))
    assert verdicts[-1].status is VerdictStatus.PASS


def test_a_harmless_rise_of_errors_is_proven_harmless(shop: Any, traffic: Any) -> None:
    """2.5% errors where stable has none, under a margin of 6 points: worse, and proven to be within the margin."""
    policy = GatePolicy(error_margin=0.06, proof=(Metric.ERROR_RATIO,))
    _, verdicts = shop.judge(traffic(candidate_errors=1), assignment=shop.assignment(policy=policy, guards=shop.assignment().guards[:1]))
    assert verdicts[-1].status is VerdictStatus.PASS
    assert verdicts[-1].proven


def test_errors_that_both_versions_have_are_no_harm(shop: Any, traffic: Any) -> None:
    """A fault of a shared dependency, worse than any before: candidate and stable fail alike in the same windows."""
    _, verdicts = shop.judge(
        traffic(stable_errors=108, candidate_errors=12), windows=8, assignment=shop.assignment(guards=shop.assignment().guards[:1])
    )
    assert all(v.status is not VerdictStatus.FAIL for v in verdicts)


def test_a_stable_version_that_always_fails_does_not_block_its_hotfix(shop: Any, traffic: Any) -> None:
    """Nothing can be worse than 100% errors by the margin: the candidate that repairs them is proven, not taken for harm."""
    guards = shop.assignment().guards[:2]
    _, verdicts = shop.judge(traffic(stable_errors=360, candidate_errors=0), assignment=shop.assignment(guards=guards))
    assert verdicts[-1].status is VerdictStatus.PASS


def test_a_comparison_with_the_past_needs_twice_the_evidence(shop: Any, traffic: Any) -> None:
    """Half of its error budget, and half of its chance of a false pass, is spent on the bounds of what the past was."""
    _, verdicts = shop.judge(traffic(stable=0, candidate=400), windows=1, assignment=shop.assignment(weight=1.0, step=3))
    past = next(m for m in verdicts[0].metrics if m.comparison is Comparison.BASELINE and m.proof is not None)
    _, verdicts = shop.judge(traffic(), windows=1)
    beside = next(m for m in verdicts[0].metrics if m.comparison is Comparison.VERSIONS and m.proof is not None)
    assert past.proof_threshold == pytest.approx(2 * beside.proof_threshold)
    lost = next(m for m in verdicts[0].metrics if m.name is Metric.LOST_CALLS)
    assert lost.threshold == pytest.approx(2 * beside.threshold)


def test_before_after_harm_says_what_else_could_explain_it(shop: Any, traffic: Any) -> None:
    """The database slows down for everybody during the step while another rollout moves: FAIL, and the other is named."""
    assignment = shop.assignment(concurrent=(Concurrent("db-9", "db", "#9"),))
    state = begin(assignment, shop.baseline())
    for number in range(20):
        window = shop.window((30 + number) * 10, traffic(db_ms=30.0))
        state, verdict = judge_window(state, assignment, window)
        if verdict.status is VerdictStatus.FAIL:
            break
    assert verdict.status is VerdictStatus.FAIL
    assert verdict.culprit.explained_by == Concurrent("db-9", "db", "#9")
    assert "may explain it" in verdict.reason


def test_windows_before_the_weight_was_confirmed_do_not_count(shop: Any, traffic: Any) -> None:
    assignment = shop.assignment(weight_confirmed_at_ms=400_500)
    state, verdict = judge_window(begin(assignment, Baseline()), assignment, shop.window(400, traffic(candidate_errors=40)))
    assert state.windows == 0
    assert verdict.status is VerdictStatus.INCONCLUSIVE
    assert "confirmed" in verdict.reason


def test_a_repeated_window_changes_nothing(shop: Any, traffic: Any) -> None:
    assignment = shop.assignment()
    once, first = judge_window(begin(assignment, shop.baseline()), assignment, shop.window(300, traffic(candidate_errors=3)))
    twice, second = judge_window(once, assignment, shop.window(300, traffic(candidate_errors=40)))
    assert (twice, second) == (once, first)


def test_late_parts_count_in_the_next_window_and_their_share_is_told(shop: Any, traffic: Any) -> None:
    assignment = shop.assignment()
    state = begin(assignment, shop.baseline())
    state, _ = judge_window(state, assignment, shop.window(300, traffic()))
    late, old = shop.part(300, traffic(candidate_errors=30), number=1), shop.part(250, traffic(candidate_errors=40), number=1)
    state, verdict = judge_window(state, assignment, ClosedWindow(310, (shop.part(310, traffic()), late, old)))
    assert verdict.coverage.late == pytest.approx(1 / 3, abs=0.01)
    assert verdict.coverage.dropped == pytest.approx(1 / 4, abs=0.01)
    assert verdict.metrics[0].candidate.events == 30


def test_the_state_survives_json_and_judges_on(shop: Any, traffic: Any) -> None:
    """State encoded and decoded after every window gives the same verdicts, and stays below 2 KB a metric."""
    assignment = shop.assignment()
    kept = thawed = begin(assignment, shop.baseline())
    for number in range(6):
        window = shop.window((30 + number) * 10, traffic(candidate_errors=number % 2))
        kept, ours = judge_window(kept, assignment, window)
        thawed, theirs = judge_window(msgspec.json.decode(msgspec.json.encode(thawed), type=StepState), assignment, window)
        assert ours == theirs
    assert verdict_of(kept, assignment) == ours
    assert len(msgspec.json.encode(kept)) / len(ours.metrics) <= 2048


def test_one_label_for_both_versions_holds_with_the_remedy(shop: Any, traffic: Any) -> None:
    """A constant service.version: everything arrives under one label, and nothing of the candidate's."""
    _, verdicts = shop.judge(traffic(labels=("1.0", "1.0")), windows=4)
    assert all(v.status is VerdictStatus.INCONCLUSIVE for v in verdicts)
    assert "ctrlplane.version" in verdicts[-1].reason


def test_a_silent_service_is_told_from_a_late_pipeline(shop: Any, traffic: Any) -> None:
    assignment = shop.assignment()
    for lag, cause in ((0.0, NoDataCause.SILENT_SERVICE), (95.0, NoDataCause.PIPELINE_LATE)):
        state = begin(assignment, shop.baseline())
        for number in range(3):
            state, verdict = judge_window(state, assignment, ClosedWindow((30 + number) * 10, (), lag))
        assert verdict.status is VerdictStatus.NO_DATA
        assert verdict.no_data is cause
    assert "95 s late" in verdict.reason


def test_windows_that_do_not_close_are_the_pipelines_lateness(shop: Any) -> None:
    assignment = shop.assignment()
    verdict = late_verdict(begin(assignment, Baseline()), assignment, 42.0)
    assert (verdict.status, verdict.no_data) == (VerdictStatus.NO_DATA, NoDataCause.PIPELINE_LATE)
    assert verdict.coverage.lag_seconds == 42.0


def test_a_candidate_that_falls_silent_is_no_data(shop: Any, traffic: Any) -> None:
    assignment = shop.assignment()
    state = begin(assignment, shop.baseline())
    for number, candidate in enumerate((40, 40, 0)):
        state, verdict = judge_window(state, assignment, shop.window((30 + number) * 10, traffic(candidate=candidate)))
    assert verdict.status is VerdictStatus.NO_DATA
    assert "no more spans" in verdict.reason


def test_arrivals_far_from_the_weight_do_not_pass(shop: Any, traffic: Any) -> None:
    _, verdicts = shop.judge(traffic(stable=200, candidate=200), windows=10)
    assert verdicts[-1].status is VerdictStatus.INCONCLUSIVE
    assert "50.0% of the requests arrive at the candidate, whose weight is 10%" in verdicts[-1].reason
    assert verdicts[-1].contradicted


@pytest.mark.parametrize("late", [1, 6, 20])
def test_a_route_that_takes_up_its_weight_late_is_held_no_longer_than_it_is_late(late: int, shop: Any, traffic: Any) -> None:
    """Load balancers and connections that last follow some windows after the object says so."""
    assignment = shop.assignment()
    state, contradicted = begin(assignment, shop.baseline()), list[bool]()
    for number in range(late + 8):
        given = traffic(stable=400, candidate=400) if number < late else traffic(stable=720, candidate=80)
        state, verdict = judge_window(state, assignment, shop.window((30 + number) * 10, given))
        contradicted.append(verdict.contradicted)
    assert contradicted[late - 1]
    assert not any(contradicted[late + 3 :])


def test_low_traffic_says_what_it_cannot_prove_and_soaks(shop: Any, traffic: Any) -> None:
    """One request a second, 10% of it: an honest number, then PASS marked unproven."""
    _, verdicts = shop.judge(traffic(stable=9, candidate=1), baseline=shop.baseline(traffic=traffic(stable=10, candidate=0)))
    assert "cannot be proven here in the time allowed" in verdicts[-2].reason
    assert verdicts[-1].status is VerdictStatus.PASS
    assert not verdicts[-1].proven
    assert len(verdicts) == GatePolicy().soak_windows
    assert not any(verdict.doubtful for verdict in verdicts), "thin traffic is no doubt"


def test_windows_without_a_request_to_the_service_soak_nothing(shop: Any, traffic: Any) -> None:
    """Telemetry dies after two windows and comes back after more than a soak of them: what nobody saw was not judged."""
    assignment = shop.assignment()
    state = begin(assignment, shop.baseline(traffic=traffic(stable=10, candidate=0)))
    verdicts = []
    for number in range(2 + 20 + 11):
        window = (30 + number) * 10
        blind = 2 <= number < 22
        closed = ClosedWindow(window, (), 0.0) if blind else shop.window(window, traffic(stable=9, candidate=1))
        state, verdict = judge_window(state, assignment, closed)
        verdicts.append(verdict)
    assert verdicts[21].status is VerdictStatus.NO_DATA
    assert [v.windows_judged for v in verdicts[20:24]] == [2, 2, 3, 4]
    passed = [number for number, v in enumerate(verdicts) if v.status is VerdictStatus.PASS]
    assert passed[0] == 22 + GatePolicy().soak_windows - 2 - 1
    assert f"soaked for {GatePolicy().soak_windows} windows" in verdicts[passed[0]].reason


@pytest.mark.parametrize("late", [3, 18])
def test_windows_in_which_nobody_is_sent_to_the_candidate_soak_nothing_and_slow_no_proof(late: int, shop: Any, traffic: Any) -> None:
    """An agent syncs that late: what passed by was not judged, and says nothing of the rate to come."""
    assignment, judged = shop.assignment(), []
    for delay in (0, late):
        state, verdicts = begin(assignment, shop.baseline()), []
        for number in range(delay + 12):
            given = traffic(stable=40, candidate=0) if number < delay else traffic(stable=36, candidate=4)
            state, verdict = judge_window(state, assignment, shop.window((30 + number) * 10, given))
            verdicts.append(verdict)
        assert all(v.windows_judged <= 3 for v in verdicts[:delay])
        assert delay < 3 or verdicts[delay - 1].contradicted
        judged.append([(v.windows_judged, v.status) for v in verdicts[delay + 3 :]])
    assert judged[0] == judged[1]


def test_low_traffic_waits_for_a_person_where_the_policy_says_so(shop: Any, traffic: Any) -> None:
    assignment = shop.assignment(policy=GatePolicy(on_unprovable=OnUnprovable.HOLD))
    _, verdicts = shop.judge(
        traffic(stable=9, candidate=1), windows=70, assignment=assignment, baseline=shop.baseline(traffic=traffic(stable=10, candidate=0))
    )
    assert verdicts[-1].status is VerdictStatus.INCONCLUSIVE
    assert "promote it by hand" in verdicts[-1].reason


def test_what_is_near_the_margin_is_not_said_to_need_more_traffic(shop: Any, traffic: Any) -> None:
    """A candidate that fails more by all but the margin, with requests enough for the proof of one that does not."""
    judges = (OutsideJudge("business", may_approve=True),)
    policy = GatePolicy(proof=(Metric.ERROR_RATIO,), on_unprovable=OnUnprovable.APPROVAL, maximum_windows=20, outside=judges)
    failing = traffic(stable=2000, candidate=2000, stable_errors=10, candidate_errors=28)
    _, verdicts = shop.judge(failing, windows=20, assignment=shop.assignment(weight=0.5, policy=policy))
    assert "windows and is not after 20: the candidate lies close to the margin" in verdicts[-1].reason
    assert verdicts[-1].doubtful
    assert "waits for a PASS of business." in verdicts[-1].reason


def test_what_is_near_the_margin_is_told_before_the_time_is_over(shop: Any, traffic: Any) -> None:
    failing = traffic(stable=2000, candidate=2000, stable_errors=10, candidate_errors=28)
    policy = GatePolicy(proof=(Metric.ERROR_RATIO,))
    _, verdicts = shop.judge(failing, windows=10, assignment=shop.assignment(weight=0.5, policy=policy))
    assert all(verdict.doubtful for verdict in verdicts[4:])
    told = "cart is 1.40% (140 of 10000) against 0.50% (50 of 10000) of the stable version (1 point more allowed) after 5 windows"
    assert verdicts[4].reason.startswith(
        f"Neither harm nor its absence is shown: the share of failed requests of {told}: the candidate lies close"
    )


def test_the_proof_that_is_had_last_is_named_and_comes_nearer(shop: Any, traffic: Any) -> None:
    """A candidate that fails more by half the margin, in traffic that proves another's latencies in a third of the time."""
    slightly = traffic(stable=400, candidate=400, stable_errors=2, candidate_errors=4)
    quiet = shop.baseline(traffic=traffic(stable_errors=1))
    _, verdicts = shop.judge(slightly, windows=40, assignment=shop.assignment(weight=0.5), baseline=quiet)
    assert verdicts[-1].proven
    waits = [verdict.reason for verdict in verdicts[2:-1]]
    assert all("the share of failed requests of cart needs about" in reason for reason in waits)
    told = [int(reason.split(" needs about ")[1].split()[0]) for reason in waits]
    half = len(told) // 2
    assert all(told[i] >= told[i + 1] for i in range(half, len(told) - 1))
    assert all(left >= (len(told) - i) / 3 for i, left in enumerate(told))


def test_a_minimum_of_requests_that_is_out_of_reach_is_said(shop: Any, traffic: Any) -> None:
    policy = GatePolicy(minimum_samples=5000, on_unprovable=OnUnprovable.HOLD, error_margin=0.5, proof=(Metric.ERROR_RATIO,))
    _, verdicts = shop.judge(traffic(stable_errors=36, candidate_errors=4), windows=4, assignment=shop.assignment(policy=policy))
    assert "The minimum of 5000 candidate requests is not reached in 60 windows" in verdicts[-1].reason


def test_a_demo_policy_passes_a_step_in_three_windows(shop: Any, traffic: Any) -> None:
    """Forty requests a window in all and 2 s windows: soak_windows decides, and the verdict says that nothing is proven."""
    assignment = shop.assignment(weight=0.5, policy=GatePolicy(soak_windows=3, maximum_windows=15))
    _, verdicts = shop.judge(traffic(stable=20, candidate=20), assignment=assignment)
    assert [v.status for v in verdicts][-1] is VerdictStatus.PASS
    assert len(verdicts) == 3


def test_a_limit_that_stable_breaches_too_is_pre_existing(shop: Any, traffic: Any) -> None:
    policy = GatePolicy(limits=(Limit(Metric.ERROR_RATIO, 0.05),))
    guards = shop.assignment().guards[:1]
    broken = traffic(stable_errors=72, candidate_errors=8)
    _, verdicts = shop.judge(broken, windows=10, assignment=shop.assignment(policy=policy, guards=guards))
    assert all(v.status is not VerdictStatus.FAIL for v in verdicts)
    limit = next(m for m in verdicts[-1].metrics if m.comparison is Comparison.LIMIT)
    assert limit.pre_existing


def test_a_limit_that_only_the_candidate_breaches_fails(shop: Any, traffic: Any) -> None:
    """Within the margin of stable, and yet beyond the promise made to users."""
    policy = GatePolicy(error_margin=0.5, limits=(Limit(Metric.ERROR_RATIO, 0.05),))
    _, verdicts = shop.judge(traffic(candidate_errors=10), assignment=shop.assignment(policy=policy, guards=shop.assignment().guards[:1]))
    assert verdicts[-1].status is VerdictStatus.FAIL
    assert "absolute limit" in verdicts[-1].reason


def test_a_limit_on_latency_is_told_in_shares_of_requests(shop: Any, traffic: Any) -> None:
    policy = GatePolicy(latency_margin=5.0, limits=(Limit(Metric.LATENCY_P50, 50.0),), warm_up_windows=0)
    slow = traffic(stable=200, candidate=200, candidate_ms=80.0)
    _, verdicts = shop.judge(slow, assignment=shop.assignment(weight=0.5, policy=policy, guards=shop.assignment().guards[:1]))
    assert verdicts[-1].status is VerdictStatus.FAIL
    assert "the median latency is above 50 ms for 91.00% (182 of 200)" in verdicts[-1].reason
    assert "of the stable version (50% allowed)" in verdicts[-1].reason


@pytest.mark.parametrize(("unanswered", "past", "passes"), [(4, False, False), (0, False, True), (0, True, True)])
def test_calls_that_nobody_answers_are_not_passed_over_where_there_is_no_past(
    shop: Any, traffic: Any, unanswered: int, past: bool, passes: bool
) -> None:
    """A tenth of the candidate's requests die: nobody knows whether calls were lost before, and the verdict says so."""
    _, verdicts = shop.judge(traffic(unanswered=unanswered), baseline=None if past else Baseline())
    assert (verdicts[-1].status is VerdictStatus.PASS) == passes
    assert ("failed and no server answered them" in verdicts[-1].reason) != passes
    assert verdicts[-1].doubtful != passes


def test_at_full_weight_the_candidate_is_held_against_the_past(shop: Any, traffic: Any) -> None:
    assignment = shop.assignment(weight=1.0, step=3)
    healthy = shop.judge(traffic(stable=0, candidate=400), assignment=assignment)[1]
    assert healthy[-1].status is VerdictStatus.PASS
    harmed = shop.judge(traffic(stable=0, candidate=400, candidate_errors=40), assignment=assignment)[1]
    assert harmed[-1].status is VerdictStatus.FAIL
    assert harmed[-1].culprit.metric is Metric.ERROR_RATIO


@pytest.mark.parametrize("past", [30, 10])
@pytest.mark.parametrize("good", [0, 6, 24, 60])
def test_harm_that_begins_late_in_a_bake_is_found_and_does_not_pass_on(good: int, past: int, shop: Any, traffic: Any) -> None:
    """Against a past that bounds tell of, and one too thin for them."""
    assignment = shop.assignment(weight=1.0, baking=True, step=4, attempt=5)
    state = begin(assignment, shop.baseline(past, traffic(stable=400, candidate=0, stable_errors=2)))
    said = []
    for number in range(good + 8):
        errors = 2 if number < good else 120
        window = shop.window((100 + number) * 10, traffic(stable=0, candidate=400, candidate_errors=errors))
        state, verdict = judge_window(state, assignment, window)
        said.append(verdict.status)
        assert number < good + 3 or verdict.doubtful or verdict.status is VerdictStatus.FAIL
    assert VerdictStatus.FAIL not in said[:good]
    assert VerdictStatus.PASS not in said[good + 3 :]
    assert said[-1] is VerdictStatus.FAIL


def test_harm_that_begins_late_beside_stable_is_found(shop: Any, traffic: Any) -> None:
    assignment = shop.assignment(weight=0.5)
    state = begin(assignment, shop.baseline())
    for number in range(24 + 6):
        errors = 1 if number < 24 else 16
        window = shop.window((100 + number) * 10, traffic(stable=200, candidate=200, stable_errors=1, candidate_errors=errors))
        state, verdict = judge_window(state, assignment, window)
    assert verdict.status is VerdictStatus.FAIL


@pytest.mark.parametrize("calls", [0.0, 1.0, 6.0])
def test_at_full_weight_calls_that_multiply_or_are_no_longer_made_are_found(shop: Any, traffic: Any, calls: float) -> None:
    """Two calls to the database per request before the rollout, and now none, half of them or three times as many."""
    assignment = shop.assignment(weight=1.0, step=3, guards=shop.assignment().guards[:1])
    _, verdicts = shop.judge(traffic(stable=0, candidate=400, candidate_calls=calls), assignment=assignment)
    assert verdicts[-1].status is VerdictStatus.FAIL
    assert verdicts[-1].culprit.metric is Metric.CALLS_PER_REQUEST
    assert verdicts[-1].culprit.edge == EdgeKey("cart", "db", EdgeKind.DATABASE)


@pytest.mark.parametrize("calls", [0.0, 6.0])
@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_calls_that_multiply_or_are_no_longer_made_late_are_found(shop: Any, traffic: Any, weight: float, calls: float) -> None:
    assignment = shop.assignment(weight=weight, step=3, guards=shop.assignment().guards[:1])
    state, stable = begin(assignment, shop.baseline()), 0 if weight == 1.0 else 100
    for number in range(20 + 5):
        made = 2.0 if number < 20 else calls
        window = shop.window((30 + number) * 10, traffic(stable=stable, candidate=100, candidate_calls=made))
        state, verdict = judge_window(state, assignment, window)
    assert verdict.status is VerdictStatus.FAIL


def test_a_first_version_has_nothing_to_be_compared_with_and_soaks(shop: Any, traffic: Any) -> None:
    change = msgspec.structs.replace(shop.assignment().changed[0], stable=None)
    _, verdicts = shop.judge(
        traffic(stable=0, candidate=400), assignment=shop.assignment(changed=(change,), weight=1.0), baseline=Baseline(), windows=70
    )
    assert verdicts[-1].status is VerdictStatus.PASS
    assert not verdicts[-1].proven


def test_what_a_rollout_watches_stays_frozen_in_the_baseline(shop: Any, traffic: Any) -> None:
    before = shop.baseline()
    after = observe(before, sort_rows(shop.window(400, traffic(candidate_errors=40)), 0), ("cart",))
    assert after.of("cart") == before.of("cart")
    assert after.of("frontend") != before.of("frontend")


def test_a_limit_of_what_none_can_be_set_to_is_no_limit_of_failures(shop: Any, traffic: Any) -> None:
    """A catalog from before these were refused may hold one."""
    policy = GatePolicy(metrics=(), proof=(), limits=(Limit(Metric.LOST_CALLS, 0.0005),))
    _, verdicts = shop.judge(traffic(candidate_errors=4), assignment=shop.assignment(policy=policy))
    assert verdicts[-1].status is VerdictStatus.PASS


def test_a_margin_of_0_is_said_to_be_what_nothing_proves(shop: Any, traffic: Any) -> None:
    policy = GatePolicy(error_margin=0.0, on_unprovable=OnUnprovable.HOLD)
    _, verdicts = shop.judge(traffic(), windows=4, assignment=shop.assignment(policy=policy))
    assert "share of failed requests of cart cannot be proven here in the time allowed: nothing proves a margin of 0" in verdicts[-1].reason


def test_tail_sampling_that_keeps_errors_does_not_multiply_them(shop: Any, traffic: Any) -> None:
    """Every error is kept and one success in ten: the error share is that of the estimate, not of what is left."""
    part = shop.part(300, traffic(stable=360, candidate=40, stable_errors=36, candidate_errors=4))
    edges = tuple(
        msgspec.structs.replace(e, estimated_calls=(e.calls - e.errors) * 10.0 + e.errors, estimated_errors=float(e.errors))
        if e.callee == "cart"
        else e
        for e in part.edges
    )
    services = tuple(
        msgspec.structs.replace(s, estimated_requests=(s.requests - s.errors) * 10.0 + s.errors) if s.service == "cart" else s
        for s in part.services
    )
    sampled = msgspec.structs.replace(part, edges=edges, services=services)
    assignment = shop.assignment()
    state = begin(assignment, shop.baseline())
    for number in (30, 31):
        state, verdict = judge_window(state, assignment, ClosedWindow(number * 10, (msgspec.structs.replace(sampled, window=number * 10),)))
    assert verdict.coverage.observed == pytest.approx(0.11, abs=0.01)
    second = state.checks["changed|cart|versions|error_ratio"]
    assert second.candidate.total > 40 + 300


def test_tail_sampling_does_not_multiply_the_errors_at_the_entry_points_either(shop: Any, traffic: Any) -> None:
    """Ten in a thousand of stable's and fifteen of the candidate's requests fail, which is within the margin; every failed trace is kept
    and one in ten of the others, so that of those kept it is 9% and 13%, which would not be."""
    kept = shop.part(300, traffic(stable=3 * 109, candidate=2 * 113, stable_errors=3 * 10, candidate_errors=2 * 15))
    services = tuple(
        msgspec.structs.replace(s, errors=60, estimated_requests=(s.requests - 60) * 10.0 + 60.0) if s.service == "frontend" else s
        for s in kept.services
    )
    kept = msgspec.structs.replace(kept, services=services)
    assignment = shop.assignment(guards=(Guard("", GuardRole.ENTRY, required=True),))
    state = begin(assignment, shop.baseline())
    for number in range(30, 60):
        state, verdict = judge_window(state, assignment, ClosedWindow(number * 10, (msgspec.structs.replace(kept, window=number * 10),)))
    errors = next(m for m in verdict.metrics if m.name is Metric.ERROR_RATIO)
    assert errors.stable.value == pytest.approx(0.01, rel=0.01)
    assert errors.candidate.value == pytest.approx(0.015, rel=0.01)
    assert errors.status is not VerdictStatus.FAIL
