"""A batch of halves that is larger than a record may be is written in pieces, and pairing has each of its rows once, however often and
wherever it is cut."""

from collections import Counter

import pytest

from ctrlplane_stream.model.windows import WindowPart
from ctrlplane_stream.telemetry import batch_pieces, checkpoint
from ctrlplane_stream.telemetry.batches import Batch, Watermark, decode, encode_watermark, halves
from ctrlplane_stream.telemetry.engines import REFERENCE, Engine, columnar
from ctrlplane_stream.telemetry.half import Half, Kind
from ctrlplane_stream.telemetry.halving import HalvesStage, SourceRecord
from ctrlplane_stream.telemetry.in_memory import feed
from ctrlplane_stream.telemetry.pair import PairStage
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleSpan, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings

SETTINGS = SpanSettings(partitions=1)
ENGINES = REFERENCE, columnar(always=True), columnar(always=True, compiled=False)
WHOLE = 1 << 30


def records() -> list[SourceRecord]:
    """Three records of one trace, of 30 calls each to ever new hosts, and of consumers with links; the first has offset 0."""
    traces = SampleTraces()
    root = traces.span("shop", Kind.INTERNAL)
    found = []
    for offset in range(3):
        spans: list[SampleSpan] = []
        for number in range(30):
            client = traces.span("shop", Kind.CLIENT, root, attributes={"server.address": f"{chr(97 + number % 26)}{offset}.example"})
            sent = traces.span("shop", Kind.PRODUCER, parent=root, attributes={"messaging.system": "kafka"})
            spans += [client, traces.span("cart", Kind.SERVER, client), sent, traces.span("mail", Kind.CONSUMER, links=(sent, client))]
        found.append(SourceRecord(0, offset, request(spans), BEGINNING_MS))
    return found


def halved(engine: Engine, read: list[SourceRecord], most: int, patch: pytest.MonkeyPatch) -> list[bytes]:
    patch.setattr(batch_pieces, "MOST_BYTES", most)
    return [out.value for out in HalvesStage(SETTINGS, engine.source(SETTINGS)).process(read, BEGINNING_MS).records]


def rows(values: list[bytes]) -> list[tuple[int, Half]]:
    found: list[tuple[int, Half]] = []
    for value in values:
        batch = decode(value)
        assert isinstance(batch, Batch)
        offsets = [offset for offset, rows in batch.runs for _ in range(rows)]
        found += zip(offsets, halves(batch), strict=True)
    return found


def closing(seconds: int) -> bytes:
    return encode_watermark(Watermark(0, BEGINNING_MS + seconds * 1_000, BEGINNING_MS, environments=("production",)))


def settled(engine: Engine, log: list[bytes], taken_over_at: int | None = None) -> tuple[list[WindowPart], Counter[Skip]]:
    """What a stage makes of a log, once it is all settled; ``taken_over_at``: another one goes on there from a checkpoint."""
    stage, found = PairStage(0, SETTINGS, pairing=engine.pairing), []
    log = [*log, closing(30), closing(120)]
    skipped: Counter[Skip] = Counter()
    for offset, value in enumerate(log):
        found += feed(stage, offset, value)
        if offset == taken_over_at:
            skipped.update(stage.skipped)
            saved = checkpoint.decode(checkpoint.encode(stage.checkpoint()))
            stage = PairStage(0, SETTINGS, checkpoint=saved, pairing=engine.pairing)
            for again in range(saved.restart.offset, offset + 1):
                assert feed(stage, again, log[again]) == []
    skipped.update(stage.skipped)
    return [record for record in found if isinstance(record, WindowPart)], skipped


@pytest.mark.parametrize("engine", ENGINES, ids=["reference", "native", "columnar"])
@pytest.mark.parametrize("most", [1, 3_000, 9_000])
def test_pieces_add_up_in_order_and_none_is_too_large(engine: Engine, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = halved(engine, records(), WHOLE, monkeypatch)
    cut = halved(engine, records(), most, monkeypatch)
    assert len(whole) == 1
    assert len(cut) > 2
    assert rows(cut) == rows(whole)
    assert all(len(value) <= most or len(rows([value])) == 1 for value in cut)


@pytest.mark.parametrize("engine", ENGINES, ids=["reference", "native", "columnar"])
def test_rows_that_are_written_again_and_cut_elsewhere_count_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker ended after some pieces of a step; what goes on reads other records together, and cuts them at other places."""
    read = records()
    whole = halved(engine, read, WHOLE, monkeypatch)
    expected, skipped = settled(engine, whole)
    first = halved(engine, read, 3_000, monkeypatch)
    again = [value for at in (0, 1) for value in halved(engine, read[:1] if at == 0 else read[1:], 4_000, monkeypatch)]
    for written in range(len(first) + 1):
        parts, also = settled(engine, [*first[:written], *again])
        assert parts == expected
        repeated = sum(not half.link for _, half in rows(first[:written]))
        assert also == skipped + Counter({Skip.REDELIVERED: repeated})


@pytest.mark.parametrize("engine", ENGINES, ids=["reference", "native", "columnar"])
def test_a_stage_that_is_taken_over_within_a_record_knows_how_much_of_it_came(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows were closed since, and the traces forgotten: only the checkpoint still knows."""
    read = records()
    first = halved(engine, read, 3_000, monkeypatch)
    again = halved(engine, read, 4_000, monkeypatch)
    for written in range(1, len(first)):
        log = [*first[:written], closing(30), closing(120), closing(200), *again, closing(300)]
        assert settled(engine, log, taken_over_at=written + 2) == settled(engine, log)
        parts, skipped = settled(engine, log)
        assert skipped[Skip.REDELIVERED] == sum(not half.link for _, half in rows(first[:written]))
        arrived = Counter[str]()
        for part in parts:
            arrived.update({row.service: row.requests for row in part.services})
        assert arrived == {"cart": 90, "mail": 90}


def test_what_an_earlier_build_wrote_of_a_source_is_read() -> None:
    old = b'{"partition":0,"restart":{"offset":3,"line":10,"sources":[{"source":0,"through":7}]},"through":4,"closed_through":10}'
    assert checkpoint.decode(old).restart.sources == (checkpoint.SourceState(0, 7),)
