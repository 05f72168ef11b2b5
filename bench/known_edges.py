"""What a window costs where the same edges are seen in it and ever more others are known: ``python -m bench.known_edges [--quick]``.

A hundred services call each other in every measured window. Before it, so many others were seen, whose edges stay known: to pairing
(who answers at an address, which names are admitted) and in the dependency table. CPU time of the windows measured, of spans to rows; and
of the dependency table, from rows to what is written of it.
"""

import argparse
import json
import time
from collections.abc import Sequence

from bench._replay import KEY, Recorded, traffic
from bench.spans import as_a_worker, engine_run
from ctrlplane_stream.model.windows import Closed, WindowPart, WindowRecord
from ctrlplane_stream.telemetry.engines import columnar
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.telemetry.table import DependencyTable, TableSettings

_BEGINNING_MS = 1_700_000_000_000
_SETTINGS = SpanSettings(partitions=8, max_halves=10_000_000)
_MEASURED = 3
_KNOWN = ((0, 1), (50, 20), (250, 20), (1_000, 20))
"""Services that are known besides, and how many each of them calls."""


def _run(before: Sequence[Recorded], active: Sequence[Recorded], windows: int) -> tuple[float, list[WindowPart]]:
    """CPU seconds and the parts of a window of what is only known afterwards, and so many of what is active."""
    values, stamps = [], []
    for window, base in enumerate([before, *[active] * windows]):
        for at, one in enumerate(base):
            stamps.append(_BEGINNING_MS + window * _SETTINGS.window_ms + at * _SETTINGS.window_ms // len(base))
            values.append(one.again(window * KEY % (1 << 64), stamps[-1] * 1_000_000))
    halving, pairing, parts = min((engine_run(values, stamps, _SETTINGS, columnar()) for _ in range(3)), key=lambda run: run[0] + run[1])
    return halving + pairing, parts


def _table_seconds(parts: Sequence[WindowPart]) -> tuple[float, int]:
    """CPU seconds a window in the dependency table after the first, without the digest that comes every five minutes; and its edges."""
    table = DependencyTable("prod", TableSettings(partitions=_SETTINGS.partitions, digest_windows=10_000))
    by_window: dict[int, list[WindowPart]] = {}
    for part in parts:
        by_window.setdefault(part.window, []).append(part)
    spent, offset = list[float](), 0
    for window, found in sorted(by_window.items()):
        begun = time.process_time()
        records: list[WindowRecord] = [*found, *(Closed("prod", p, window) for p in range(_SETTINGS.partitions))]
        for record in records:
            table.feed(offset, record)
            offset += 1
        table.dirty()
        spent.append(time.process_time() - begun)
    return min(spent[2:]), sum(1 for _ in table.edges())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the spans")
    records = 100 if parser.parse_args().quick else 400
    as_a_worker()
    active = traffic(records, services=100, edges_each=5, first=5_000)
    spans = sum(one.spans for one in active)
    for services, edges_each in _KNOWN:
        before = traffic(records, services=services, edges_each=edges_each) if services else active[:1]
        (once, _), (often, parts) = _run(before, active, 1), _run(before, active, 1 + _MEASURED)
        seconds, known = _table_seconds(parts)
        last = max(part.window for part in parts)
        rows = sum(len(part.edges) + len(part.services) for part in parts if part.window == last - 2 * _SETTINGS.window_ms // 1000)
        line = {
            "edges_known": known,
            "spans_a_window": spans,
            "rows_a_window": rows,
            "us_a_span": round((often - once) / _MEASURED / spans * 1e6, 3),
            "table_ms_a_window": round(seconds * 1e3, 1),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
