"""What telemetry says per window: the rows between the span engine and everything that judges.

A window is named by its start in whole seconds since the epoch and covers the spans that *ended* in
``[start, start + length)``. Rows of one window come in parts: part 0 from each ``span-halves`` partition when its
watermark passes, parts 1, 2 … for what came late. Rows add up: the window is the sum of all its parts.
"""

from enum import StrEnum

import msgspec

from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.sketch import EMPTY, Sketch


class EdgeWindow(msgspec.Struct, frozen=True, gc=False):
    """Calls along one edge between one pair of versions, in one window.

    ``calls`` and ``errors`` count observed spans; ``estimated_calls`` and ``estimated_errors`` correct for sampling.
    A call whose server half is missing has ``callee_version`` "unknown". ``client``, ``server`` and ``gap``
    (client minus server duration) are latency sketches in microseconds; a side that was not seen is empty.
    """

    caller: str
    callee: str
    kind: EdgeKind
    caller_version: str
    callee_version: str
    calls: int
    errors: int
    estimated_calls: float
    estimated_errors: float
    client: Sketch = EMPTY
    server: Sketch = EMPTY
    gap: Sketch = EMPTY


class ServiceWindow(msgspec.Struct, frozen=True, gc=False):
    """Arrivals at one version of a service in one window: every SERVER and CONSUMER span, whoever called.

    ``roots`` counts those that came from outside (no parent); calls per request of a caller are an edge's calls
    over these ``requests``. ``estimated_requests`` and ``estimated_errors`` correct for sampling.
    """

    service: str
    version: str
    requests: int
    errors: int
    estimated_requests: float
    roots: int
    latency: Sketch = EMPTY
    estimated_errors: float = 0.0


class Exposure(StrEnum):
    """Whether a trace touched a watched version: it did, it may have (a failed half of unknown version), or not."""

    EXPOSED = "exposed"
    POSSIBLE = "possible"
    UNEXPOSED = "unexposed"


class ExposureWindow(msgspec.Struct, frozen=True):
    """Traces that entered at ``entry`` in one window, by whether they touched ``version`` of ``service``.

    Of each trace one call to the service stands for it, drawn whoever answered; ``elsewhere`` says of exposed ones that it went to another
    version. The others are to be compared: of identical versions each has its share of every kind of request, of those with many calls and
    of those that are tried again too. Builds that did not draw said so of none.
    """

    entry: str
    service: str
    version: str
    exposure: Exposure
    requests: int
    errors: int
    latency: Sketch = EMPTY
    elsewhere: bool = False


class WindowPart(msgspec.Struct, frozen=True, tag_field="type", tag="part"):
    """One part of a window from one ``span-halves`` partition.

    ``(environment, partition, window, part, piece)`` names it: a reader that has seen the name drops a repetition. A part that is too
    large for one record comes in pieces 0, 1, 2 …, one after the other, which add up to it.
    """

    environment: str
    partition: int
    window: int
    part: int
    edges: tuple[EdgeWindow, ...] = ()
    services: tuple[ServiceWindow, ...] = ()
    exposures: tuple[ExposureWindow, ...] = ()
    piece: int = 0

    @property
    def name(self) -> tuple[int, ...]:
        """What names it among those of its environment and partition; ascends as parts are written, late ones after others."""
        return (self.part, self.window, self.piece) if self.piece else (self.part, self.window)


class Closed(msgspec.Struct, frozen=True, tag_field="type", tag="closed"):
    """This ``span-halves`` partition will add nothing more to the window but late parts.

    ``lag_seconds`` is how far the partition's input lay behind when it closed; ``idle`` says that no source had
    anything to read, so that "no traffic" and "pipeline late" differ.
    """

    environment: str
    partition: int
    window: int
    lag_seconds: float = 0.0
    idle: bool = False


WindowRecord = WindowPart | Closed
"""What a record on ``telemetry-windows`` holds."""
