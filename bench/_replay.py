"""Recorded requests sent again as if they were new: other ids, other times, the same traffic; and the CPU time that a process took."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench._span_traffic import Traffic

_TRACE, _SPAN, _PARENT, _START = b"\x0a\x10", b"\x12\x08", b"\x22\x08", b"\x39"
KEY = 0x9E3779B97F4A7C15
"""Times the number of a round: changes its ids."""

_EIGHT = np.arange(8)
Places = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A serialized request, and where its ids and times stand in it."""

    value: bytes
    spans: int
    last_end_ns: int
    ids: Places
    times: Places

    def again(self, key: int, end_ns: int) -> bytes:
        """The request with its last span ending at ``end_ns`` and every id changed by ``key`` (different for each time)."""
        data = np.frombuffer(self.value, np.uint8).copy()
        _change(data, self.ids, lambda words: words ^ np.uint64(key))
        _change(data, self.times, lambda words: words + np.uint64((end_ns - self.last_end_ns) % (1 << 64)))
        return data.tobytes()


def _change(data: npt.NDArray[np.uint8], places: Places, change: Callable[[Words], Words]) -> None:
    at = places[:, None] + _EIGHT
    words = np.ascontiguousarray(data[at]).view("<u8")[:, 0]
    data[at] = change(words).astype("<u8")[:, None].view(np.uint8)


def recorded(value: bytes) -> Recorded:
    """Find the ids and times of a request as protobuf's own serializer writes it."""
    ids: list[int] = []
    times: list[int] = []
    at, last = 0, 0
    request = ExportTraceServiceRequest.FromString(value)
    spans = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    for span in spans:
        at = value.index(_TRACE + span.trace_id + _SPAN + span.span_id, at) + 2
        ids += [at, at + 18]
        if span.parent_span_id:
            ids.append(value.index(_PARENT + span.parent_span_id, at) + 2)
        start = value.index(_START + span.start_time_unix_nano.to_bytes(8, "little"), at) + 1
        times += [start, start + 9]
        last = max(last, span.end_time_unix_nano)
    return Recorded(value, len(spans), last, np.array(ids), np.array(times))


def traffic(records: int, spans_each: int = 500, services: int = 12, edges_each: int = 3, first: int = 0) -> list[Recorded]:
    """So many requests of the benchmarks' ordinary traffic."""
    return [recorded(value) for value in Traffic(services=services, edges_each=edges_each, first=first).requests(records, spans_each)]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, all its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
