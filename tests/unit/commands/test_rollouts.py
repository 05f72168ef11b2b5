"""What `rollout` and `rollouts` say: of an adoption, of one that waits, of one that drains, of one that was begun anew."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from ctrlplane_stream.commands import rollouts
from ctrlplane_stream.commands.as_of_now import as_of_now, time_of_day
from ctrlplane_stream.commands.rollouts import Why, all_rollouts, explained, table, words
from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.entities import VersionSet
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.standstill import Standstill, notice_of
from ctrlplane_stream.model.facts import CatalogApplied, OverrideVerb
from ctrlplane_stream.model.verdicts import OUR_JUDGE, Verdict, VerdictStatus
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.simulation.loop import QUICK, Loop, artifact, catalog, digest, service
from ctrlplane_stream.wire.verdicts import write_verdict
from tests.scenario.shop import SHOP, shop, until

ID = "production/cart/1"


def adopted(*, runs: int, abort: bool = False) -> list[str]:
    """The lines about an adoption of the first image, where the n-th runs."""
    loop = Loop.of(catalog(service("cart")))
    loop.world.running = {"cart": digest(runs)}
    loop.say(OverrideVerb.ADOPT, service="cart", image=artifact("cart", 1).image, digest=digest(1))
    loop.run(5)
    if abort:
        loop.say(OverrideVerb.ABORT, service="cart")
        loop.run(5)
    rollout = loop.driver.rollout(ID)
    assert rollout is not None
    chosen = loop.driver.state.find(f"set/{ID}", VersionSet)
    reasons = tuple(Why(0, 0, loop.driver.now_ms, r.code, r.text) for r in loop.driver.reasons if r.rollout == ID)
    return words(explained(rollout, loop.driver.state, chosen, reasons, None))


def test_an_adoption_says_what_was_taken_over_by_whom_and_that_nobody_judged_it() -> None:
    lines = adopted(runs=1)
    assert lines[0] == f"{ID} is completed"
    assert any("taken over as it runs, since ada says so: because" in line and "nobody judges it" in line for line in lines)
    assert not any("watched" in line for line in lines)


@pytest.mark.parametrize(
    ("abort", "phase", "command"),
    [
        (False, Phase.ADOPTING, f"ctrlplane-stream control abort {ID} --why REASON"),
        (True, Phase.REVERTED, "ctrlplane-stream control adopt production:cart --artifact IMAGE@DIGEST --why REASON"),
    ],
)
def test_one_that_the_world_refuses_says_why_and_what_to_type(abort: bool, phase: Phase, command: str) -> None:
    lines = adopted(runs=2, abort=abort)
    assert lines[0] == f"{ID} is {phase}"
    assert any("nothing to adopt" in line for line in lines)
    assert lines[-1] == f"next: {command}"


def test_a_drain_on_the_way_back_is_not_told_as_one_of_the_old_version() -> None:
    """Both are of one phase, and a newcomer took the way back for the end of the way up."""
    back, up = shop(), shop()
    for loop in (back, up):
        loop.push("cart", 2)
    until(back, "cart/2", Phase.VERIFYING)
    back.say(OverrideVerb.ABORT, service="cart")
    for loop, word in ((back, "going back, draining"), (up, "draining")):
        until(loop, "cart/2", Phase.DRAINING)
        assert said(loop, "cart/2")[0].startswith(f"production/cart/2 is {word}")


def said(loop: Loop, id_: str) -> list[str]:
    """The lines about a rollout as somebody who looks now is told them."""
    state = loop.driver.state
    kept = state.find(f"rollout/production/{id_}", e.Rollout)
    assert kept is not None
    found = as_of_now(state, kept)
    reasons = tuple(Why(0, at, loop.driver.now_ms, r.code, r.text) for at, r in enumerate(loop.driver.reasons) if r.rollout == found.id)
    chosen = state.find(f"set/{found.id}", VersionSet)
    return words(explained(found, state, chosen, reasons, None))


def test_one_whose_environment_stands_still_says_so_and_what_to_type() -> None:
    """And not that it goes on by itself, nor what its own state asks for."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    state, still = loop.driver.state, Standstill("production", 71, "ValueError: x")
    found = loop.driver.rollout("production/cart/2")
    assert found is not None
    told = explained(found, state, None, (), None, still)
    assert (told.next_command, told.stop_command) == (still.skip_command, still.abort_command)
    lines = words(told)
    assert (f"  {still.text}" in lines, lines[-1]) == (True, f"next: {still.remedy}")
    assert not any("by itself" in line or "now:" in line for line in lines)
    assert notice_of(still, state).weights == {"cart": loop.driver.target("cart").weights}


def in_table(loop: Loop, id_: str) -> tuple[str, ...]:
    """Its row of `rollouts --all`."""
    state = loop.driver.state
    rows = table([as_of_now(state, r) for r in all_rollouts(state)], state, with_times=True)
    return next(row for row in rows if row[0] == f"production/{id_}")


