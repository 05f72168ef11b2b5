"""The two ways of doing the same work: the columnar one, and the reference in plain Python."""

from collections.abc import Callable
from functools import partial

import msgspec

from ctrlplane_stream.telemetry.halving import HalfSource, ReferenceSource
from ctrlplane_stream.telemetry.pair import PairingFactory
from ctrlplane_stream.telemetry.pairing import ReferencePairing
from ctrlplane_stream.telemetry.settings import SpanSettings


class Engine(msgspec.Struct, frozen=True):
    """How halves are made and how they are paired; pass ``source(settings)`` to HalvesStage and ``pairing`` to PairStage."""

    name: str
    source: Callable[[SpanSettings], HalfSource]
    pairing: PairingFactory


REFERENCE = Engine("reference", ReferenceSource, ReferencePairing)
"""One half at a time: short, and what the columnar engine must agree with."""


def columnar(always: bool = False, compiled: bool = True) -> Engine:
    """Many halves at a time, and where there are few the reference's way, unless ``always``; ``compiled``: by C, where there is any.

    Raises ImportError where one of its libraries is missing on this platform.
    """
    from ctrlplane_stream.telemetry.columnar_pairing import ColumnarPairing
    from ctrlplane_stream.telemetry.columnar_source import ColumnarSource
    from ctrlplane_stream.telemetry.native import library
    from ctrlplane_stream.telemetry.native_pairing import NativePairing
    from ctrlplane_stream.telemetry.native_source import NativeSource

    found = library() if compiled else None
    source = ColumnarSource if found is None else partial(NativeSource, found)
    pairing = ColumnarPairing if found is None else partial(NativePairing, found)
    if always:
        return Engine("columnar, always", partial(source, least_bytes=0), partial(pairing, least_rows=0, most_values=8))
    return Engine("columnar", source, pairing)


def default_engine() -> Engine:
    """The columnar engine where its libraries are, else the reference; both give the same, one ten times faster."""
    try:
        return columnar()
    except ImportError:
        return REFERENCE
