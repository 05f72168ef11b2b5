"""Batches of Kafka's in one thread, by aiokafka and by us: ``python -m bench.record_batches [--quick]``.

Reading: from what a fetch brought of a partition (a batch of five records of 500 spans) until the values are Python's, by the codec of
whoever wrote it. Writing: from halves of spans to the bytes that go into a socket. CPU time a span, best of several turns, the two in
turn.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from bench._replay import traffic
from bench.spans import as_a_worker
from ctrlplane_stream.stream.fetching import FetchedRecords, Unpacker
from ctrlplane_stream.stream.sending import Batch, InParts, parts_of

_CODECS = {"zstd": 4, "lz4": 3, "snappy": 2, "gzip": 1, "none": 0}
_RECORDS_A_BATCH = 5
_BYTES_OF_A_HALF = 65


def _fetched(values: Sequence[bytes], codec: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 1 << 30)
    for number, value in enumerate(values):
        builder.append(number, 1_700_000_000_000, None, value, [])
    return bytes(builder.build())


def _read(fetches: Sequence[bytes], records: Callable[[bytes], Any]) -> None:
    for data in fetches:
        found = records(data)
        while found.has_next():
            batch = found.next_batch()
            assert batch.validate_crc()
            for record in batch:
                assert record.value


def _request(batch: Any) -> Any:
    return ProduceRequest._CLASSES[-1](None, -1, 40_000, [("span-halves", [(3, batch)])])


def _by_aiokafka(values: Sequence[bytes]) -> bytes:
    request = _request(_fetched(values, 0))
    return b"size" + (b"header" + bytes(request.encode()))


def _by_us(values: Sequence[bytes]) -> bytes:
    batch = Batch(1 << 30)
    for value in values:
        batch.append(timestamp=1_700_000_000_000, key=None, value=value)
    request = _request(batch._build())
    joined: Any = InParts([*parts_of(request.SCHEMA, [getattr(request, name) for name in request.SCHEMA.names])], fronts=2)
    whole: bytes = b"size" + (b"header" + joined)
    return whole


def _compared(what: str, spans: int, turns: int, aiokafka: Callable[[], object], ours: Callable[[], object]) -> None:
    best = {"aiokafka": float("inf"), "ours": float("inf")}
    for _ in range(turns):
        for name, work in (("aiokafka", aiokafka), ("ours", ours)):
            begun = time.thread_time()
            work()
            best[name] = min(best[name], time.thread_time() - begun)
    print(json.dumps({"what": what, **{f"{name}_us_a_span": round(spent / spans * 1e6, 3) for name, spent in best.items()}}), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the turns")
    turns = 5 if parser.parse_args().quick else 20
    as_a_worker()
    base = traffic(60)
    values, spans = [one.value for one in base], sum(one.spans for one in base)
    for name, codec in _CODECS.items():
        fetched = [_fetched(values[at : at + _RECORDS_A_BATCH], codec) for at in range(0, len(values), _RECORDS_A_BATCH)]
        what = f"read, {name}, {sum(map(len, fetched)) / spans:.0f} bytes a span"
        ours = partial(FetchedRecords, unpacker=Unpacker())
        _compared(what, spans, turns, partial(_read, fetched, MemoryRecords), partial(_read, fetched, ours))
    halves = [bytes(_BYTES_OF_A_HALF * 10_000)] * 4
    of_halves = 10_000 * len(halves)
    _compared(f"write, {_BYTES_OF_A_HALF} bytes a half", of_halves, turns, lambda: _by_aiokafka(halves), lambda: _by_us(halves))


if __name__ == "__main__":
    main()
