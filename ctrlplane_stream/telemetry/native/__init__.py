"""What is done in C where it was compiled: reading spans into columns, bringing columns into order, linking halves, counting.

Each has its twin in Python, which says what is right; the reader declines whatever is unusual, so that the rules stay there.
``scripts/compile_native.py`` makes the library when the package is built. Without a compiler, or on a big-endian machine,
there is none, and all goes as without.
"""

from ctrlplane_stream.telemetry.native.columns import Columns, Links, Traces
from ctrlplane_stream.telemetry.native.library import library
from ctrlplane_stream.telemetry.native.reading import LINKS, URL, Read, SpanReader

__all__ = ["LINKS", "URL", "Columns", "Links", "Read", "SpanReader", "Traces", "library"]
