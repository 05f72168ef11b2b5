"""What another policy would have done: decided anew, judged anew, and open where the recording cannot say."""

import random

import msgspec
import pytest

from ctrlplane_stream.commands.other_policy import Told, words
from ctrlplane_stream.decision.entities import Rollout
from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.facts import (
    ArtifactPushed,
    CatalogApplied,
    EdgeSeen,
    EdgesObserved,
    Fact,
    FactRecord,
    Origin,
    OutcomeStatus,
    OverrideRequested,
    OverrideVerb,
    ServiceSeen,
    WorldCause,
    WorldChanged,
)
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind, ServiceKind, Target
from ctrlplane_stream.model.policy import Mode, Policy, Step
from ctrlplane_stream.model.verdicts import GatePolicy
from ctrlplane_stream.model.windows import Closed, ServiceWindow, WindowPart, WindowRecord
from ctrlplane_stream.model.world import Capacity, ObservedVersion, TargetObserved, TargetWanted, WantedVersion
from ctrlplane_stream.simulation.backtest import Backtest, Compared, Ending, Outcome, Recording, taken
from ctrlplane_stream.simulation.loop import Loop, artifact, catalog, service
from ctrlplane_stream.simulation.recorded_world import RecordedWorld
from ctrlplane_stream.stream.judging import Timing

PLACE, CART = "production", "shop/cart"
SECONDS = 10
START = 1_700_000_000
PUSHED, SEEN, ENDS = START + 600, START + 620, START + 1800
TIMING = Timing(1, SECONDS, 10.0)
QUICK = Policy(
    steps=(Step(10, 10, 200), Step(50, 10, 200), Step(100, 10, 200)),
    bake_seconds=30,
    bake_windows=2,
    drain_seconds=20,
    ready_timeout_seconds=60,
)
BLIND = msgspec.structs.replace(QUICK, gate=GatePolicy(metrics=(), proof=()))
"""As quick, and it looks at nothing."""


def _row(version: str, requests: int, errors: int) -> ServiceWindow:
    chance = random.Random(requests)
    latency = sketch.of(20_000 * chance.lognormvariate(0, 0.2) for _ in range(requests))
    return ServiceWindow(CART, version, requests, errors, float(requests), requests, latency)


def _windows(bad: int) -> list[tuple[int, int, WindowRecord]]:
    """Forty requests a second of which, once it is there, every tenth reaches #2, where ``bad`` of forty fail."""
    found: list[tuple[int, int, WindowRecord]] = []
    for window in range(START, ENDS, SECONDS):
        rows = (_row("#1", 360, 1), _row("#2", 40, bad)) if window >= SEEN else (_row("#1", 400, 1),)
        at_ms = (window + 2 * SECONDS) * 1000
        found.append((at_ms, len(found), WindowPart(PLACE, 0, window, 0, services=rows)))
        found.append((at_ms, len(found), Closed(PLACE, 0, window)))
    return found


def _facts(*more: tuple[int, Fact]) -> list[tuple[int, Fact]]:
    edge = EdgeSeen(EdgeKey("shop/web", CART, EdgeKind.CALL), START, START, 100, 40.0)
    told: list[tuple[int, Fact]] = [
        (START, CatalogApplied(catalog(service(CART)), "h", "ada")),
        (START, EdgesObserved(START, (edge,), (ServiceSeen(CART, START, 40.0, 40.0),))),
        (START + 1, ArtifactPushed("one", artifact(CART, 1))),
        (PUSHED, ArtifactPushed("two", artifact(CART, 2))),
        *more,
    ]
    return [(at * 1000, fact) for at, fact in sorted(told, key=lambda t: t[0])]


def _run(bad: int, policy: Policy, *more: tuple[int, Fact], rollouts: tuple[Rollout, ...] = ()) -> Compared:
    """What the policy makes of the release of #2."""
    compared = Backtest(Recording(PLACE, tuple(_facts(*more)), tuple(_windows(bad)), rollouts), policy, TIMING).run()
    return next(one for one in compared if "#2" in one.changed[CART].partition("->")[2])