def test_a_queued_rollout_says_what_it_waits_for_as_it_is_now() -> None:
    """Another rollout at first, and a freeze once that has ended, which the queue was not asked about again."""
    loop = shop()
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.VERIFYING)
    loop.push("cart", 2)
    waits = "waits until production/pay/2 is verified at 100, since cart -call-> pay joins them"
    assert f"  now: {waits}" in said(loop, "cart/2")
    assert in_table(loop, "cart/2")[-1] == waits
    loop.say(OverrideVerb.FREEZE, service="cart")
    frozen = "cart is frozen by ada until somebody unfreezes it: because"
    assert f"  now: {frozen}" in said(loop, "cart/2")
    loop.say(OverrideVerb.PAUSE, rollout="production/cart/2")
    assert not any(line.startswith("  now:") for line in said(loop, "cart/2")), "its hold says it already"


def test_one_that_drains_says_until_when_and_names_no_command() -> None:
    """Not the command that was just typed."""
    loop = shop(policy=replace(QUICK, drain_seconds=200, drain_limit_seconds=400))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.DRAINING)
    loop.run(10)
    lines = said(loop, "cart/2")
    (now,) = (line for line in lines if line.startswith("  now: "))
    assert "cart #1 drains (" in now
    assert "at the earliest" in now
    assert lines[-1] == "next: nothing to type, it goes on by itself"


@pytest.mark.parametrize("first", [True, False])
def test_one_that_goes_on_by_itself_is_not_told_to_be_ended(first: bool) -> None:
    """A first version that soaks would be taken out of service by the only command that was named."""
    loop = Loop.of(catalog(service("cart"))) if first else shop()
    id_ = "cart/1" if first else "cart/2"
    loop.push("cart", int(id_[-1]))
    until(loop, id_, Phase.VERIFYING)
    assert said(loop, id_)[-2:] == [
        "next: nothing to type, it goes on by itself",
        f"  to end it before: ctrlplane-stream control abort production/{id_} --why REASON",
    ]


def test_a_revert_is_told_from_the_first_rollout_of_that_version_by_attempt_and_by_whom() -> None:
    """It has the id of the old one, and none of its history."""
    loop = shop()
    for number in (2, 3):
        loop.push("cart", number)
        until(loop, f"cart/{number}", Phase.COMPLETED)
    assert not any("attempt" in line for line in said(loop, "cart/2"))
    ended = len(said(loop, "cart/2"))
    loop.say(OverrideVerb.REVERT, service="cart", version="#2")
    loop.run(1)
    lines = said(loop, "cart/2")
    assert lines[1] == "  attempt 2, revert by ada: because"
    assert len(lines) < ended, lines
    assert in_table(loop, "cart/2")[5] == "cart #2 (attempt 2, revert by ada: because)"


def test_a_revert_is_named_only_where_there_is_a_version_to_go_back_to() -> None:
    """Not after the first version, nor after a revert to it: that forgets what came later."""
    loop = shop()
    onward = "next: ctrlplane-stream plan IMAGE@DIGEST --environment production"
    assert said(loop, "cart/1")[-1] == onward
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    assert said(loop, "cart/2")[-1] == "next: ctrlplane-stream control revert production/cart/2 --why REASON"
    loop.say(OverrideVerb.REVERT, service="cart")
    until(loop, "cart/1", Phase.COMPLETED)
    assert said(loop, "cart/1")[-1] == onward


def test_a_version_that_failed_names_the_push_of_a_mended_one_before_the_retry_and_says_when_that_is_right() -> None:
    """What failed in itself fails again, and whoever pastes the first line would have it fail again."""
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert said(loop, "cart/2")[-2:] == [
        "next, once it is mended: ctrlplane-stream artifact push registry.example/cart@DIGEST",
        "  or, where the cause lay outside the version: ctrlplane-stream control retry production/cart/2 --why REASON",
    ]


def test_a_configuration_that_failed_is_mended_in_the_catalog() -> None:
    """There is no image that could be."""
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    entries = [service(name, configuration={"limit": "5"} if name == "cart" else {}) for name in (*SHOP, "island")]
    loop.give(CatalogApplied(catalog(*entries), "h", "ada"))
    until(loop, "cart/2", Phase.REVERTED)
    assert said(loop, "cart/2")[-2] == "next, once it is mended: ctrlplane-stream catalog apply FILE"


