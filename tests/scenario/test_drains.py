"""From when the drain of a version counts."""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import ArrivalsObserved, WorldChanged
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.loop import QUICK, WINDOW_SECONDS, Loop, catalog, service
from tests.scenario.shop import held, phase, shop, until


def run_until_parked(loop: Loop, label: str = "#1") -> int:
    """Run until cart is told to park the version; when that was, in milliseconds."""
    for _ in range(300):
        loop.run(1)
        wanted = loop.driver.target("cart").wanted(label)
        if wanted is not None and wanted.capacity is Capacity.PARKED:
            return loop.now_ms
    raise AssertionError(loop.driver.transcript())


def last_window(loop: Loop) -> int:
    """Where the last window began that was heard of, in seconds."""
    return loop.driver.state.find("telemetry", e.TelemetryEntry).last_window  # type: ignore[union-attr]


def test_a_drain_counts_from_the_weight_that_was_told_even_where_it_was_never_seen() -> None:
    """A first version had no weight before its instances came; nobody hears that they did and served, until it is taken back."""
    loop = Loop.of(catalog(service("cart", replace(QUICK, in_place=True))))
    loop.judge.telemetry.cut = True
    loop.deliver = lambda fact: [] if isinstance(fact, WorldChanged) else [(0.0, fact)]
    loop.push("cart", 1)
    loop.run(30)
    assert loop.world.target("cart").versions["#1"].weight == 100
    assert loop.driver.target("cart").seen("#1").weight == 0  # type: ignore[union-attr]
    loop.judge.telemetry.cut, loop.deliver = False, lambda fact: [(0.0, fact)]
    loop.say(Say.ABORT, rollout="production/cart/1")
    told_ms = loop.now_ms
    assert run_until_parked(loop) - told_ms >= QUICK.drain_seconds * 1000


def test_a_window_that_comes_after_a_later_one_still_says_whom_it_met() -> None:
    """Somebody still asked the candidate after its abort; the window that tells of it comes when a later one without any has been heard."""
    loop = shop(policy=replace(QUICK, drain_seconds=40))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.ABORT, rollout="production/cart/2")
    loop.run(3 * WINDOW_SECONDS)
    assert phase(loop, "cart/2") is Phase.DRAINING
    last = last_window(loop)
    decision = loop.give(ArrivalsObserved(last - WINDOW_SECONDS, WINDOW_SECONDS, {"cart": {"#1": 95, "#2": 5}}))
    assert decision is not None
    assert f"window {last - WINDOW_SECONDS} comes after {last}" in decision.reasons[-1].text
    assert run_until_parked(loop, "#2") >= (last + 40) * 1000
    assert last_window(loop) + WINDOW_SECONDS == last + 40


def test_a_version_for_each_request_does_not_fill_the_state_and_a_drain_still_counts_from_when_its_version_was_met() -> None:
    """Somebody gives every request a version of its own: whatever of it was met was remembered for as long as the rollout lasted."""
    loop = shop(policy=replace(QUICK, drain_seconds=40))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.ABORT, rollout="production/cart/2")
    loop.run(3 * WINDOW_SECONDS)
    for at in range(20):
        flood = {f"{at}-{number}": 1 for number in range(100)}
        loop.give(ArrivalsObserved(last_window(loop), WINDOW_SECONDS, {"cart": {"#1": 95, **({"#2": 5} if at == 0 else {}), **flood}}))
    met = loop.driver.state.find("arrivals/cart", e.ArrivalsEntry).last_met  # type: ignore[union-attr]
    assert {"#1", "#2"} <= met.keys()
    assert len(met) <= 1_000
    assert run_until_parked(loop, "#2") >= (met["#2"] + 40) * 1000


def test_a_drain_ends_at_its_limit_when_telemetry_stopped_before_it_began() -> None:
    """What was counted while the version had weight says nothing of it since: it kept the drain, and what queued behind it, for ever."""
    loop = shop(policy=replace(QUICK, drain_seconds=20, drain_limit_seconds=60))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.run(12)
    loop.judge.telemetry.cut = True
    loop.say(Say.ABORT, service="cart")
    until(loop, "cart/2", Phase.REVERTED, 120)


def test_a_version_that_takes_requests_beyond_the_drain_limit_holds_with_a_deadline_and_people_are_told() -> None:
    loop = shop(policy=replace(QUICK, drain_seconds=20, drain_limit_seconds=60, hold_deadline_seconds=100))
    loop.push("cart", 2)
    loop.moves("cart", **{"#1": 300, "#2": 700})
    until(loop, "cart/2", Phase.DRAINING)
    loop.run(400)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.DRAINING, ["not-drained"])
    assert "cart #1 still takes 30% of the requests at weight 0" in loop.driver.notices[-1].text
