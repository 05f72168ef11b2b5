"""The judge's bench for one environment."""

import msgspec

from ctrlplane_stream.decision.judge import ClosedWindow
from ctrlplane_stream.model.commands import Command, JudgeAssigned, JudgeReleased, Verb
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.verdicts import Assignment, Change, Guard, GuardRole, NoDataCause, VerdictStatus
from ctrlplane_stream.model.windows import ServiceWindow, WindowPart
from ctrlplane_stream.model.world import Capacity, TargetWanted, WantedVersion
from ctrlplane_stream.stream.judge_records import Docket
from ctrlplane_stream.stream.judging import Bench, Timing
from ctrlplane_stream.stream.roles.actuate import watch_of, watches_elsewhere

TIMING = Timing(1, 10, 10.0)
CART = "shop/cart"
ASSIGNMENT = Assignment(
    rollout="live/shop-cart/2",
    environment="live",
    step=0,
    attempt=1,
    changed=(Change(CART, "#2", "#1"),),
    guards=(Guard(CART, GuardRole.CHANGED, required=True),),
    weight=0.5,
    weight_confirmed_at_ms=1_000_000,
    steps=4,
)


def _window(window: int, bad: int) -> ClosedWindow:
    rows = (ServiceWindow(CART, "#1", 100, 0, 100.0, 0), ServiceWindow(CART, "#2", 100, bad, 100.0, 0))
    return ClosedWindow(window, (WindowPart("live", 0, window, 0, services=rows),))


def _wanted(*versions: tuple[str, Capacity, int], stable: str | None = "#1") -> TargetWanted:
    artifact = Artifact(CART, "registry.example/shop/cart", "sha256:" + "0" * 64)
    made = tuple(WantedVersion(label, artifact, {}, capacity, weight) for label, capacity, weight in versions)
    return TargetWanted(Target("live", CART), ServiceKind.ROUTED, made, stable)


def test_a_step_is_judged_from_its_assignment_to_its_release() -> None:
    """A verdict a window in between, none before and none after."""
    bench = Bench(TIMING)
    assert bench.judge(_window(990, 0)) == []
    bench.hear(JudgeAssigned(ASSIGNMENT))
    (verdict,) = bench.judge(_window(1000, 60))
    assert (verdict.status, verdict.rollout, verdict.window) == (VerdictStatus.FAIL, ASSIGNMENT.rollout, 1000)
    bench.hear(JudgeReleased(ASSIGNMENT.rollout, "it is over"))
    assert bench.judge(_window(1010, 60)) == []


def test_a_verdict_can_be_given_again_from_what_was_written_down() -> None:
    """A crash between the record and the verdict loses nothing: byte for byte the same verdict follows."""
    bench = Bench(TIMING)
    bench.hear(JudgeAssigned(ASSIGNMENT))
    (verdict,) = bench.judge(_window(1000, 3))
    written = msgspec.json.decode(msgspec.json.encode(bench.docket), type=Docket)
    restarted = Bench(TIMING, written)
    restarted.hear(JudgeAssigned(ASSIGNMENT))
    assert msgspec.json.encode(restarted.again()) == msgspec.json.encode([verdict])


def test_windows_that_do_not_close_are_said_to_be_late() -> None:
    """NO_DATA with its cause, and only once patience is at its end."""
    bench = Bench(TIMING)
    bench.hear(JudgeAssigned(ASSIGNMENT))
    assert bench.late(1_000_000 + 40_000) == []
    (verdict,) = bench.late(1_000_000 + 90_000)
    assert (verdict.status, verdict.no_data) == (VerdictStatus.NO_DATA, NoDataCause.PIPELINE_LATE)


def test_a_target_is_in_motion_while_two_of_its_versions_run() -> None:
    """A parked version is no part of it."""
    bench = Bench(TIMING)

    def command(wanted: TargetWanted) -> Command:
        return Command("c", Verb.SHIFT, wanted.target, 1, wanted, "because")

    bench.hear(command(_wanted(("#1", Capacity.FULL, 95), ("#2", Capacity.WEIGHTED, 5))))
    assert bench.in_motion == {CART}
    bench.hear(command(_wanted(("#1", Capacity.PARKED, 0), ("#2", Capacity.FULL, 100), stable="#2")))
    assert bench.in_motion == frozenset()


def test_candidate_and_stable_are_watched_while_the_candidate_has_weight() -> None:
    """Before and after nothing is: exposure costs something for every trace."""
    assert watch_of(_wanted(("#1", Capacity.FULL, 100), ("#2", Capacity.WEIGHTED, 0))).versions == ()
    assert watch_of(_wanted(("#1", Capacity.FULL, 95), ("#2", Capacity.WEIGHTED, 5))).versions == ("#1", "#2")
    assert watch_of(_wanted(("#1", Capacity.FULL, 0), ("#2", Capacity.FULL, 100))).versions == ("#1", "#2")
    assert watch_of(_wanted(("#2", Capacity.FULL, 100), stable="#2")).versions == ()
    assert watch_of(_wanted(("#1", Capacity.FULL, 100), stable=None)).versions == ()


def test_an_adopted_version_is_watched_by_the_label_that_its_telemetry_carries() -> None:
    wanted = _wanted(("#1", Capacity.FULL, 95), ("#2", Capacity.FULL, 5))
    adopted = msgspec.structs.replace(wanted.versions[0], told_as="2024.1")
    assert watch_of(msgspec.structs.replace(wanted, versions=(adopted, wanted.versions[1]))).versions == ("#2", "2024.1")


def test_what_another_tool_moves_is_in_motion_and_told_apart_while_it_is_judged() -> None:
    bench, known = Bench(TIMING), dict[str, Assignment]()
    advised = msgspec.structs.replace(ASSIGNMENT, advised=True)
    bench.hear(JudgeAssigned(advised))
    assert bench.in_motion == {CART}
    assert [w.versions for w in watches_elsewhere(JudgeAssigned(advised), known)] == [("#1", "#2")]
    known[advised.rollout] = advised
    whole = JudgeAssigned(msgspec.structs.replace(advised, baking=True))
    assert [w.versions for w in watches_elsewhere(whole, known)] == [()]
    counted = JudgeAssigned(msgspec.structs.replace(whole.assignment, counts_harm=True))
    assert [w.versions for w in watches_elsewhere(counted, known)] == [("#1", "#2")]
    released = JudgeReleased(advised.rollout, "gone")
    assert [w.versions for w in watches_elsewhere(released, known)] == [()]
    bench.hear(released)
    assert bench.in_motion == frozenset()
    assert watches_elsewhere(JudgeAssigned(ASSIGNMENT), known) == ()