def _other(compared: Compared) -> Ending:
    assert compared.other is not None
    return compared.other


def _recorded(bad: int, policy: Policy) -> tuple[Rollout, ...]:
    """Rollouts as an engine under this policy would have recorded them."""
    backtest = Backtest(Recording(PLACE, tuple(_facts()), tuple(_windows(bad)), ()), policy, TIMING)
    backtest.run()
    return backtest.rollouts


def test_a_healthy_version_completes() -> None:
    """All steps, and a tenth, half and all of the requests are counted as its own."""
    ending = _other(_run(0, QUICK))
    assert (ending.phase, ending.highest) == ("completed", 100), ending
    assert ending.requests > 400


def test_a_failing_version_is_reverted_at_its_first_step_and_a_blind_policy_lets_it_through() -> None:
    """The telemetry is the same; what is made of it is the policy's."""
    strict, blind = _other(_run(20, QUICK)), _other(_run(20, BLIND))
    assert (strict.phase, strict.highest) == ("reverted", 10), strict
    assert "failed requests" in strict.because
    assert (blind.phase, blind.highest) == ("completed", 100), blind
    assert strict.requests < blind.requests


def test_one_that_has_not_ended_has_lasted_to_the_end_of_the_recording() -> None:
    """Not to its last change of phase, which is moments after its beginning where a step lasts long."""
    long = msgspec.structs.replace(QUICK, steps=(Step(10, 9000, 9900), Step(100, 10, 200)))
    compared = _run(0, long, rollouts=_recorded(0, long))
    recording = max(at_ms for at_ms, *_ in _windows(0)) / 1000 - PUSHED
    assert [(side.phase, side.seconds) for side in (compared.recorded, compared.other) if side] == [("verifying", recording)] * 2
    assert f"still verifying after {recording:.0f} s, up to 10%" in "\n".join(words(Told(PLACE, 4, None, (compared,))))


def test_where_the_recording_ends_nothing_is_claimed() -> None:
    """The recorded rollout was reverted, the other policy would have gone on: open, not completed."""
    recorded = _recorded(20, QUICK)
    compared = _run(20, msgspec.structs.replace(BLIND, steps=(Step(10, 600, 900), Step(100, 10, 200))), rollouts=recorded)
    assert compared.recorded is not None
    assert compared.recorded.phase == "reverted"
    assert _other(compared).phase == "open"
    assert not compared.same


@pytest.mark.parametrize(
    ("was", "would_be", "outcome"),
    [
        ("completed", "completed", Outcome.SAME),
        ("completed", "reverted", Outcome.OTHERWISE),
        ("reverted", "open", Outcome.OTHERWISE),
        ("completed", None, Outcome.OTHERWISE),
        (None, "completed", Outcome.OTHERWISE),
        ("draining", "reverted", Outcome.UNDECIDED),
        ("queued", "verifying", Outcome.UNDECIDED),
        ("verifying", "verifying", Outcome.UNDECIDED),
        ("completed", "baking", Outcome.UNDECIDED),
        ("draining", "open", Outcome.UNDECIDED),
    ],
)
def test_only_what_ended_can_have_ended_otherwise(was: str | None, would_be: str | None, outcome: Outcome) -> None:
    """What had not ended when the recording does is said to be so."""
    sides = [Ending(phase, "", 100, 60.0, 1) if phase is not None else None for phase in (was, would_be)]
    compared = Compared({CART: "#1 -> #2"}, *sides)
    assert (compared.outcome, compared.same) == (outcome, outcome is Outcome.SAME)
    said = words(Told(PLACE, 1, 0, (compared,)))[-1]
    assert said.startswith(f"{int(outcome is Outcome.OTHERWISE)} of 1 would have ended otherwise")
    assert ("had not ended" in said) is (outcome is Outcome.UNDECIDED)


