"""What the judge knows of an environment, as records: whole after every crash, written where it changed, and read from earlier builds."""

import random
from collections.abc import Sequence

import msgspec
import pytest

from ctrlplane_stream.decision.judge import ClosedWindow, EnvironmentState, judge_environment
from ctrlplane_stream.model.verdicts import Assignment, Change, Guard, GuardRole
from ctrlplane_stream.model.windows import ServiceWindow, WindowPart
from ctrlplane_stream.stream import judge_records
from ctrlplane_stream.stream.judge_records import Docket, JudgeRecords, Values, environment_of, judge_record
from ctrlplane_stream.stream.window_line import Place

NAMES = [f"shop/svc-{number:03}" for number in range(300)]
ASSIGNMENT = Assignment(
    rollout="live/shop-svc/2",
    environment="live",
    step=0,
    attempt=1,
    changed=(Change(NAMES[0], "#2", "#1"),),
    guards=(Guard(NAMES[0], GuardRole.CHANGED, required=True),),
    weight=0.5,
    weight_confirmed_at_ms=30_000,
    steps=4,
)


def window(start: int, names: Sequence[str]) -> ClosedWindow:
    """So many requests that no two windows are alike."""
    rows = tuple(ServiceWindow(name, version, 100 + start, 1, 100.0 + start, 0) for name in names for version in ("#1", "#2"))
    return ClosedWindow(start, (WindowPart("live", 0, start, 0, services=rows),))


def folded(docket: Docket, start: int, names: Sequence[str] = NAMES) -> Docket:
    """After one more window; the place stands for how far was read."""
    known, _ = judge_environment(docket.known, (ASSIGNMENT,) if start >= 30 else (), window(start, names))
    return Docket(Place(restart=start, window=start), known)


def write(topic: dict[str, bytes], values: Values) -> None:
    """As a compacted topic keeps them."""
    for name, value in values:
        if value is None:
            topic.pop(name, None)
        else:
            topic[name] = value


def read(topic: dict[str, bytes]) -> tuple[JudgeRecords, Docket]:
    """As a worker that is started does."""
    records = JudgeRecords("live")
    return records, records.restore({name: judge_record(name, value) for name, value in topic.items()}) or Docket()


def same(a: Docket, b: Docket) -> bool:
    """Whatever the order in which names were met."""
    return msgspec.json.encode(a, order="sorted") == msgspec.json.encode(b, order="sorted")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_crash_cuts_short_the_judge_knows_what_it_would_have_known(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between any two writes of any window, and again as the window is read again: no window is lost or taken twice."""
    monkeypatch.setattr(judge_records, "CHUNK_CHARACTERS", 1_000)
    drawn = random.Random(seed)
    starts, topic, whole = range(0, 80, 10), dict[str, bytes](), Docket()
    heard = {start: drawn.sample(NAMES, drawn.randint(1, 300)) for start in starts}
    records, docket = read(topic)
    for start in starts:
        whole = folded(whole, start, heard[start])
        while docket.known.window < start:
            docket = folded(docket, start, heard[start])
            body, head = records.changed(docket)
            values = [*body, *head]
            if drawn.random() < 0.6:
                write(topic, values[: drawn.randrange(len(values))])
                records, docket = read(topic)
                docket = docket if docket.known.window >= 0 else Docket()
            else:
                write(topic, values)
        assert same(docket, whole)
    assert same(read(topic)[1], whole)
    assert {environment_of(name) for name in topic} == {"live"}


def test_only_what_changed_is_written() -> None:
    records, topic = JudgeRecords("live"), dict[str, bytes]()
    docket = folded(Docket(), 0)
    write(topic, [value for part in records.changed(docket) for value in part])
    assert len(topic) > 150
    docket = folded(docket, 10, NAMES[:3])
    body, head = records.changed(docket)
    assert (len(body), [name for name, _ in head]) == (3, ["live/head"])
    again, found = read(topic)
    assert (again.changed(found)[0], records.changed(docket)[0]) == ([], [])


def test_records_stay_small_however_much_there_is() -> None:
    docket = Docket()
    for start in (0, 10, 20, 30):
        docket = folded(docket, start, [f"shop/a-{'long' * 50}-name-{number}" for number in range(10_000)])
    body, head = JudgeRecords("live").changed(docket)
    assert sum(len(value or b"") for _, value in body) > 5_000_000
    assert max(len(value or b"") for _, value in [*body, *head]) < 1_000_000


def test_what_was_forgotten_leaves_the_records() -> None:
    records, topic = JudgeRecords("live"), dict[str, bytes]()
    docket = folded(Docket(), 0)
    write(topic, [value for part in records.changed(docket) for value in part])
    known, _ = judge_environment(docket.known, (), window(20, NAMES[:1]), remembered_seconds=10)
    write(topic, [value for part in records.changed(Docket(Place(), known)) for value in part])
    assert list(read(topic)[1].known.baseline.services) == NAMES[:1]


def test_the_one_record_of_an_earlier_build_is_read_and_then_replaced() -> None:
    """Its services were heard of in its last window, as far as anybody knows."""
    docket = folded(folded(folded(Docket(), 10), 20), 30)
    old = msgspec.to_builtins(docket)
    for past in old["known"]["baseline"]["services"].values():
        del past["heard"]
    topic = {"live": msgspec.json.encode(old)}
    records, found = read(topic)
    assert same(found, docket)
    write(topic, [value for part in records.changed(folded(found, 40, NAMES[:1])) for value in part])
    assert "live" not in topic
    assert same(read(topic)[1], folded(docket, 40, NAMES[:1]))


def test_the_record_of_an_earlier_build_that_went_on_alone_counts() -> None:
    """A worker was set back to it for a while."""
    topic: dict[str, bytes] = {}
    docket = folded(Docket(), 10)
    write(topic, [value for part in JudgeRecords("live").changed(docket) for value in part])
    later = folded(docket, 20)
    topic["live"] = msgspec.json.encode(later)
    assert same(read(topic)[1], later)


@pytest.mark.parametrize("lost", ["live/head", "live/past", "live/steps", "live/steps-1"])
def test_what_is_not_there_is_begun_anew_and_the_rest_is_kept(lost: str, caplog: pytest.LogCaptureFixture) -> None:
    """As where somebody wrote over it, and the broker has dropped what was there before."""
    records, topic = JudgeRecords("live"), dict[str, bytes]()
    docket = folded(folded(Docket(), 20), 30)
    write(topic, [value for part in records.changed(docket) for value in part])
    name = next(name for name in sorted(topic) if name.startswith(lost))
    del topic[name]
    found = JudgeRecords("live").restore({name: judge_record(name, value) for name, value in topic.items()})
    assert ("begin anew" in caplog.text) == (lost == "live/steps-1")
    if lost == "live/head":
        assert found is None
    else:
        assert found is not None
        assert 290 < len(found.known.baseline.services) <= 300
        assert bool(found.known.steps) == (not lost.startswith("live/steps"))


def test_environments_may_have_any_name() -> None:
    assert [environment_of(name) for name in ("a", "a/b", "a/b/head", "a/past-7", "a/b/steps", "a/b/steps-1-0")] == [
        "a",
        "a/b",
        "a/b",
        "a",
        "a/b",
        "a/b",
    ]


def test_an_environment_without_records_is_new() -> None:
    assert JudgeRecords("live").restore({}) is None
    assert EnvironmentState() == Docket().known
