"""What a set of services goes by is, line by line, no weaker than the policy of any of them."""

from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.decision.holds import closed_by_maintenance
from ctrlplane_stream.model.policy import MaintenanceWindow, OnDrift, Policy, Step, Unsure, problems
from ctrlplane_stream.model.strictest import NEVER, strictest
from ctrlplane_stream.model.verdicts import GatePolicy, OnUnprovable, OutsideJudge

_MONDAY_MS = 4 * 86_400_000  # 1970-01-05
_STRICT = [Unsure.SOAK, Unsure.HOLD, Unsure.ABORT]
SECONDS = st.sampled_from([0.0, 10.0, 60.0, 300.0])


@st.composite
def ladders(draw: st.DrawFn) -> tuple[Step, ...]:
    weights = [*sorted(draw(st.sets(st.sampled_from([1, 5, 10, 25, 50, 75]), max_size=4))), 100]
    return tuple(
        Step(weight, draw(SECONDS), 300.0 + draw(SECONDS), draw(st.integers(0, 5)), approval=draw(st.booleans())) for weight in weights
    )


@st.composite
def windows(draw: st.DrawFn) -> MaintenanceWindow:
    begin = draw(st.sampled_from([0, 300, 600, 900]))
    days = tuple(sorted(draw(st.sets(st.integers(0, 6), min_size=1, max_size=4))))
    return MaintenanceWindow(days, begin, begin + draw(st.sampled_from([60, 400, 540])))


GATES = st.builds(
    GatePolicy,
    alpha=st.sampled_from([0.001, 0.01, 0.05]),
    error_margin=st.sampled_from([0.001, 0.01, 0.1]),
    minimum_samples=st.sampled_from([0, 50, 500]),
    on_unprovable=st.sampled_from(list(OnUnprovable)),
    outside=st.sampled_from([(), (OutsideJudge("x", may_approve=True),), (OutsideJudge("x", may_veto=False, required=True),)]),
)
POLICIES = st.builds(
    Policy,
    steps=ladders(),
    bake_seconds=SECONDS,
    drain_seconds=SECONDS,
    drain_limit_seconds=st.just(600.0),
    exposure_budget_requests=st.sampled_from([None, 0, 10]),
    on_no_data=st.sampled_from(_STRICT),
    on_unprovable=st.sampled_from(_STRICT),
    on_unknown_service=st.sampled_from(_STRICT),
    on_drift=st.sampled_from(list(OnDrift)),
    auto_promote=st.booleans(),
    maintenance=st.lists(windows(), max_size=3).map(tuple),
    gate=GATES,
)


@given(st.lists(POLICIES, min_size=1, max_size=4))
def test_nothing_that_one_of_them_asks_for_is_lost(every: list[Policy]) -> None:
    merged = strictest(every[0], every)
    assert [step.weight for step in merged.steps] == sorted({step.weight for each in every for step in each.steps})
    if merged.maintenance != NEVER:
        assert not list(problems(merged))
    for each in every:
        assert merged.bake_seconds >= each.bake_seconds
        assert merged.drain_seconds >= each.drain_seconds
        assert each.exposure_budget_requests is None or (merged.exposure_budget_requests or 0) <= each.exposure_budget_requests
        assert each.auto_promote or not merged.auto_promote
        for name in ("on_no_data", "on_unprovable", "unprovable_bake", "on_unknown_service"):
            assert _STRICT.index(getattr(merged, name)) >= _STRICT.index(getattr(each, name)), name
        assert merged.on_drift is OnDrift.HOLD or each.on_drift is OnDrift.RESTORE
        assert merged.gate.error_margin <= each.gate.error_margin
        assert merged.gate.alpha <= each.gate.alpha
        assert merged.gate.minimum_samples >= each.gate.minimum_samples
        for asked in each.steps:
            step = next(s for s in merged.steps if s.weight == asked.weight)
            assert step.min_seconds >= asked.min_seconds
            assert step.max_seconds >= asked.max_seconds
            assert step.min_windows >= asked.min_windows
            assert step.approval or not asked.approval
        for judge in each.gate.outside:
            heard = next(j for j in merged.gate.outside if j.name == judge.name)
            assert heard.may_veto or not judge.may_veto
            assert heard.required or not judge.required
            assert judge.may_approve or not heard.may_approve


@given(st.lists(POLICIES, min_size=1, max_size=4), st.integers(0, 7 * 1440 - 1))
def test_a_time_is_open_for_a_set_just_where_it_is_for_each(every: list[Policy], minute: int) -> None:
    now_ms = _MONDAY_MS + minute * 60_000
    together = closed_by_maintenance(now_ms, strictest(every[0], every)) is None
    assert together == all(closed_by_maintenance(now_ms, each) is None for each in every)


@given(st.lists(POLICIES, min_size=1, max_size=4))
def test_whoever_shares_a_policy_has_it_as_it_is(every: list[Policy]) -> None:
    assert strictest(every[0], [every[0]] * len(every)) is every[0]
