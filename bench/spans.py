"""The span engine against what a user would run instead, side by side in one run: ``python -m bench.spans [--quick]``.

Every figure is spans per CPU second of one thread, best of three, and its ratio to protobuf's own C parser merely parsing the
same bytes with the full OTLP schema in the same run. Spans have ten attributes, records 500 spans and more.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Sequence

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench._replay import KEY, Recorded, traffic
from bench._span_traffic import Traffic
from ctrlplane_stream.model.windows import WindowPart, WindowRecord
from ctrlplane_stream.stream.memory import keep_memory
from ctrlplane_stream.stream.worker import collect_seldom
from ctrlplane_stream.telemetry import checkpoint
from ctrlplane_stream.telemetry.engines import REFERENCE, Engine, columnar
from ctrlplane_stream.telemetry.halving import HalvesStage, SourceRecord
from ctrlplane_stream.telemetry.in_memory import call_counts, publish
from ctrlplane_stream.telemetry.pair import PairStage, Published
from ctrlplane_stream.telemetry.settings import SpanSettings

_STEP = 20
_BEGINNING_MS = 1_700_000_000_000
_WINDOWS = 3


def _cpu(work: Callable[[], object], times: int = 3) -> float:
    best = float("inf")
    for _ in range(times):
        gc.collect()
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best


def as_a_worker() -> None:
    """Treat memory in this process as a worker of the spans role does."""
    collect_seldom()
    keep_memory()


def _parsed(values: list[bytes]) -> None:
    """What the C parser is measured by: nothing is kept, so that it pays for no memory but its own."""
    for value in values:
        ExportTraceServiceRequest.FromString(value)


def engine_run(values: list[bytes], stamps_ms: list[int], settings: SpanSettings, engine: Engine) -> tuple[float, float, list[WindowPart]]:
    """CPU seconds of halving and of pairing with all windows closed and written out, checkpoints included, and the parts emitted."""
    halves = HalvesStage(settings, engine.source(settings))
    pairs = [PairStage(p, settings, None, None, engine.pairing) for p in range(settings.partitions)]
    log: list[list[bytes]] = [[] for _ in pairs]
    spent = [0.0, 0.0]
    written: list[Published] = []
    moved: set[int] = set()

    def take(partition: int, value: bytes) -> None:
        log[partition].append(value)
        if found := publish(pairs[partition], len(log[partition]) - 1, value):
            written.extend(found)
            moved.add(partition)

    last_ms = stamps_ms[-1] + settings.lateness_ms + settings.pairing_ms + 3 * settings.window_ms
    steps = [(first, stamps_ms[min(first + _STEP, len(values)) - 1]) for first in range(0, len(values), _STEP)]
    for first, now_ms in [*steps, (len(values), last_ms)]:
        begun = time.process_time()
        records = [SourceRecord(0, first + i, value, now_ms) for i, value in enumerate(values[first : first + _STEP])]
        out = halves.process(records, now_ms).records if records else ()
        marks = [halves.watermark(source, now_ms, whole_ms=now_ms) or b"" for source in range(settings.partitions)]
        halved = time.process_time()
        for record in out:
            take(record.partition, record.value)
        for mark in marks:
            for partition in range(settings.partitions):
                take(partition, mark)
        for partition in moved:
            checkpoint.encode(pairs[partition].checkpoint())
        moved.clear()
        spent[0] += halved - begun
        spent[1] += time.process_time() - halved
    records_out = [msgspec.json.decode(one.value, type=WindowRecord) for one in written]
    return spent[0], spent[1], [one for one in records_out if isinstance(one, WindowPart)]


def measure(records: int, services: int, edges_each: int, partitions: int, engine: Engine, label: str) -> dict[str, object]:
    """One line of the report."""
    source = Traffic(services=services, edges_each=edges_each)
    values, stamps = [], []
    for _ in range(records):
        values += source.requests(1)
        stamps.append(source.now_ms + 1_000)
    spans = sum(len(s.spans) for v in values for r in ExportTraceServiceRequest.FromString(v).resource_spans for s in r.scope_spans)
    parse = _cpu(lambda: _parsed(values))
    settings = SpanSettings(partitions=partitions, max_halves=10_000_000)
    runs = [engine_run(values, stamps, settings, engine) for _ in range(3)]
    halving, pairing, parts = min(runs, key=lambda run: run[0] + run[1])
    counts = call_counts(parts)
    line = {
        "what": label,
        "spans": spans,
        "bytes_a_span": round(sum(map(len, values)) / spans),
        "edges": len(counts),
        "calls": sum(calls for calls, _ in counts.values()),
        "engine_spans_a_second": round(spans / (halving + pairing)),
        "halving_us": round(halving / spans * 1e6, 2),
        "pairing_us": round(pairing / spans * 1e6, 2),
        "c_parser_spans_a_second": round(spans / parse),
        "ratio": round(parse / (halving + pairing), 2),
    }
    print(json.dumps(line), flush=True)
    return line


def window_cost(base: Sequence[Recorded]) -> tuple[int, int, float]:
    """Spans, rows and CPU seconds of a window, many of whose edges were seen in the one before."""
    settings = SpanSettings(partitions=8, max_halves=10_000_000)

    def run(windows: int) -> tuple[float, int]:
        values, stamps = [], []
        for at in range(windows * len(base)):
            stamps.append(_BEGINNING_MS + at * settings.window_ms // len(base))
            values.append(base[at % len(base)].again(at // len(base) * KEY % (1 << 64), stamps[-1] * 1_000_000))
        runs = [engine_run(values, stamps, settings, columnar()) for _ in range(2)]
        return min(halving + pairing for halving, pairing, _ in runs), sum(len(part.edges) + len(part.services) for part in runs[0][2])

    (first, few), (all_of_them, many) = run(1), run(_WINDOWS)
    return sum(one.spans for one in base), (many - few) // (_WINDOWS - 1), (all_of_them - first) / (_WINDOWS - 1)


def rows_cost(records: int) -> None:
    """What a row costs beside its spans, whose cost is what spans cost where there are ten services."""
    alone: dict[int, float] = {}
    for services, edges_each in ((10, 1), (100, 5), (1_000, 20)):
        made = traffic(records, services=services, edges_each=edges_each)
        for base in (made[: records // 4], made):
            spans, rows, spent = window_cost(base)
            each = alone.setdefault(len(base), spent / spans)
            a_row = {"us_a_row": round((spent - each * spans) / rows * 1e6, 1)} if services > 10 else {}
            line = {"services": services, "spans_a_window": spans, "rows": rows, "us_a_span": round(spent / spans * 1e6, 2), **a_row}
            print(json.dumps(line), flush=True)


def main() -> None:
    """Run the table of issue "the span engine"; ``--quick`` takes seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the spans")
    arguments = parser.parse_args()
    as_a_worker()
    records = 200 if arguments.quick else 2_000
    measure(records // 10, 12, 3, 8, REFERENCE, "reference, 8 partitions")
    measure(records, 12, 3, 8, columnar(), "columnar, 8 partitions")
    measure(records, 12, 3, 1, columnar(), "columnar, 1 partition")
    for services, edges_each in ((10, 1), (100, 5), (1_000, 20)):
        measure(records, services, edges_each, 8, columnar(), f"columnar, {services} services")
    rows_cost(200 if arguments.quick else 800)


if __name__ == "__main__":
    main()
