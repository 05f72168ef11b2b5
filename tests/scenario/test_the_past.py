"""What becomes the past that candidates are compared with: windows in which all around was served by what is accepted."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.judge import ClosedWindow
from ctrlplane_stream.decision.judge.baseline import Totals
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.facts import WorldCause
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.policy import Step, Unsure
from ctrlplane_stream.model.windows import EdgeWindow, ServiceWindow, WindowPart
from ctrlplane_stream.simulation.loop import QUICK, Loop
from ctrlplane_stream.stream.judging import Bench, Timing
from tests.scenario.shop import phase, shop, weights

_SECONDS = 10
_REQUESTS = 100


class Court:
    """The real judge beside a shop: front calls cart, of which the versions in ``bad`` fail half of their requests, and front with them."""

    def __init__(self, loop: Loop, *bad: str) -> None:
        self.loop, self.bad = loop, bad
        self._heard = 0
        self.windows: list[ClosedWindow] = []
        self.bench = self._new_bench()

    def _new_bench(self) -> Bench:
        return Bench(Timing(1, _SECONDS, 5.0))

    def run(self, windows: int = 1) -> None:
        """Let so many windows pass, and judge each."""
        for _ in range(windows):
            self.windows.append(self._window())
            self._hear()
            self.bench.judge(self.windows[-1])

    def until(self, there: Callable[[], bool]) -> None:
        """Let windows pass until something is so."""
        for _ in range(90):
            if there():
                return
            self.run()
        raise AssertionError(self.loop.driver.transcript())

    def restarted(self, lost: int) -> None:
        """The judge as it is once it was away for the last ``lost`` windows: it reads the log to its end first, and those after it."""
        self.bench, self._heard = self._new_bench(), 0
        known, behind = self.windows[:-lost], self.windows[-lost:]
        decided, ends_ms = self.loop.driver.decided, behind[0].window * 1000
        for window in known:
            self._hear(until_ms=window.window * 1000 + _SECONDS * 1000)
            self.bench.judge(window)
        assert self._heard < len(decided)
        assert ends_ms < decided[-1].at_ms
        self._hear()
        for window in behind:
            self.bench.judge(window)

    def past(self, service: str = "cart") -> Totals:
        """What a service's next candidate would be compared with."""
        return self.bench.docket.known.baseline.of(service).totals()

    def _hear(self, until_ms: int | None = None) -> None:
        for decided in self.loop.driver.decided[self._heard :]:
            if until_ms is not None and decided.at_ms > until_ms:
                return
            self._heard += 1
            self.bench.note(decided.delta, decided.at_ms)
            for output in decided.outputs:
                self.bench.hear(output)

    def _window(self) -> ClosedWindow:
        """What is served in the middle of it decides who answers."""
        start = self.loop.now_ms // 1000
        self.loop.run(_SECONDS / 2)
        edges, services, failed = [], [], 0
        for label, weight in weights(self.loop, "cart").items():
            count = _REQUESTS * weight // 100
            errors = count // 2 if label in self.bad else 0
            failed += errors
            edges.append(EdgeWindow("front", "cart", EdgeKind.CALL, "#1", label, count, errors, count, errors))
            services.append(ServiceWindow("cart", label, count, errors, count, 0))
        services.append(ServiceWindow("front", "#1", _REQUESTS, failed, _REQUESTS, _REQUESTS))
        services.append(ServiceWindow("island", "#1", _REQUESTS, 0, _REQUESTS, _REQUESTS))
        self.loop.run(_SECONDS / 2)
        return ClosedWindow(start, (WindowPart("production", 0, start, 0, tuple(edges), tuple(services)),))


def _ended(loop: Loop, id_: str) -> Callable[[], bool]:
    return lambda: phase(loop, id_) in (Phase.COMPLETED, Phase.REVERTED)


def _is(loop: Loop, id_: str, *wanted: Phase) -> Callable[[], bool]:
    return lambda: phase(loop, id_) in wanted


def _at_rest(*bad: str, windows: int = 40, **policy: object) -> tuple[Loop, Court]:
    loop = shop(policy=replace(QUICK, **policy))  # type: ignore[arg-type]
    court = Court(loop, *bad)
    court.run(windows)
    assert court.past().windows == windows
    return loop, court


def _has_nothing_bad(court: Court) -> bool:
    return court.past().errors == court.past("front").errors == 0


def test_an_aborted_candidate_is_in_nobodys_past_however_long_it_keeps_its_traffic() -> None:
    loop, court = _at_rest("#2")
    loop.push("cart", 2)
    court.until(lambda: weights(loop, "cart").get("#2", 0) >= 50)
    loop.actuation_seconds = 180
    loop.say(Say.ABORT, service="cart")
    court.run(15)
    assert phase(loop, "cart/2") is Phase.ABORTING
    assert _has_nothing_bad(court)
    loop.actuation_seconds = 0.5
    court.until(_ended(loop, "cart/2"))
    assert _has_nothing_bad(court)
    known = court.past().windows
    court.run(5)
    assert court.past().windows == known + 5
    assert _has_nothing_bad(court)