def test_what_another_tool_moved_is_left_out_with_the_share_that_it_had() -> None:
    """No policy of ours moves it, so none would have ended it otherwise; and what had requests was not at 0%."""
    loop = Loop.of(catalog(service("cart", msgspec.structs.replace(QUICK, mode=Mode.ADVISE))))
    loop.moves("cart", v1=1000)
    loop.run(20)
    loop.moves("cart", v1=500, v2=500)
    loop.run(60)
    facts = tuple(_facts())
    (compared,) = (
        one for one in Backtest(Recording(PLACE, facts, (), tuple(loop.driver.rollouts)), QUICK, TIMING).run() if "cart" in one.changed
    )
    assert compared.recorded is not None
    assert (compared.outcome, compared.recorded.highest) == (Outcome.ADVISED, 50)
    lines = words(Told(PLACE, 1, 0, (compared,)))
    assert "left out: another tool moved it" in lines[-2]
    assert lines[-1] == "0 of 1 would have ended otherwise, 0 alike; 1 left out"


def test_each_attempt_of_a_rollout_is_compared_with_itself() -> None:
    """A retry keeps the id of what it tries again."""
    retry = (PUSHED + 300, OverrideRequested("r", OverrideVerb.RETRY, "ada", "once more", service=CART, version="#2"))
    facts, windows = tuple(_facts(retry)), tuple(_windows(20))
    recorded = Backtest(Recording(PLACE, facts, windows, ()), QUICK, TIMING)
    recorded.run()
    compared = Backtest(Recording(PLACE, facts, windows, recorded.rollouts), QUICK, TIMING).run()
    both = [one for one in compared if "#2" in one.changed[CART].partition("->")[2]]
    assert [(one.recorded.phase, one.other.phase) for one in both if one.recorded and one.other] == [("reverted", "reverted")] * 2


def test_the_same_policy_ends_the_same() -> None:
    """Whatever came of it."""
    for bad in (0, 20):
        assert _run(bad, QUICK, rollouts=_recorded(bad, QUICK)).same


@pytest.mark.parametrize(("ready", "failure"), [(0, None), (1, "CrashLoopBackOff")])
def test_a_version_that_was_seen_to_fail_fails_again(ready: int, failure: str | None) -> None:
    """Never ready, or ready and then in a crash loop: what the world showed, it shows under any policy."""

    def world(at: int, ready: int, failure: str | None) -> tuple[int, Fact]:
        versions = (ObservedVersion("#2", "sha256:2", 1, ready, 0, failure),)
        return at, WorldChanged(Target(PLACE, CART), WorldCause.READINESS, TargetObserved(Target(PLACE, CART), versions))

    ending = _other(_run(0, BLIND, world(PUSHED + 5, ready, None), world(PUSHED + 40, 0, failure)))
    assert ending.phase == "reverted", ending
    assert ending.highest < 100


def test_a_job_goes_by_its_recorded_runs() -> None:
    """Each run that ended well counts as it did, and too few of them leave it where it is."""

    def ran(at: int, label: str, runs: int) -> tuple[int, Fact]:
        seen = TargetObserved(Target(PLACE, CART), (ObservedVersion(label, "sha256:2", 1, 1, 100, runs=runs),))
        return at, WorldChanged(Target(PLACE, CART), WorldCause.READINESS, seen)

    job = CatalogApplied(catalog(service(CART, kind=ServiceKind.JOB)), "h", "ada")

    def ends(runs: int) -> str:
        first = [ran(START + 20 * n, "#1", n) for n in range(1, 12)]
        then = [ran(PUSHED + 60 * n, "#2", n) for n in range(1, runs + 1)]
        facts = [(at_ms, job if isinstance(fact, CatalogApplied) else fact) for at_ms, fact in _facts(*first, *then)]
        compared = Backtest(Recording(PLACE, tuple(facts), tuple(_windows(0)), ()), QUICK, TIMING).run()
        return _other(next(one for one in compared if "#2" in one.changed[CART].partition("->")[2])).phase

    assert [ends(8), ends(2)] == ["completed", "verifying"]


