"""What is done in C where it was compiled: reading spans into rows, writing halves, pairing them, counting.

Each has its twin in Python, which says what is right; the reader declines whatever is unusual, so that the rules stay there.
``scripts/compile_native.py`` makes the library when the package is built. Without a compiler, or on a big-endian machine,
there is none, and all goes as without.
"""

from ctrlplane_stream.telemetry.native.batches import COLUMNS, BatchReader, FoundBatch
from ctrlplane_stream.telemetry.native.halves import FAILED, Body, RowsToHalves
from ctrlplane_stream.telemetry.native.library import library, why_no_library
from ctrlplane_stream.telemetry.native.pairing import NOBODY, Counted, Halves, PairingLibrary, Settled
from ctrlplane_stream.telemetry.native.reading import ROW, Read, SpanReader

__all__ = [
    "COLUMNS",
    "FAILED",
    "NOBODY",
    "ROW",
    "BatchReader",
    "Body",
    "Counted",
    "FoundBatch",
    "Halves",
    "PairingLibrary",
    "Read",
    "RowsToHalves",
    "Settled",
    "SpanReader",
    "library",
    "why_no_library",
]
