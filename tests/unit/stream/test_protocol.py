"""The engine's protocol without Kafka: claims, order, repetition, parking, snapshots, fencing."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from ctrlplane_stream.commands.control import not_skipped
from ctrlplane_stream.decision import engine as core
from ctrlplane_stream.decision.engine import Decision, Moment
from ctrlplane_stream.decision.standstill import Standstill
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.commands import Notify, Output
from ctrlplane_stream.model.decisions import Claim, Decided, Disposition, Lane, Parked
from ctrlplane_stream.model.facts import BuildChanged, Fact, FactRecord, Origin, OverrideRequested, OverrideVerb, TimePassed
from ctrlplane_stream.stream.deciding import read_fact
from ctrlplane_stream.stream.decision_log import Fence, admitted, fence_at, read_decision, write_decision
from ctrlplane_stream.stream.ownership import OwnedPartition, Tuning
from ctrlplane_stream.stream.ports import Fenced, Letter, Record
from ctrlplane_stream.stream.recovery import Taker
from ctrlplane_stream.stream.refusals import dead_letter
from ctrlplane_stream.stream.replaying import Problem, Replay
from ctrlplane_stream.stream.snapshots import load_snapshot
from ctrlplane_stream.wire.cloudevents import Unreadable


class Rules:
    """The core's rules with one effect a fact; ``poison`` names overrides that raise."""

    def __init__(self, poison: str = "") -> None:
        self.poison = poison

    def decide(self, state: State, fact: Fact, moment: Moment) -> Decision:
        """See the port."""
        if isinstance(fact, OverrideRequested) and fact.id == self.poison:
            raise ValueError("poisoned")
        decision = core.decide(state, fact, moment)
        effect = Notify(f"{state.environment}/{decision.sequence}", "effect", "", None, {}, "")
        return msgspec.structs.replace(decision, outputs=(effect,))

    def minimal_abort(self, state: State, override: OverrideRequested) -> tuple[Output, ...]:
        """See the port."""
        return (Notify(f"abort/{override.id}", "effect", "", None, {}, ""),)


async def _refuse(found: Record, why: Unreadable) -> Sequence[Letter]:
    return [dead_letter(found, why, 0, 8)]