def _catalog(page: str) -> Fact:
    return CatalogApplied(catalog(service(CART, configuration={"PAGE": page})), page, "ada")


def test_what_was_written_into_facts_once_more_is_not_decided_once_more() -> None:
    """After a role was killed the whole catalog comes again, the first revision of it too: the recorded engine dropped that."""

    def told(at: int, fact: Fact, topic: str, offset: int) -> tuple[int, FactRecord]:
        return at * 1000, FactRecord(PLACE, fact, Origin(topic, 0, offset, at_ms=offset + 1))

    pushed = told(START + 1, ArtifactPushed("one", artifact(CART, 1)), "artifacts", 0)
    first, second = told(START, _catalog("1"), "catalog", 0), told(PUSHED, _catalog("2"), "catalog", 1)
    again = [(at * 1000, record) for at in (PUSHED + 5, PUSHED + 300) for _, record in (first, pushed, second)]
    once, twice = taken([first, pushed, second]), taken([first, pushed, second, *again])
    assert twice == once
    both = Backtest(Recording(PLACE, twice, tuple(_windows(0)), ()), QUICK, TIMING).run()
    assert [(one.changed[CART], _other(one).phase) for one in both] == [("nothing -> #1", "completed"), ("#1 -> #2", "completed")]


def test_a_brokers_clock_that_goes_back_a_little_makes_no_repetition() -> None:
    """It is by the order of the log that a fact is one; those without an origin never are."""
    log = [(at_ms, FactRecord(PLACE, _catalog(str(n)), Origin("catalog", 0, n))) for n, at_ms in enumerate((1000, 900, 1100))]
    assert taken(log) == tuple((at_ms, record.fact) for at_ms, record in log)
    none = [(1000, FactRecord(PLACE, _catalog("1")))] * 2
    assert len(taken(none)) == 2


def test_what_stands_where_another_log_had_something_is_taken() -> None:
    """A topic that was made anew: by the date of its records, as the engine tells them."""
    at = [Origin("catalog", 0, 0, at_ms=10), Origin("catalog", 0, 0, at_ms=20), Origin("catalog", 0, 0, at_ms=10)]
    log = [(1000, FactRecord(PLACE, _catalog(str(n)), origin)) for n, origin in enumerate(at)]
    assert [fact for _, fact in taken(log)] == [_catalog("0"), _catalog("1")]


def test_windows_that_are_written_once_more_are_counted_once() -> None:
    """As the judge takes them: after a restart they come again under their names."""
    recorded, windows = _recorded(0, QUICK), _windows(0)
    twice = [(at_ms, 2 * offset + again, record) for at_ms, offset, record in windows for again in (0, 1)]
    one, other = (Backtest(Recording(PLACE, tuple(_facts()), tuple(told), recorded), QUICK, TIMING).run() for told in (windows, twice))
    assert one == other
    assert any(compared.recorded is not None and compared.recorded.requests for compared in one)


def test_the_recording_is_decided_the_same_every_time() -> None:
    """No clock and no chance of its own."""
    assert _run(3, QUICK) == _run(3, QUICK)


def test_what_was_adopted_in_the_recording_is_there_to_be_adopted_again() -> None:
    """And only that: a version that the recording never shows was refused, and is again."""
    world, target = RecordedWorld(PLACE), Target(PLACE, CART)
    seen = TargetObserved(target, (ObservedVersion("#1", artifact(CART, 1).digest, 2, 2, 100),))
    world.note(START, WorldChanged(target, WorldCause.READINESS, seen))
    for sequence, (number, status) in enumerate(((2, OutcomeStatus.REFUSED), (1, OutcomeStatus.APPLIED)), 1):
        version = WantedVersion(f"#{number}", artifact(CART, number), {}, Capacity.FULL, 100)
        wanted = TargetWanted(target, ServiceKind.ROUTED, (version,), version.label)
        assert world.apply(Command(f"c{number}", Verb.ADOPT, target, sequence, wanted, "the test"), START * 1000).status is status
