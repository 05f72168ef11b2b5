"""The engine against a count by hand on traces recorded as CSV: the form that Nezha's authors publish (`rca_data/*/trace/*.csv`).

    python -m bench._recorded_csv FILE.csv …

The form has no span kinds: a span whose parent is of another service is taken for a server, its parent for a client unless
that is a server itself, a root for a server, all else for local work. The count by hand is a look-up of every span's parent.
"""

import csv
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.in_memory import call_counts
from ctrlplane_stream.telemetry.offline import windows_of
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.sample_traces import SampleSpan, request

_SPANS_A_REQUEST = 500


class Row(msgspec.Struct, frozen=True):
    """A span as it is written down. Times are in nanoseconds since the epoch."""

    trace: str
    span: str
    parent: str
    service: str
    start_ns: int
    end_ns: int


def rows_of(paths: list[Path]) -> dict[tuple[str, str], Row]:
    """Every span once, by trace and id."""
    rows: dict[tuple[str, str], Row] = {}
    for path in paths:
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                # A pod is called like its service, the hash of its template and five more characters.
                service = line["PodName"].rsplit("-", 2)[0]
                times = int(line["StartTimeUnixNano"]), int(line["EndTimeUnixNano"])
                row = Row(line["TraceID"], line["SpanID"], line["ParentID"], service, *times)
                rows.setdefault((row.trace, row.span), row)
    return rows


def by_hand(rows: dict[tuple[str, str], Row]) -> tuple[Counter[tuple[str, str]], int]:
    """Calls by caller and callee, and the spans whose parent is missing."""
    calls: Counter[tuple[str, str]] = Counter()
    missing = 0
    for row in rows.values():
        above = rows.get((row.trace, row.parent))
        missing += above is None and row.parent != "root"
        if above is not None and above.service != row.service:
            calls[above.service, row.service] += 1
    return calls, missing


def spans_of(rows: dict[tuple[str, str], Row]) -> Iterator[SampleSpan]:
    """The same as spans of OpenTelemetry."""
    remote = {key for key, row in rows.items() if row.parent == "root" or _is_remote(rows, row)}
    callers = {(row.trace, row.parent) for row in rows.values() if _is_remote(rows, row)}
    for key, row in rows.items():
        kind = Kind.SERVER if key in remote else Kind.CLIENT if key in callers else Kind.INTERNAL
        parent = bytes(8) if row.parent == "root" else bytes.fromhex(row.parent.rjust(16, "0"))
        ids = bytes.fromhex(row.trace.rjust(32, "0")), bytes.fromhex(row.span.rjust(16, "0")), parent
        took = (row.end_ns - row.start_ns) / 1e6
        yield SampleSpan((("service.name", row.service),), *ids, kind, row.end_ns / 1e6, took, False, (), (), "")


def _is_remote(rows: dict[tuple[str, str], Row], row: Row) -> bool:
    above = rows.get((row.trace, row.parent))
    return row.parent != "root" and (above is None or above.service != row.service)


def main(paths: list[Path]) -> int:
    """Print both counts; 1 where they differ."""
    rows = rows_of(paths)
    calls, missing = by_hand(rows)
    spans = list(spans_of(rows))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recording"
        chunks = [request(spans[i : i + _SPANS_A_REQUEST]) for i in range(0, len(spans), _SPANS_A_REQUEST)]
        file.write_bytes(b"".join(len(chunk).to_bytes(4, "big") + chunk for chunk in chunks))
        found = windows_of([file])
    ours = {(caller, callee): n for (caller, callee, _), (n, _) in call_counts(found.parts).items()}
    for edge in sorted(calls.keys() | ours.keys()):
        print(f"{edge[0]} -> {edge[1]}: by hand {calls.get(edge, 0)}, engine {ours.get(edge, 0)}")
    print(f"{found.spans} spans, {len(calls)} edges, {sum(calls.values())} calls by hand, {sum(ours.values())} by the engine")
    print(f"parents missing: {missing} by hand, {found.skipped.get(Skip.MISSING_PARENT, 0)} by the engine; {found.skipped}")
    return 0 if ours == dict(calls) else 1


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
