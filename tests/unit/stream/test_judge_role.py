"""The judge role without a broker: one environment that cannot be judged does not stop the others."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from ctrlplane_stream.decision.judge.baseline import ServicePast
from ctrlplane_stream.model.commands import JudgeAssigned
from ctrlplane_stream.model.decisions import Decided, Disposition
from ctrlplane_stream.model.verdicts import Assignment, Change, Guard, GuardRole, VerdictStatus
from ctrlplane_stream.model.windows import Closed, ServiceWindow, WindowPart
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.judging import Bench
from ctrlplane_stream.stream.ports import Letter, Record, Written
from ctrlplane_stream.stream.roles.judge import STATE, VERDICTS, Judge
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.verdicts import read_verdict

CART = "shop/cart"


class Kept:
    """An outbox that keeps what is written."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []

    async def send(self, letters: Sequence[Letter]) -> list[Written]:
        self.letters += letters
        return [Written(0, 0) for _ in letters]


def assigned(environment: str) -> JudgeAssigned:
    return JudgeAssigned(
        Assignment(
            rollout=f"{environment}/shop-cart/2",
            environment=environment,
            step=0,
            attempt=1,
            changed=(Change(CART, "#2", "#1"),),
            guards=(Guard(CART, GuardRole.CHANGED, required=True),),
            weight=0.5,
            weight_confirmed_at_ms=0,
            steps=4,
        )
    )


def records(window: int, *environments: str) -> list[Record]:
    """A whole window of each."""
    rows = tuple(ServiceWindow(CART, version, 100, 0, 100.0, 0) for version in ("#1", "#2"))
    said = [r for e in environments for r in (WindowPart(e, 0, window, 0, services=rows), Closed(e, 0, window))]
    return [Record("telemetry-windows", 0, window + at, 0, None, msgspec.json.encode(record)) for at, record in enumerate(said)]


async def judged(judge: Judge, kept: Kept, window: int) -> dict[str, set[str]]:
    """The environments of what a window led to, by topic."""
    kept.letters.clear()
    await judge._take_windows(records(window, "ill", "well"))
    found: dict[str, set[str]] = {}
    for letter in kept.letters:
        found.setdefault(letter.topic, set()).add((letter.key or b"").decode().partition("/")[0])
    return found


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def judge(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """With a step under way in each of two environments."""
    made = Judge(Settings(partitions=1))
    monkeypatch.setattr(made, "outbox", kept)
    made._courts[0] = {}
    for environment in ("ill", "well"):
        court = made._court(0, environment)
        assert court is not None
        court.bench.hear(assigned(environment))
    return made


def test_an_environment_whose_judgement_fails_is_set_aside_and_says_so(judge: Judge, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records stay where they were, for whoever is started next; the others are judged."""
    as_it_is = Bench.judge

    def judged_or_not(bench: Bench, closed: Any) -> Any:
        if closed.window > 10 and bench._open()[0].environment == "ill":
            raise ZeroDivisionError("float division by zero")
        return as_it_is(bench, closed)

    monkeypatch.setattr(Bench, "judge", judged_or_not)

    async def play() -> None:
        assert (await judged(judge, kept, 10))[VERDICTS] == {"ill", "well"}
        for window in (20, 30):
            found = await judged(judge, kept, window)
            assert (found[STATE], found[VERDICTS]) == ({"well"}, {"well"})
        kept.letters.clear()
        await judge._say_late()

    asyncio.run(play())
    (verdict,) = (
        read for letter in kept.letters if not isinstance(read := read_verdict(letter.value), Unreadable) and read.environment == "ill"
    )
    assert verdict.status is VerdictStatus.NO_DATA
    assert verdict.reason.startswith("ill is not judged any more: ZeroDivisionError: float division by zero; mend that")


def test_what_the_log_says_moves_is_in_no_past(judge: Judge) -> None:
    """From the first weight on, whether or not a step is judged."""
    entry = b'{"id":"quiet/shop-cart/2","phase":"aborting","units":[{"service":"shop/cart","candidate":"#2","weighted":true}]}'
    decided = Decided("quiet", 0, 0, 0, "b", 5_000, Disposition.APPLIED, (), (), {"rollout/quiet/shop-cart/2": msgspec.Raw(entry)})

    def pasts(window: int) -> dict[str, ServicePast]:
        asyncio.run(judge._take_windows(records(window, "quiet")))
        return judge._courts[0]["quiet"].bench.docket.known.baseline.services

    judge._hear(0, decided)
    assert pasts(10) == {}
    ended = msgspec.Raw(entry.replace(b"aborting", b"reverted"))
    judge._hear(0, msgspec.structs.replace(decided, at_ms=19_000, delta={"rollout/quiet/shop-cart/2": ended}))
    assert list(pasts(20)) == [CART]


def test_an_environment_with_a_record_that_its_topic_does_not_take_is_set_aside(judge: Judge, kept: Kept) -> None:
    async def play() -> None:
        await judged(judge, kept, 10)
        court = judge._courts[0]["ill"]
        (number,) = court.table._shards
        court.table._shards[number].services["x" * 13_000] = next(court.table.services())
        judge._most_bytes["dependency-table"] = 12_000
        found = await judged(judge, kept, 20)
        assert (found[STATE], found[VERDICTS]) == ({"well"}, {"well"})
        assert f"record ill/{number} of dependency-table has 13" in (court.aside or "")

    asyncio.run(play())
