"""The two ways of doing the same work: the columnar one, and the reference in plain Python."""

from collections.abc import Callable

import msgspec

from ctrlplane_stream.telemetry.halving import HalfSource, ReferenceSource
from ctrlplane_stream.telemetry.pair import PairingFactory
from ctrlplane_stream.telemetry.pairing import ReferencePairing
from ctrlplane_stream.telemetry.settings import SpanSettings


class Engine(msgspec.Struct, frozen=True):
    """How halves are made and how they are paired; pass ``source(settings)`` to HalvesStage and ``pairing`` to PairStage."""

    source: Callable[[SpanSettings], HalfSource]
    pairing: PairingFactory


REFERENCE = Engine(ReferenceSource, ReferencePairing)
"""One half at a time: short, and what the columnar engine must agree with."""


def default_engine() -> Engine:
    """The engine that a worker uses."""
    return REFERENCE
