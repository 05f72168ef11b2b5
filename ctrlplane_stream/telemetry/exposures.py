"""What a trace has to do with a watched version, judged when the span at its entry point becomes visible.

A trace is *exposed* where any of its halves is of the version; *possibly* exposed where a call to the version's service failed without a
server half, because a candidate that dies says nothing; else *unexposed*.

One of its calls to the service is drawn, whoever answered (`drawing`): the trace stands for the version that did, and of others that it is
exposed to it is told that it stands *elsewhere*. A request that calls a service ten times, or again after a failure, touches a version that
has a small share of the calls up to ten times as often as others do: by what they touched, the long and the failing requests were the
candidate's, and identical versions would differ. Drawn, each version has its share of every kind of request.

- A call is a server or consumer of the service, unless its parent is of the service too: that is the same request once more, seen by
  another instrumentation, or what a version asks of itself. A copy that stands for a link is none; a failed call that nobody answered is.
- Where no such server or consumer is there, any half of the service stands for it: one that dies at work leaves only what it called.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from ctrlplane_stream.model.windows import Exposure
from ctrlplane_stream.telemetry.drawing import lot
from ctrlplane_stream.telemetry.folding import Fold
from ctrlplane_stream.telemetry.half import CALLEES, NO_PARENT, Half
from ctrlplane_stream.telemetry.traces import Trace, same_place

Watched = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Environment -> service -> versions."""


class Found(NamedTuple):
    """What a trace has to do with a version; ``elsewhere``: it touched it, and another version answered the call that was drawn."""

    exposure: Exposure
    elsewhere: bool = False


DRAWN, ELSEWHERE = Found(Exposure.EXPOSED), Found(Exposure.EXPOSED, elsewhere=True)
POSSIBLE, UNEXPOSED = Found(Exposure.POSSIBLE), Found(Exposure.UNEXPOSED)
NUMBERED = (DRAWN, POSSIBLE, UNEXPOSED, ELSEWHERE)
"""By the number that stands for them in a column, and in C."""


def count_exposures(trace: Trace, entry: Half, window: int, watched: Watched, fold: Fold) -> None:
    """Count a trace that entered with ``entry``, once for each version watched in its environment."""
    services = watched.get(entry.origin.environment)
    if not services:
        return
    here = [half for half in _all(trace) if half.origin.environment == entry.origin.environment]
    into = fold.at(window, entry.origin.environment)
    for service, versions in services.items():
        own = [half for half in here if half.origin.service == service]
        lost = [span for span, called in trace.possible.items() if called == service]
        drawn = drawn_version(trace, own, [lot(entry.trace, span) for span in lost])
        touched = {half.origin.version for half in own}
        for version in versions:
            counts = into.exposure(entry.origin.service, service, version, *found_of(version, drawn, touched, bool(lost)))
            counts.requests += 1
            counts.errors += entry.error
            counts.latency.count(entry.duration_us)


def found_of(version: str, drawn: str | None, touched: Collection[str], lost: bool) -> Found:
    """What a trace has to do with a version of a service, of which it touched some, and whether failed calls to it were lost."""
    if version in touched:
        return DRAWN if version == drawn else ELSEWHERE
    return POSSIBLE if lost else UNEXPOSED


def drawn_version(trace: Trace, own: Collection[Half], lost: Collection[int]) -> str | None:
    """The version that answered the call which is drawn, of a service's halves and the lots of ``lost`` calls; None where nobody did."""
    calls = [half for half in own if half.kind in CALLEES and not half.link and not _is_inside(trace, half)]
    least = min(((lot(half.trace, half.span), half.origin.version) for half in calls or own), default=None)
    if least is None or (calls and lost and min(lost) < least[0]):
        return None
    return least[1]


def _is_inside(trace: Trace, half: Half) -> bool:
    above = trace.parent(half.parent) if half.parent != NO_PARENT else None
    return above is not None and same_place(above, half)


def _all(trace: Trace) -> Iterator[Half]:
    yield from trace.callees.values()
    yield from trace.others.values()
    yield from trace.copies.values()
