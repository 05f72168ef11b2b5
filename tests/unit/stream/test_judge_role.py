"""The judge role without a broker: one environment that cannot be judged does not stop the others."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from ctrlplane_stream.decision.judge.baseline import ServicePast
from ctrlplane_stream.model.catalog import EnvironmentEntry
from ctrlplane_stream.model.commands import JudgeAssigned
from ctrlplane_stream.model.decisions import Decided, Disposition
from ctrlplane_stream.model.verdicts import Assignment, Change, Guard, GuardRole, VerdictStatus
from ctrlplane_stream.model.windows import Closed, ServiceWindow, WindowPart
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.ingest import FACTS
from ctrlplane_stream.stream.judging import Bench
from ctrlplane_stream.stream.ports import Letter, Record, Written
from ctrlplane_stream.stream.roles.judge import STATE, TABLE, VERDICTS, Judge
from ctrlplane_stream.stream.strangers import MOST, SILENT_MS, leaving, surplus
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
        court = made._court(0, environment, 0)
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


def of_stranger(name: str, at_ms: int, offset: int, *, whole: bool = True) -> list[Record]:
    """A window of one service of an environment, which its partition closes or not."""
    rows = (ServiceWindow(CART, "#1", 100, 0, 100.0, 0),)
    said = [WindowPart(name, 0, at_ms // 1000, 0, services=rows), *([Closed(name, 0, at_ms // 1000)] if whole else [])]
    return [Record("telemetry-windows", 0, offset + n, at_ms, None, msgspec.json.encode(record)) for n, record in enumerate(said)]


def turned_away(judge: Judge) -> float:
    """How many records of windows were not taken in."""
    return judge.metrics.registry.get_sample_value("ctrlplane_turned_away_windows_total", {"role": "judge"}) or 0.0


def test_a_flood_of_environments_that_nobody_asked_for_finds_so_much_room_and_no_more(judge: Judge, caplog: Any) -> None:
    """Those in which a step is judged do not count, and one that the catalog names finds room whatever else is there."""
    at_ms = 1_700_000_000_000
    for number in range(MOST + 50):
        asyncio.run(judge._take_windows(of_stranger(f"flood-{number}", at_ms, 10 * number)))
    assert set(judge._courts[0]) == {"ill", "well", *(f"flood-{number}" for number in range(MOST))}
    assert turned_away(judge) == 50 * 2
    assert [record.getMessage().split(" is not looked at")[0] for record in caplog.records] == [f"flood-{MOST}"]
    judge._catalog = SimpleNamespace(catalog=SimpleNamespace(environments={"late": EnvironmentEntry()}))  # type: ignore[assignment]
    asyncio.run(judge._take_windows(of_stranger("late", at_ms, 100_000)))
    assert "late" in judge._courts[0]


def test_the_stranger_that_was_silent_longest_makes_room_after_an_hour_and_is_taken_off_the_topics(judge: Judge, kept: Kept) -> None:
    at_ms = 1_700_000_000_000
    for number in range(MOST):
        asyncio.run(judge._take_windows(of_stranger(f"flood-{number}", at_ms + 10 * number, 10 * number)))
    written = {(letter.topic, letter.key) for letter in kept.letters if letter.topic != FACTS and letter.key.startswith(b"flood-0/")}  # type: ignore[union-attr]
    kept.letters.clear()
    asyncio.run(judge._take_windows(of_stranger("new", at_ms + SILENT_MS, 100_000)))
    assert "new" in judge._courts[0]
    assert "flood-0" not in judge._courts[0]
    assert "flood-1" in judge._courts[0]
    assert written <= {(letter.topic, letter.key) for letter in kept.letters if letter.value is None}
    assert {topic for topic, _ in written} == {TABLE, STATE}


def test_parts_of_windows_that_never_are_whole_go_after_an_hour(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refresh() -> None:
        """Nothing new."""

    monkeypatch.setattr(judge._catalog, "refresh", refresh)
    at_ms = 1_700_000_000_000
    for minute in range(61):
        asyncio.run(judge._take_windows(of_stranger("half", at_ms + 60_000 * minute, 10 * minute, whole=False)))
        asyncio.run(judge._take_windows(of_stranger("whole", at_ms + 60_000 * minute, 10 * minute + 5)))
        if minute == 59:
            asyncio.run(judge._read_catalog())
            assert "half" in judge._courts[0]
    asyncio.run(judge._read_catalog())
    assert set(judge._courts[0]) == {"ill", "well", "whole"}


def test_of_what_an_earlier_build_kept_the_longest_silent_are_too_many() -> None:
    assert surplus({"b": 5, "a": 5, "c": 1, "d": 9}, most=2) == ["c", "a"]
    assert surplus({"a": 1}, most=2) == []
    assert leaving({"a": 0, "b": 1}, SILENT_MS, most=2) == "a"
    assert leaving({"a": 1, "b": 1}, SILENT_MS, most=2) is None
    assert leaving({"a": 0}, SILENT_MS, most=2) is None
