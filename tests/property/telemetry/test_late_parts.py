"""Whoever takes the windows of all partitions counts each part once, wherever it is killed and however far one partition is behind."""

import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.windows import Closed, EdgeWindow, WindowPart, WindowRecord
from ctrlplane_stream.stream.window_line import Place, WindowLine
from ctrlplane_stream.telemetry.table import DependencyTable, TableSettings
from ctrlplane_stream.telemetry.table_records import table_record

SECONDS, LAST = 10, 90
SETTINGS = TableSettings(partitions=2, window_seconds=SECONDS)


def part(rng: random.Random, partition: int, window: int, number: int) -> list[WindowPart]:
    """A part in as many pieces as it needs."""
    calls = [rng.randint(1, 9) for _ in range(rng.choice((1, 1, 3)))]
    rows = [(EdgeWindow("shop", "cart", EdgeKind.CALL, "1", "1", many, 0, float(many), 0.0),) for many in calls]
    return [WindowPart("prod", partition, window, number, row, piece=piece) for piece, row in enumerate(rows)]


def partition_of(rng: random.Random, partition: int) -> list[WindowRecord]:
    """What a partition writes: each window, and after it late parts for it and for earlier ones, by rising number; some of it again."""
    written: list[WindowRecord] = []
    for window in range(SECONDS, LAST + SECONDS, SECONDS):
        written += [*part(rng, partition, window, 0), Closed("prod", partition, window)]
        for late in sorted(rng.sample(range(SECONDS, window + SECONDS, SECONDS), k=min(rng.randint(0, 2), window // SECONDS))):
            written += part(rng, partition, late, len(written))
        if rng.random() < 0.1:
            written += written[rng.randrange(len(written)) :]
    return written


def log_of(rng: random.Random) -> list[WindowRecord]:
    """Both partitions' records, each in its order; in the end both close some more windows."""
    one, other, mixed = partition_of(rng, 0), partition_of(rng, 1), list[WindowRecord]()
    while one or other:
        for waiting in (one, other):
            many = rng.randint(0, 12)
            mixed += waiting[:many]
            del waiting[:many]
    return [*mixed, *(Closed("prod", partition, LAST + SECONDS * more) for more in (1, 2, 3) for partition in (0, 1))]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9))
def test_killed_anywhere_the_table_and_the_judge_count_every_part_once(seed: int) -> None:
    rng = random.Random(seed)
    log = log_of(rng)
    each = {(p.partition, p.name): p.edges[0].calls for p in log if isinstance(p, WindowPart)}
    kills = sorted(rng.sample(range(1, len(log)), k=rng.randint(0, 6)))
    assert in_table(log, kills) == judged(log, kills) == sum(each.values())


def in_table(log: list[WindowRecord], kills: list[int]) -> int:
    """The calls that a table has in the end."""
    written: dict[str, bytes] = {}
    table, at, kills = DependencyTable("prod", SETTINGS), 0, list(kills)
    while at < len(log):
        table.feed(at, log[at])
        written |= dict(table.dirty())
        at += 1
        if kills and at == kills[0]:
            del kills[0]
            table = DependencyTable("prod", SETTINGS)
            table.restore((name, table_record(name, value)) for name, value in written.items())
            at = table.restart_offset
    return sum(edge.calls for edge in table.edges())


def judged(log: list[WindowRecord], kills: list[int]) -> int:
    """The calls of all windows that a judge takes."""
    calls: dict[int, int] = {}
    line, place, at, kills = WindowLine(2, SECONDS), Place(), 0, list(kills)
    while at < len(log):
        for whole in line.feed(at, log[at]):
            calls[whole.window] = sum(edge.calls for p in whole.parts for edge in p.edges)
            place = msgspec.json.decode(msgspec.json.encode(line.place), type=Place)
        at += 1
        if kills and at == kills[0]:
            del kills[0]
            line, at = WindowLine(2, SECONDS, place), place.restart
    return sum(calls.values())