def test_the_whole_list_has_beginnings_and_ends() -> None:
    """Dates, since it goes back for days."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    began, ended = in_table(loop, "cart/1")[3:5]
    assert (began < ended, len(ended)) == (True, len("2026-01-01 00:00:00"))
    assert in_table(loop, "cart/2")[4] == ""


@pytest.mark.parametrize(("scope", "typed"), [("cart", "production:cart"), (None, "production")])
@pytest.mark.parametrize("climbs", [False, True], ids=["queued", "climbing"])
def test_a_rollout_that_waits_for_a_freeze_names_the_command_that_lifts_it(scope: str | None, typed: str, climbs: bool) -> None:
    """And not the abort that would throw the release away."""
    loop = shop()
    if climbs:
        loop.push("cart", 2)
        until(loop, "cart/2", Phase.VERIFYING)
    loop.say(OverrideVerb.FREEZE, service=scope)
    loop.push("cart", 2)
    loop.run(5)
    assert said(loop, "cart/2")[-1] == f"next: ctrlplane-stream control unfreeze {typed} --why REASON"


def test_a_completed_rollout_says_that_it_baked_and_what_of_it_was_not_proven() -> None:
    """And not why its last step could not be proven, which reads as if it had failed."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    rollout = loop.driver.rollout("production/cart/2")
    assert rollout is not None
    why = {unproven: table([replace(rollout, unproven=unproven)], loop.driver.state)[1][-1] for unproven in ((), (0, 0, 2))}
    assert why == {(): "baked", (0, 0, 2): "baked, unproven in 2 of 4 steps"}


def test_what_was_forced_says_so_and_what_its_gates_said_and_no_revert_is_taken_back() -> None:
    """It did not bake unproven: it failed. And who went back from it is not told to return to it."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.judge.faulty.add(("cart", "#3"))
    loop.push("cart", 3)
    loop.say(OverrideVerb.FORCE, rollout="production/cart/3")
    until(loop, "cart/3", Phase.COMPLETED)
    assert in_table(loop, "cart/3")[-1].startswith("forced past its gates, the last of which failed: ")
    loop.say(OverrideVerb.REVERT, service="cart")
    until(loop, "cart/2", Phase.COMPLETED)
    assert said(loop, "cart/2")[-1].startswith("next: ctrlplane-stream plan ")


def test_leases_that_are_renewed_do_not_hide_what_was_decided_between_them() -> None:
    """One comes every third of a lease: verdicts of one kind stay one line, and --json has them all."""
    loop = shop(policy=replace(QUICK, lease_seconds=6))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    assert any("cart renew applied" in r.text for r in loop.driver.reasons if r.rollout == "production/cart/2")
    lines = said(loop, "cart/2")
    assert not any("renew applied" in line for line in lines)
    assert any("cart shift applied" in line for line in lines)


def said_by(judge: str, reason: str) -> Verdict:
    """A word on the first step of the second version of cart."""
    return Verdict(
        judge=judge, environment="production", rollout="production/cart/2", step=0, attempt=1, status=VerdictStatus.PASS, reason=reason
    )


def test_evidence_is_that_of_our_own_judge_whatever_others_wrote_and_wherever_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others write under a partitioner of their own, and what they wrote may be what the engine ignored."""

    async def records(*_: object) -> AsyncIterator[SimpleNamespace]:
        for at, verdict in enumerate(
            (said_by(OUR_JUDGE, "too early"), said_by(OUR_JUDGE, "within its margins"), said_by("orders", "fine"))
        ):
            yield SimpleNamespace(value=write_verdict(str(at), "test", verdict))

    monkeypatch.setattr(rollouts, "read_to_end", records)
    evidence = asyncio.run(rollouts.last_evidence(Settings(), "production/cart/2"))
    assert evidence is not None
    assert (evidence.judge, evidence.reason) == (OUR_JUDGE, "within its margins")


def test_what_other_judges_said_is_told_beside_our_evidence_as_far_as_the_engine_heard_it() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    rollout = loop.driver.rollout("production/cart/2")
    assert rollout is not None
    heard = e.Heard("orders", VerdictStatus.INCONCLUSIVE, "few orders", rollout.step, rollout.judged_attempt, 0)
    known = replace(rollout, heard={**rollout.heard, "orders": heard})
    lines = words(explained(known, loop.driver.state, None, (), said_by(OUR_JUDGE, "within its margins")))
    assert "last verdict of gates, on step 1: PASS, within its margins" in lines
    assert "last verdict of orders, on step 1: INCONCLUSIVE, few orders" in lines
    assert sum(line.startswith("last verdict of gates") for line in lines) == 1


def test_times_that_no_calendar_has_are_told_in_words() -> None:
    """A policy may say a number for never, and a rollout of it is looked at like any other."""
    loop = shop(policy=replace(QUICK, hold_deadline_seconds=1e12))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(OverrideVerb.PAUSE, rollout="production/cart/2")
    assert any("it goes back where nobody has ended this by a time after the year 9999" in line for line in said(loop, "cart/2"))
    assert time_of_day(1e18) == "a time after the year 9999"