class Bench:
    """One partition, one worker after another."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self.owned: OwnedPartition | None = None
        self.facts = 0

    def take(self, rules: Rules | None = None, build: str = "b1", tuning: Tuning | None = None) -> OwnedPartition:
        """A worker takes the partition."""
        taker = Taker(
            self.broker,
            self.broker,
            rules or Rules(),
            _refuse,
            partitions=1,
            owner="w",
            build=build,
            tuning=tuning,
        )
        self.owned = asyncio.run(taker.take(0))
        return self.owned

    def fact(self, environment: str, id_: str, verb: OverrideVerb = OverrideVerb.PAUSE, **fields: Any) -> int:
        """Append an override; returns its offset."""
        override = OverrideRequested(id_, verb, "w", "y", **fields)
        record = FactRecord(environment, override, Origin("control", 0, self.facts))
        self.facts += 1
        return self.broker.intrude(Letter("facts", 0, environment.encode(), msgspec.json.encode(record))).offset

    def work(self, owned: OwnedPartition, start: int | None = None, end: int | None = None, queue_end: int = 0) -> None:
        """Hand the facts in ``[start, end)`` over in one batch."""

        async def go() -> None:
            records = [r async for r in self.broker.read("facts", 0, owned.position if start is None else start, end)]
            await owned.take(records, queue_end)

        asyncio.run(go())

    def decided(self) -> list[Decided]:
        """Decisions that count, in the order of the log."""

        async def go() -> list[Decided]:
            found = admitted(self.broker, 0, 0, None, Fence())
            return [record async for _, _, record in found if isinstance(record, Decided)]

        return asyncio.run(go())

    def offsets(self) -> list[int]:
        """Fact offsets of the decisions that count, in the order of the log, without what was answered beside the line."""
        return [d.fact_offset for d in self.decided() if d.lane is not Lane.BESIDE]

    def log(self) -> list[Any]:
        """Every record of the log, counted or not."""
        return [read_decision(r.value) for r in asyncio.run(self.broker.all("decisions"))]

    def replay(self, rules: Rules | None = None) -> list[Problem]:
        """What a replay of everything finds."""
        replay = Replay(self.broker, self.broker, rules or Rules(), partition=0, partitions=1, build="b1")
        return [found.problem for found in asyncio.run(replay.run(settled=True)).found]


@pytest.fixture
def bench(broker: Any) -> Bench:
    """A bench on an empty broker."""
    return Bench(broker)


def test_every_fact_gets_one_decision_in_the_order_of_its_environment(bench: Bench) -> None:
    for i in range(10):
        bench.fact(f"e{i % 3}", str(i))
    bench.work(bench.take())
    assert bench.offsets() == list(range(10))
    assert bench.replay() == []


def test_a_batch_that_is_delivered_again_is_decided_once(bench: Bench) -> None:
    for i in range(4):
        bench.fact("e", str(i))
    owned = bench.take()
    bench.work(owned, 0)
    bench.work(owned, 0)
    assert bench.offsets() == [0, 1, 2, 3]


def test_a_new_owner_goes_on_where_the_log_ends_and_not_where_anything_was_committed(bench: Bench) -> None:
    for i in range(6):
        bench.fact("e", str(i))
    bench.work(bench.take(), 0, 3)
    owned = bench.take()
    assert owned.position == 3
    bench.work(owned)
    assert bench.offsets() == [0, 1, 2, 3, 4, 5]
    assert [d.sequence for d in bench.decided()] == [1, 2, 3, 4, 5, 6]


def test_a_zombie_writes_and_does_not_count_and_ends(bench: Bench) -> None:
    for i in range(4):
        bench.fact("e", str(i))
    zombie = bench.take()
    heir = bench.take()
    with pytest.raises(Fenced, match="stands at 2 instead of 1"):
        bench.work(zombie, 0, 2)
    with pytest.raises(Fenced):
        bench.work(heir, 0, 2)  # the zombie's record is a foreign one to the heir too: it starts again, which is always safe
    again = bench.take()
    bench.work(again)
    assert bench.offsets() == [0, 1, 2, 3]
    assert bench.replay() == []


def test_a_claim_is_found_by_looking_back_from_anywhere(bench: Bench) -> None:
    bench.take()
    bench.fact("e", "0")
    bench.work(bench.take())
    assert asyncio.run(fence_at(bench.broker, 0, 3)).epoch == 1
    assert asyncio.run(fence_at(bench.broker, 0, 1)).epoch == 0
    assert asyncio.run(fence_at(bench.broker, 0, 0)).epoch == -1


def test_a_fact_that_makes_decide_raise_parks_its_environment_and_no_other(bench: Bench) -> None:
    bench.fact("bad", "p")
    bench.fact("bad", "1")
    bench.fact("good", "2")
    bench.work(bench.take(Rules("p")))
    assert bench.offsets() == [2]
    parked = next(r for r in bench.log() if isinstance(r, Parked))
    assert (parked.fact_offset, parked.error) == (0, "ValueError: poisoned")


def test_a_parked_fact_is_told_in_the_log_and_to_people_with_what_to_type(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """With its offset and what was raised, also by whoever reads a snapshot; and no more once it is passed over."""
    bench.fact("bad", "p")
    owned = bench.take(Rules("p"))
    bench.work(owned)
    still = Standstill("bad", 0, "ValueError: poisoned")
    notice = next(r for r in bench.log() if isinstance(r, Parked)).notice
    assert (notice.event, notice.next_command) == ("parked", "ctrlplane-stream control skip bad --why REASON --fact-offset 0")
    for told in (notice.text, caplog.text):
        assert f"{still.text}; {still.remedy}" in told
    assert (owned.parked, owned.decider.lines["bad"].standstill) == (1, still)
    asyncio.run(owned.snapshot())
    _, lines = asyncio.run(load_snapshot(bench.broker, 0))
    assert lines["bad"].standstill == still
    bench.fact("bad", "right", OverrideVerb.SKIP, fact_offset=0)
    bench.work(owned)
    assert (owned.parked, owned.decider.lines["bad"].standstill) == (0, None)


def test_a_fact_is_parked_though_nobody_can_be_told_of_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state may be what is broken."""

    def raises(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("ctrlplane_stream.stream.deciding.notice_of", raises)
    bench.fact("bad", "p")
    bench.work(bench.take(Rules("p")))
    assert [r.notice for r in bench.log() if isinstance(r, Parked)] == [None]


def test_a_mended_build_decides_what_waited_in_order(bench: Bench) -> None:
    bench.fact("bad", "p")
    bench.fact("bad", "1")
    bench.fact("good", "2")
    bench.work(bench.take(Rules("p")))
    bench.work(bench.take(Rules(), build="b2"))
    assert [d.fact_offset for d in bench.decided() if d.environment == "bad"] == [0, 1]
    assert [d.fact_offset for d in bench.decided() if d.environment == "good"] == [2, 3]  # 3: it was told of the new build


def test_a_skip_by_an_operator_ignores_the_parked_fact_and_decides_the_rest(bench: Bench) -> None:
    bench.fact("bad", "p")
    bench.fact("bad", "1")
    owned = bench.take(Rules("p"))
    bench.work(owned)
    bench.fact("bad", "wrong", OverrideVerb.SKIP, fact_offset=1)
    bench.work(owned)
    assert bench.offsets() == []
    bench.fact("bad", "right", OverrideVerb.SKIP, fact_offset=0)
    bench.work(owned)
    assert bench.offsets() == [0, 1, 2, 3]
    assert (bench.decided()[0].disposition, bench.decided()[0].reasons[0].code) == (Disposition.IGNORED, "skipped")
    assert [d.sequence for d in bench.decided()] == [1, 2, 3, 4]
    assert bench.replay(Rules("p")) == []
    assert [not_skipped("bad", offset, bench.decided()) for offset in (0, 1, 9)] == [
        None,
        "nothing was skipped: fact 1 was decided, and is not parked",
        "nothing was skipped: fact 9 is none of bad that waits, and is not parked",
    ]


def test_an_abort_is_answered_by_the_minimal_rule_while_parked_once_and_decided_again_in_its_turn(bench: Bench) -> None:
    bench.fact("bad", "p")
    bench.fact("bad", "stop", OverrideVerb.ABORT)
    bench.work(bench.take(Rules("p")))
    beside = [d for d in bench.decided() if d.lane is Lane.BESIDE]
    assert [o.id for d in beside for o in d.outputs if isinstance(o, Notify)] == ["abort/stop"]
    bench.work(bench.take(Rules("p")))
    assert len([d for d in bench.decided() if d.lane is Lane.BESIDE]) == 1, "a restart must not abort again"
    bench.work(bench.take(Rules(), build="b2"))
    assert bench.offsets()[:2] == [0, 1]


def test_overrides_do_not_wait_behind_a_long_queue(bench: Bench, broker: Any) -> None:
    for _ in range(50):
        broker.intrude(Letter("facts", 0, b"e", msgspec.json.encode(FactRecord("e", TimePassed()))))
    abort = bench.fact("e", "stop", OverrideVerb.ABORT)
    owned = bench.take(tuning=Tuning(look_ahead_from=10))
    bench.work(owned, 0, 5, queue_end=51)
    first = bench.decided()[0]
    assert (first.fact_offset, first.lane) == (abort, Lane.AHEAD)
    bench.work(owned)
    assert sorted(bench.offsets()) == list(range(51))
    assert bench.replay() == []


def test_an_override_that_raises_ahead_of_its_turn_is_not_overtaken_by_later_ones(bench: Bench, broker: Any) -> None:
    """Found by the crash sweep: the later one's origin would have made the raising one a repetition."""
    for _ in range(20):
        broker.intrude(Letter("facts", 0, b"e", msgspec.json.encode(FactRecord("e", TimePassed()))))
    bench.fact("e", "p")
    bench.fact("e", "after")
    owned = bench.take(Rules("p"), tuning=Tuning(look_ahead_from=5))
    bench.work(owned, 0, 5, queue_end=22)
    assert not [d for d in bench.decided() if d.lane is Lane.AHEAD]
    bench.work(owned)
    bench.work(bench.take(Rules(), tuning=Tuning(look_ahead_from=5)))
    assert sorted(bench.offsets()) == list(range(22))
    assert not [d for d in bench.decided() if any(r.code == "repeated" for r in d.reasons)]


def test_recovery_from_a_snapshot_gives_the_same_state_as_folding_everything(bench: Bench) -> None:
    owned = bench.take(tuning=Tuning(snapshot_records=7))
    for i in range(30):
        bench.fact(f"e{i % 4}", str(i))
        bench.work(owned)
    from_snapshot = bench.take()
    bench.broker.logs.pop(("engine-snapshots", 0))
    from_log = bench.take()
    for name, line in from_log.decider.lines.items():
        assert from_snapshot.decider.lines[name].state == line.state
        assert from_snapshot.decider.lines[name].through == line.through
    assert from_snapshot.position == from_log.position == 30


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_half_a_snapshot_is_none(bench: Bench, lost: int) -> None:
    """Chunks of a later snapshot, without its manifest, leave the earlier snapshot whole: they use other keys."""
    owned = bench.take(tuning=Tuning(snapshot_records=8))
    for i in range(24):
        bench.fact(f"e{i % 4}", str(i))
        bench.work(owned)
    snapshots = bench.broker.logs["engine-snapshots", 0]
    del snapshots[len(snapshots) - 1 - lost :]
    assert bench.take().position == 24
    for line in bench.owned.decider.lines.values() if bench.owned else ():
        assert line.state.sequence == 6


@pytest.mark.parametrize("value", [b"garbage", b'{"id":"\xff"}', b'{"a":' * 5_000, b"[" * 100_000])
@pytest.mark.parametrize("key", [b"manifest/0", b"e1/0/0", b"e1/1/0", b"nix"])
def test_a_stray_record_among_the_snapshots_makes_none_of_them(bench: Bench, key: bytes, value: bytes) -> None:
    """Everything is folded from the log instead, as where there was no snapshot."""
    owned = bench.take(tuning=Tuning(snapshot_records=8))
    for i in range(24):
        bench.fact(f"e{i % 4}", str(i))
        bench.work(owned)
    bench.broker.intrude(Letter("engine-snapshots", 0, key, value))
    again = bench.take()
    assert again.position == 24
    assert [line.state.sequence for line in again.decider.lines.values()] == [6, 6, 6, 6]


def test_a_changed_build_is_told_to_every_environment_as_a_fact(bench: Bench) -> None:
    bench.fact("a", "0")
    bench.fact("b", "1")
    bench.work(bench.take())
    bench.take(build="b2")
    told = [read_fact(r.value) for r in asyncio.run(bench.broker.all("facts"))][2:]
    assert told == [FactRecord("a", BuildChanged("b2", "b1")), FactRecord("b", BuildChanged("b2", "b1"))]


def test_a_garbled_fact_is_a_dead_letter_and_the_rest_goes_on(bench: Bench, broker: Any) -> None:
    broker.intrude(Letter("facts", 0, b"e", b"\xff\x00"))
    broker.intrude(Letter("facts", 0, b"e", None))
    bench.fact("e", "0")
    bench.work(bench.take())
    assert bench.offsets() == [2]
    letters: list[Record] = asyncio.run(broker.all("dead-letters"))
    assert [dict(letter.headers)["offset"] for letter in letters] == [b"0", b"1"]
    assert letters[0].value == b"\xff\x00"


def test_what_cannot_be_read_behind_a_parked_fact_is_refused_once(bench: Bench, broker: Any) -> None:
    """It was, in its turn, when the parked fact is skipped and what waited behind it is read again."""
    bench.fact("e", "0")
    broker.intrude(Letter("facts", 0, b"e", b'"e" and no more'))
    bench.fact("e", "1", OverrideVerb.SKIP, fact_offset=0)
    bench.work(bench.take(Rules(poison="0")))
    assert bench.offsets() == [0, 2]
    assert len(asyncio.run(broker.all("dead-letters"))) == 1


def test_a_fact_on_another_environments_partition_is_refused(broker: Any) -> None:
    taker = Taker(broker, broker, Rules(), _refuse, partitions=8, owner="w", build="b1")
    owned = asyncio.run(taker.take(0))
    misplaced = next(name for name in map(str, range(99)) if _place(name) != 0)
    record = Record("facts", 0, 0, 5, None, msgspec.json.encode(FactRecord(misplaced, TimePassed())))
    asyncio.run(owned.take([record]))
    assert len(asyncio.run(broker.all("dead-letters"))) == 1


def _place(environment: str) -> int:
    from ctrlplane_stream.wire.kafka_clients import partition_of

    return partition_of(environment, 8)


def test_a_replay_finds_a_decision_that_was_tampered_with(bench: Bench) -> None:
    for i in range(3):
        bench.fact("e", str(i))
    bench.work(bench.take())
    log = bench.broker.logs["decisions", 0]
    tampered = read_decision(log[2].value)
    assert isinstance(tampered, Decided)
    log[2] = msgspec.structs.replace(log[2], value=write_decision(msgspec.structs.replace(tampered, outputs=())))
    assert bench.replay() == [Problem.DIFFERENT]


def test_a_replay_finds_what_is_lost_and_what_is_doubled(bench: Bench) -> None:
    for i in range(3):
        bench.fact("e", str(i))
    bench.work(bench.take(), 0, 2)
    log = bench.broker.logs["decisions", 0]
    log.append(log[1])
    assert bench.replay() == [Problem.DOUBLED, Problem.UNDECIDED]


def test_the_claim_is_renewed_so_that_readers_find_one_near_by(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctrlplane_stream.stream.ownership.CLAIM_AT_LEAST_EVERY", 3)
    owned = bench.take()
    for i in range(8):
        bench.fact("e", str(i))
        bench.work(owned)
    assert len([r for r in bench.log() if isinstance(r, Claim)]) == 3
    assert bench.offsets() == list(range(8))
    assert bench.replay() == []


def test_a_tick_is_appended_once_when_an_environment_wants_to_be_woken(bench: Bench) -> None:
    bench.fact("e", "0")
    owned = bench.take()
    bench.work(owned)
    owned.decider.lines["e"].wake_at_ms = 5_000
    for now_ms in (4_999, 5_000, 5_100, 9_000):
        asyncio.run(owned.tick(now_ms))
    ticks = [read_fact(r.value) for r in asyncio.run(bench.broker.all("facts"))][1:]
    assert ticks == [FactRecord("e", TimePassed())]


def test_facts_that_were_passed_over_on_their_way_are_read_from_the_log(bench: Bench) -> None:
    """Found by the crash sweep: after a rebalance the framework may deliver a later record first and drop those before it."""
    for i in range(9):
        bench.fact("e", str(i))
    owned = bench.take()
    bench.work(owned, 0, 2)
    bench.work(owned, 5, 7)
    bench.work(owned, 8, 9)
    assert bench.offsets() == list(range(9))
    assert bench.replay() == []


def test_a_replay_finds_a_fact_that_the_line_has_passed_without_a_decision(bench: Bench) -> None:
    for i in range(3):
        bench.fact("e", str(i))
    bench.work(bench.take())
    del bench.broker.logs["decisions", 0][2]
    assert Problem.UNDECIDED in bench.replay()