def test_a_candidate_that_takes_instance_after_instance_is_in_nobodys_past_before_its_first_weight_is_confirmed() -> None:
    loop, court = _at_rest("#2", in_place=True, steps=(Step(100, 10, 300),), ready_timeout_seconds=300)
    loop.world.start_seconds = 30
    loop.push("cart", 2)
    court.until(lambda: weights(loop, "cart").get("#2", 0) > 0)
    court.run(3)
    assert phase(loop, "cart/2") is Phase.SHIFTING
    loop.say(Say.ABORT, service="cart")
    court.until(_ended(loop, "cart/2"))
    assert _has_nothing_bad(court)


def test_a_candidate_that_retreats_and_waits_for_a_person_is_in_nobodys_past() -> None:
    loop, court = _at_rest("#2", on_lease_expired=Unsure.HOLD)
    loop.push("cart", 2)
    court.until(lambda: weights(loop, "cart").get("#2", 0) >= 50)
    loop.actuation_seconds = 120
    loop.tell_world("cart", WorldCause.LEASE_EXPIRED, "nobody renewed")
    court.until(_is(loop, "cart/2", Phase.PREPARING))
    court.run(10)
    assert _has_nothing_bad(court)


def test_a_candidate_that_failed_after_it_had_baked_is_in_nobodys_past() -> None:
    loop, court = _at_rest("#2", drain_seconds=200, drain_limit_seconds=400)
    loop.push("cart", 2)
    court.until(_is(loop, "cart/2", Phase.DRAINING))
    court.run(5)
    loop.say(Say.ABORT, service="cart")
    court.until(_ended(loop, "cart/2"))
    court.run(3)
    assert weights(loop, "cart") == {"#1": 100}
    assert _has_nothing_bad(court)


@pytest.mark.parametrize("windows", [1, 15, 45, 100])
def test_what_a_person_returned_from_leaves_the_past(windows: int) -> None:
    """It was accepted for so many windows; of the past from before it stays what is told apart from those."""
    loop, court = _at_rest("#2")
    loop.push("cart", 2)
    court.until(_ended(loop, "cart/2"))
    court.run(windows)
    assert court.past().errors > 0
    loop.say(Say.REVERT, service="cart")
    court.until(_ended(loop, "cart/1"))
    court.run()
    assert _has_nothing_bad(court)
    assert court.past().windows >= (30 if windows <= 15 else 1)
    assert court.past("island").windows >= 30


def test_what_was_returned_to_and_then_returned_from_leaves_the_past_too() -> None:
    loop, court = _at_rest("#2", "#3")
    loop.push("cart", 2)
    court.until(_ended(loop, "cart/2"))
    court.run(40)
    loop.push("cart", 3)
    court.until(_ended(loop, "cart/3"))
    court.run(5)
    for label in (2, 1):
        loop.say(Say.REVERT, service="cart")
        court.until(lambda label=label: weights(loop, "cart") == {f"#{label}": 100} and loop.driver.target("cart").rollout is None)  # type: ignore[misc]
        court.run()
    assert court.past().windows
    assert _has_nothing_bad(court)


def test_what_has_baked_becomes_the_past_once_the_old_version_has_drained() -> None:
    loop, court = _at_rest()
    loop.push("cart", 2)
    court.until(_ended(loop, "cart/2"))
    known = court.past().windows
    court.run(5)
    assert court.past().windows == known + 5


def test_a_judge_that_was_away_takes_no_window_of_an_aborted_candidate_when_it_catches_up() -> None:
    loop, court = _at_rest("#2")
    loop.push("cart", 2)
    court.until(lambda: weights(loop, "cart").get("#2", 0) >= 50)
    loop.say(Say.ABORT, service="cart")
    court.until(_ended(loop, "cart/2"))
    court.run(10)
    known, all_of_it = court.past(), len(court.windows)
    court.restarted(lost=all_of_it - 38)
    assert _has_nothing_bad(court)
    assert court.past().windows <= known.windows


def test_a_service_in_somebodys_hand_has_no_past_by_that_and_those_around_it_have() -> None:
    loop, court = _at_rest("#1")
    known, beside = court.past().windows, court.past("front").windows
    loop.world.target("cart").edited = "weight 78"
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 78")
    court.run(10)
    assert court.past().windows == known
    assert court.past("front").windows == beside + 10
    loop.world.target("cart").edited = None
    loop.say(Say.RESUME, service="cart")
    court.run(5)
    assert court.past().windows in (known + 4, known + 5)
