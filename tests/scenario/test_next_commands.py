"""What people are told to type: it does something about what holds a rollout, or there is nothing to type."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision import holds
from ctrlplane_stream.decision.engine import Moment, decide
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Notify
from ctrlplane_stream.model.facts import CatalogApplied, OverrideRequested, OverrideVerb, WorldCause
from ctrlplane_stream.model.policy import Policy, Step, Supersede, Unsure
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service
from tests.scenario.shop import SHOP, held, phase, reasons, shop, until, weights


def _climbing(policy: Policy = QUICK) -> Loop:
    loop = shop(policy=policy)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    return loop


def _said(loop: Loop, verb: OverrideVerb, **more: object) -> Loop:
    loop.say(verb, **more)
    loop.run(1)
    return loop


def _unseen(seconds: float) -> Loop:
    loop = _climbing()
    loop.judge.telemetry.cut = True
    loop.run(seconds)
    return loop


def _silent() -> Loop:
    loop = _climbing()
    loop.judge.silent.add("cart")
    loop.run(60)
    return loop


def _edited() -> Loop:
    loop = _climbing()
    loop.world.edit("cart", {"#1": 60, "#2": 40}, "weight 40")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 40")
    loop.run(1)
    return loop


def _mute() -> Loop:
    loop = shop()
    loop.world.mute.add("cart")
    loop.push("cart", 2)
    loop.run(100)
    return loop


def _unattended() -> Loop:
    loop = _climbing(replace(QUICK, on_lease_expired=Unsure.HOLD))
    loop.engine_down = True
    loop.run(150)
    loop.engine_up()
    loop.run(5)
    return loop


def _asked() -> Loop:
    loop = shop()
    policy = replace(QUICK, auto_promote=False)
    loop.give(CatalogApplied(catalog(*[service(name, policy) for name in (*SHOP, "island")]), "h2", "tests"))
    loop.push("cart", 2)
    loop.run(100)
    return loop


def _bypassed() -> Loop:
    loop = _climbing(replace(QUICK, drain_limit_seconds=30))
    until(loop, "cart/2", Phase.BAKING)
    loop.moves("cart", **{"#1": 1, "#2": 999})
    until(loop, "cart/2", Phase.DRAINING)
    loop.run(60)
    return loop


HELD: dict[str, tuple[str, Callable[[], Loop]]] = {
    "paused": ("pause", lambda: _said(_climbing(), OverrideVerb.PAUSE, service="cart")),
    "frozen": ("frozen", lambda: _said(_climbing(), OverrideVerb.FREEZE)),
    "frozen service": ("frozen", lambda: _said(_climbing(), OverrideVerb.FREEZE, service="cart")),
    "unseen": ("blind", lambda: _unseen(70)),
    "gone back unseen": ("blind", lambda: _unseen(180)),
    "silent": ("no-data", _silent),
    "edited": ("hand-edit", _edited),
    "stuck": ("stuck", _mute),
    "nobody judged": ("lease-expired", _unattended),
    "waits for a word": ("approval", _asked),
    "called past the route": ("not-drained", _bypassed),
}


@pytest.mark.parametrize("case", HELD)
def test_the_next_command_that_a_hold_names_does_something_about_it(case: str) -> None:
    code, play = HELD[case]
    loop = play()
    assert code in held(loop, "cart/2")
    told = next(output for output in reversed(loop.driver.outputs) if isinstance(output, Notify) and output.event == "held")
    _, control, verb, *options, scope, _, _ = told.next_command.split()
    assert control == "control"
    rollout, named = (scope, None) if "/" in scope else (None, scope.partition(":")[2] or None)
    override = OverrideRequested(
        "typed", OverrideVerb(verb), "ada", "because", rollout=rollout, service=named, unsafe=options == ["--unsafe"]
    )
    decision = decide(loop.driver.state, override, Moment(loop.driver.offset + 1, loop.now_ms, None))
    after = decision.state.find("rollout/production/cart/2", type(loop.driver.rollout("production/cart/2")))  # type: ignore[arg-type]
    assert f"override:{verb}" in [reason.code for reason in decision.reasons]
    assert code not in [hold.code for hold in after.holds]  # type: ignore[union-attr]


def test_only_what_time_ends_names_no_verb_at_all() -> None:
    assert {code for code, verb in holds._NEXT.items() if not verb} == {"maintenance", "lets-pass", "beside"}


def test_a_lease_that_ran_out_names_no_retry_while_it_goes_back() -> None:
    loop = _climbing()
    loop.engine_down = True
    loop.run(150)
    loop.engine_up()
    (told,) = [n for n in loop.driver.notices if n.event == "lease-expired"]
    assert told.next_command == "ctrlplane-stream rollout production/cart/2"


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("verb", [OverrideVerb.SKIP, OverrideVerb.PROMOTE])
def test_a_word_about_a_gate_that_is_said_before_there_is_one_counts_for_the_first(verb: OverrideVerb, queued: bool) -> None:
    asks = verb is OverrideVerb.PROMOTE
    steps = (Step(10, 10 if asks else 200, 300, approval=asks), Step(50, 10, 300, approval=True), Step(100, 10, 300))
    loop = shop(policy=replace(QUICK, supersede=Supersede.FINISH, steps=steps))
    if queued:
        loop.say(OverrideVerb.FREEZE)
    loop.push("cart", 2)
    assert phase(loop, "cart/2") is (Phase.QUEUED if queued else Phase.PREPARING)
    loop.say(verb, service="cart")
    assert "production/cart/2 has no step yet, and that counts for the first" in reasons(loop)
    loop.say(OverrideVerb.UNFREEZE)
    loop.run(150)
    assert (weights(loop, "cart"), held(loop, "cart/2")) == ({"#1": 50, "#2": 50}, ["approval"])


def test_nobody_is_told_to_end_a_hold_of_what_ends_in_the_same_decision() -> None:
    """What nobody resumed queues no more once its deadline is over; on its way out it would be held for the same edit again."""
    loop = shop(policy=replace(QUICK, hold_deadline_seconds=60))
    loop.world.edit("cart", {"#1": 100}, "weight 100")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 100")
    loop.run(1)
    loop.push("cart", 2)
    loop.run(30)
    assert held(loop, "cart/2") == ["hand-edit"]
    told = len(loop.driver.notices)
    until(loop, "cart/2", Phase.REVERTED)
    assert [notice.event for notice in loop.driver.notices[told:]] == ["reverted"]
