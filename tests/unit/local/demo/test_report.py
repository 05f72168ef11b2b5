"""What the report says in words is what its figures say."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.entities import Rollout, Unit
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.demo.audience import Audience
from ctrlplane_stream.local.demo.machine import MachineReport
from ctrlplane_stream.local.demo.report import ActReport, DemoReport, RolloutReport, report_rollout, words
from ctrlplane_stream.local.load_report import Request
from ctrlplane_stream.settings import Settings
from tests.scenario.shop import shop, until


def _rollout(phase: str, change: str, proven: int, unproven: tuple[int, ...]) -> RolloutReport:
    return RolloutReport(
        id="demo/shop-pricing/3", phase=phase, changed={"shop/pricing": change}, guards=(), watched=("shop/pricing",), not_watched=(),
        exposed_requests=90, harmed_requests=5, failed_requests=1, other_requests=300, other_harmed_requests=9, about_requests="",
        seconds=60.0, seconds_first_bad_to_revert=None, unproven_steps=unproven,
        proven_steps=proven, decisions=(),
    )  # fmt: skip


def _words(*acts: ActReport) -> list[str]:
    return words(DemoReport(build="0.1.0-abc", date="2026-01-02", kept=True, setup_seconds=40, acts_seconds=90,
                            policy_differences={}, acts=acts)).splitlines()  # fmt: skip


def _act(*rollouts: RolloutReport, **figures: object) -> ActReport:
    return ActReport(name="a", promise="p", kept=True, failures=(), seconds=1.0, rollouts=rollouts, figures=figures)


def test_a_release_that_passed_unproven_says_so_and_why() -> None:
    """Gates on proof and gates on a soak are counted apart; one that proved everything needs no excuse."""
    soaked = "\n".join(_words(_act(_rollout("completed", "#1 -> #2", 1, (1, 2, 3, 5)))))
    proven = "\n".join(_words(_act(_rollout("completed", "#1 -> #2", 5, ()))))
    assert "gates passed (steps and bake): 1 proven, 4 soaked (no harm seen" in soaked
    assert "gates passed (steps and bake): 5 proven, 0 soaked\n" in proven
    assert "gates passed" not in "\n".join(_words(_act(_rollout("reverted", "stays at #1 (#2 went back)", 0, (1,)))))


def test_harm_is_told_by_kind_and_beside_that_of_others() -> None:
    """A healthy version has slow requests too, as whatever runs on a busy machine."""
    said = "\n".join(_words(_act(_rollout("completed", "#1 -> #2", 5, ()))))
    assert "touched it: 90, harmed: 5 (1 failed, 4 took over 250 ms); others meanwhile: 300, harmed: 9" in said


def _reported(service: str, *, weighted: bool = True) -> RolloutReport:
    """A rollout of the shop's service that was reverted, while one request touched its candidate and was answered well, and one did not."""
    unit = Unit(service, "#2", "#1", 0, weighted=weighted)
    rollout = Rollout("demo/x/2", "demo", Phase.REVERTED, (unit,), (), 1, "release", 1000, 0, 0, ended_ms=9000)
    touched, other = (((service, label),) for label in ("#2", "#1"))
    requests = [Request(5.0, "shop/frontend", "browse", 200, 20.0, touched), Request(6.0, "shop/frontend", "browse", 200, 20.0, other)]
    return report_rollout(Audience(Settings(), "demo"), rollout, requests, ())


def test_requests_are_counted_where_they_can_be() -> None:
    found = _reported("shop/pricing")
    assert (found.exposed_requests, found.harmed_requests, found.other_requests, found.about_requests) == (1, 0, 1, "")
    assert "requests that touched it: 1, harmed: 0 (0 failed, 0 took over 250 ms); others meanwhile: 1" in "\n".join(_words(_act(found)))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (_reported("shop/cart", weighted=False), "it never had any weight"),
        (_reported("shop/fulfilment"), "no user waits for it"),
    ],
    ids=["never ready", "consumer"],
)
def test_where_no_request_can_touch_it_no_0_says_that_users_were_spared(found: RolloutReport, why: str) -> None:
    """Nor another 0 that nobody else was served meanwhile."""
    counts = (found.exposed_requests, found.harmed_requests, found.failed_requests, found.other_requests, found.other_harmed_requests)
    assert set(counts) == {None}
    said = "\n".join(_words(_act(found)))
    assert (f"requests that touched it: not counted, since {why}" in said, "others meanwhile" in said) == (True, False)


def test_a_service_that_its_callers_do_without_says_why_its_failures_harm_nobody() -> None:
    """A harm of 0 beside a verdict of two fifths failed reads as if one of them were wrong."""
    found = _reported("shop/recommendations")
    assert (found.exposed_requests, found.harmed_requests) == (1, 0)
    assert "whoever calls it answers without it where it fails" in "\n".join(_words(_act(found)))


def test_steps_count_from_1_in_the_report_and_each_once() -> None:
    """As in words, whatever the engine counts by: the bake of three steps is the fourth; a step that was taken again is one step."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    found = loop.driver.rollout("production/cart/2")
    assert found is not None
    rollout = replace(found, unproven=(0, 0, len(found.steps)))
    report = report_rollout(Audience(Settings(), "production"), rollout, (), ())
    assert report.unproven_steps == (1, len(found.steps) + 1)
    assert report.proven_steps == len(found.steps) + 1 - 2


def test_figures_read_as_words_and_lists_as_lines() -> None:
    """Their names in the JSON are identifiers."""
    lines = _words(_act(commands_to_the_second_group=0, graph_with_calls_a_second=["a → b 1.0", "b → c 2.0"]))
    assert [line.strip() for line in lines[4:8]] == [
        "commands to the second group: 0",
        "graph with calls a second:",
        "a → b 1.0",
        "b → c 2.0",
    ]
    assert lines[0] == "2026-01-02, build 0.1.0-abc."


def test_a_machine_that_did_not_keep_up_is_told_of_and_beside_a_promise_that_was_broken() -> None:
    """Of one that did, the figures alone; beside what was kept nothing, since nothing is to be excused."""
    free = MachineReport(2, 0.6, 0.0, 0.3, 3.0, 4.0)
    starved = replace(free, woken_late_milliseconds=400.0)
    kept, broken = _act(), replace(_act(), kept=False, failures=("not so: it was seen",), machine=starved)
    report = DemoReport("b", "2026-01-02", False, 40, 190, {}, (kept, broken), machine=starved)
    lines = words(report).splitlines()
    assert "It had more to do than it could" in lines[2]
    assert (
        lines[lines.index("          not so: it was seen") + 1]
        .strip()
        .startswith("the machine had more to do than it could (2 cores, 60% busy")
    )
    calm = words(replace(report, acts=(replace(kept, machine=starved), replace(broken, machine=free)), machine=free))
    assert "The machine meanwhile: 2 cores, 60% busy; what had something to do waited 30% of the time" in calm
    assert "more to do than it could" not in calm
