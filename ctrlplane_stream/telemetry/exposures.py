"""Whether a trace touched a watched candidate, judged when the span at its entry point becomes visible.

A trace is *exposed* where any of its halves is of the candidate; *possibly* exposed where a call to the candidate's service
failed without a server half, because a candidate that dies says nothing; else *unexposed*.
"""

from collections.abc import Collection, Container, Iterator, Mapping

from ctrlplane_stream.model.windows import Exposure
from ctrlplane_stream.telemetry.folding import Fold
from ctrlplane_stream.telemetry.half import Half
from ctrlplane_stream.telemetry.traces import Trace

Watched = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Environment -> service -> candidate versions."""


def count_exposures(trace: Trace, entry: Half, window: int, watched: Watched, fold: Fold) -> None:
    """Count a trace that entered with ``entry``, once for each candidate watched in its environment."""
    candidates = watched.get(entry.origin.environment)
    if not candidates:
        return
    touched = {(half.origin.service, half.origin.version) for half in _all(trace) if half.origin.environment == entry.origin.environment}
    into = fold.at(window, entry.origin.environment)
    for service, versions in candidates.items():
        for version in versions:
            exposure = exposure_of(service, version, touched, trace.possible.values())
            counts = into.exposure(entry.origin.service, service, version, exposure)
            counts.requests += 1
            counts.errors += entry.error
            counts.latency.count(entry.duration_us)


def exposure_of(service: str, version: str, touched: Container[tuple[str, str]], possible: Collection[str]) -> Exposure:
    """The exposure of a trace that touched these versions and has failed calls without an answer to these services."""
    if (service, version) in touched:
        return Exposure.EXPOSED
    return Exposure.POSSIBLE if service in possible else Exposure.UNEXPOSED


def _all(trace: Trace) -> Iterator[Half]:
    yield from trace.callees.values()
    yield from trace.others.values()
    yield from trace.copies.values()
