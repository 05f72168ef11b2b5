"""From when the drain of a version counts."""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import ArrivalsObserved, WorldChanged
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.loop import QUICK, WINDOW_SECONDS, Loop, catalog, service
from tests.scenario.shop import held, phase, reasons, shop, until


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
    told = loop.driver.notices[-1]
    assert "cart #1 still meets requests at weight 0: 300 of 1000 in the last 10 s that were seen" in told.text
    assert told.next_command == "ctrlplane-stream control force --unsafe production/cart/2 --why REASON"


def bypassed(*, bake_seconds: float = 200, **policy: object) -> Loop:
    """A shop of which one request in a thousand goes to cart #1 past the route, and whose cart #2 has baked for longer than the drain
    limit: cart #1 has had weight 0 for all that time."""
    policy = {"drain_seconds": 20, "drain_limit_seconds": 60, **policy}
    loop = shop(policy=replace(QUICK, bake_seconds=bake_seconds, **policy))  # type: ignore[arg-type]
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.BAKING)
    loop.moves("cart", **{"#1": 1, "#2": 999})
    until(loop, "cart/2", Phase.DRAINING)
    return loop


def capacity(loop: Loop, label: str) -> Capacity:
    """What is wanted of a version of cart."""
    return next(v.capacity for v in loop.driver.target("cart").live if v.label == label)


def test_an_old_version_is_kept_under_a_trickle_however_long_its_weight_was_0_and_however_little_it_is() -> None:
    loop = bypassed()
    loop.run(50)
    assert (capacity(loop, "#1"), held(loop, "cart/2")) == (Capacity.FULL, [])
    loop.run(30)
    assert (capacity(loop, "#1"), held(loop, "cart/2")) == (Capacity.FULL, ["not-drained"])
    told = loop.driver.notices[-1].text
    assert "cart #1 still meets requests at weight 0: 1 of 1000 in the last 10 s" in told
    assert "abort returns to #1, and force --unsafe has it go under them" in told
    loop.run(600)
    assert (phase(loop, "cart/2"), capacity(loop, "#1")) == (Phase.DRAINING, Capacity.FULL)


def test_an_old_version_that_is_held_for_a_trickle_goes_by_itself_once_that_ends() -> None:
    loop = bypassed()
    loop.run(200)
    loop.moves("cart", **{"#2": 1000})
    loop.run(10)
    assert phase(loop, "cart/2") is Phase.DRAINING
    until(loop, "cart/2", Phase.COMPLETED, 40)


def test_a_request_less_often_than_the_drain_time_does_not_keep_an_old_version() -> None:
    loop = bypassed()
    loop.run(100)
    loop.moves("cart", **{"#2": 1000})
    loop.at(35, lambda: loop.moves("cart", **{"#1": 1, "#2": 999}))
    until(loop, "cart/2", Phase.COMPLETED, 40)


def test_a_trickle_beside_telemetry_that_stops_keeps_an_old_version_as_of_what_was_last_seen() -> None:
    loop = bypassed()
    loop.judge.telemetry.cut = True
    loop.run(300)
    assert (capacity(loop, "#1"), held(loop, "cart/2")) == (Capacity.FULL, ["not-drained"])


def test_only_force_with_unsafe_has_a_version_go_under_its_requests_and_people_are_told() -> None:
    loop = bypassed()
    loop.run(100)
    loop.say(Say.FORCE, rollout="production/cart/2")
    loop.run(30)
    assert phase(loop, "cart/2") is Phase.DRAINING
    assert "force --unsafe has what drains go at once" in reasons(loop)
    loop.say(Say.FORCE, rollout="production/cart/2", unsafe=True)
    until(loop, "cart/2", Phase.COMPLETED, 20)
    assert "cart #1 goes as it was forced, and unsafe: cart #1 still meets requests at weight 0: 1 of 1000" in reasons(loop)
    assert "ada has production/cart/2 wait for no drain any more" in next(n.text for n in loop.driver.notices if n.event == "forced")


def test_a_candidate_that_went_back_is_kept_under_a_trickle_too() -> None:
    loop = shop(policy=replace(QUICK, drain_seconds=20, drain_limit_seconds=60))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.moves("cart", **{"#1": 999, "#2": 1})
    loop.say(Say.ABORT, rollout="production/cart/2")
    loop.run(300)
    assert (phase(loop, "cart/2"), capacity(loop, "#2"), held(loop, "cart/2")) == (Phase.DRAINING, Capacity.FULL, ["not-drained"])
    assert "abort returns" not in loop.driver.notices[-1].text
    loop.say(Say.FORCE, rollout="production/cart/2", unsafe=True)
    until(loop, "cart/2", Phase.REVERTED, 20)


def test_a_candidate_that_never_had_weight_goes_though_its_health_checks_are_seen() -> None:
    loop = shop(policy=replace(QUICK, drain_seconds=20, drain_limit_seconds=60))
    loop.world.start_seconds = 40
    loop.push("cart", 2)
    loop.moves("cart", **{"#1": 999, "#2": 1})
    loop.run(15)
    loop.say(Say.ABORT, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED, 30)


def test_what_goes_unseen_at_its_drain_limit_is_said_to() -> None:
    loop = shop(policy=replace(QUICK, drain_seconds=20, drain_limit_seconds=60))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.judge.telemetry.cut = True
    loop.say(Say.ABORT, service="cart")
    until(loop, "cart/2", Phase.REVERTED, 120)
    assert "cart #2 goes at its drain limit: cart #2 drains (60 of 20 s), and nothing is seen of it" in reasons(loop)
