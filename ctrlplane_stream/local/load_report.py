"""What the load generator saw: its lines, read back and counted.

Exposed is a request that touched a version, by the header that the services pass up; harmed is one that failed or took
too long. Both are the user's view and owe nothing to telemetry, so that a report can hold the engine's view against it.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from ctrlplane_stream.model.identity import UNKNOWN_VERSION


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request: when it was due (Unix seconds), where and for what, how it ended.

    ``status`` is 0 where no answer came, and ``error`` says why. ``milliseconds`` count from when it was due, and so does
    ``sent_late_milliseconds``, which is until it was sent: what the machine kept the generator waiting.
    ``touched`` are (service, version label) of every version that had to do with it; a callee that gave no answer
    is ``unknown``.
    """

    at: float
    entry: str
    operation: str
    status: int
    milliseconds: float
    touched: tuple[tuple[str, str], ...] = ()
    error: str | None = None
    sent_late_milliseconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it was answered well."""
        return 200 <= self.status < 300

    def harmed(self, slow_milliseconds: float) -> bool:
        """Whether the user was harmed: no good answer, or one that took longer than this."""
        return not self.ok or self.milliseconds > slow_milliseconds

    def exposed(self, service: str, label: str) -> bool:
        """Whether it touched this version for sure."""
        return (service, label) in self.touched

    def possibly_exposed(self, service: str, label: str) -> bool:
        """Whether it touched this version, or one of this service that gave no answer."""
        return self.exposed(service, label) or self.exposed(service, UNKNOWN_VERSION)


class EntryReport(msgspec.Struct, frozen=True):
    """Requests to one entry. The latencies are those of the answered ones, in milliseconds; None where there was none."""

    sent: int
    ok: int
    failed: int
    p50_milliseconds: float | None
    p99_milliseconds: float | None


def read_requests(path: Path) -> list[Request]:
    """The requests of a file that may still be written to: an unfinished last line is left for next time."""
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [msgspec.json.decode(line, type=Request) for line in whole.splitlines()]


def by_entry(requests: Iterable[Request]) -> dict[str, EntryReport]:
    """A report for each entry, in the order of their names."""
    groups: dict[str, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.entry, []).append(request)
    return {entry: _report(groups[entry]) for entry in sorted(groups)}


def _report(requests: list[Request]) -> EntryReport:
    ok = sum(r.ok for r in requests)
    latencies = sorted(r.milliseconds for r in requests if r.status)
    return EntryReport(len(requests), ok, len(requests) - ok, _quantile(latencies, 0.5), _quantile(latencies, 0.99))


def _quantile(ascending: list[float], q: float) -> float | None:
    return ascending[round(q * (len(ascending) - 1))] if ascending else None
