"""The compiled library, if there is one."""

import ctypes
import hashlib
import sys
from array import array
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parent / "spans.so"
_SOURCES = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in {".c", ".h"})
_SOURCE_HASH = hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:16]
"""Of the sources that this module was written for, told at import: a library compiled of others would be called wrongly."""

_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int64
_FUNCTIONS: dict[str, tuple[object, tuple[object, ...]]] = {
    "read_spans": (_COUNT, (_POINTER, _POINTER, _POINTER, _COUNT)),
    "understand": (_COUNT, (_POINTER, _COUNT, _POINTER, _POINTER, ctypes.c_uint64, _POINTER, _POINTER)),
    "count_rows": (None, (_POINTER, _COUNT, _COUNT, _POINTER)),
    "room_for_halves": (_COUNT, (_COUNT, _COUNT)),
    "write_halves": (None, (_POINTER, _POINTER, _COUNT, _POINTER, _POINTER)),
    "order_by_key": (None, (_POINTER, _COUNT, _COUNT, _POINTER, _POINTER, _POINTER)),
    "gather": (None, (_POINTER, _POINTER, _COUNT, _COUNT, _POINTER)),
    "partition_keys": (None, (_POINTER, _POINTER, _POINTER, _COUNT, ctypes.c_uint64, ctypes.c_uint32, _POINTER)),
    "fill_runs": (None, (_POINTER, _COUNT, _POINTER)),
    "sort_counts": (_COUNT, (_POINTER, _POINTER, _COUNT)),
    "number_traces": (_COUNT, (_POINTER, ctypes.c_uint64, _POINTER, _POINTER, _POINTER)),
    "link_halves": (None, (_POINTER,) * 6),
    "number_keys": (_COUNT, (_POINTER, _COUNT, _POINTER, ctypes.c_uint64, _POINTER, _POINTER, _POINTER)),
    "bucket_keys": (None, (_POINTER, _POINTER, _COUNT, _POINTER, _COUNT, _POINTER, _COUNT, _POINTER)),
}
"""Result and arguments of each function that is called."""


@cache
def library() -> ctypes.CDLL | None:
    """The compiled library, or None where there is none that this machine can run."""
    if sys.byteorder != "little" or not LIBRARY.exists():
        return None
    try:
        found = ctypes.CDLL(str(LIBRARY))
        found.source_hash.restype = ctypes.c_char_p
        if found.source_hash() != _SOURCE_HASH.encode():
            return None
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(found, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None  # of another machine, or of an older version
    return found


def address(memory: bytearray) -> int:
    """Where memory lies, to be held as long as that is used; 0 for none."""
    return ctypes.addressof(ctypes.c_uint8.from_buffer(memory)) if memory else 0


def address_of(numbers: "array[int]") -> int:
    """Where numbers lie, to be held as long as that is used."""
    return numbers.buffer_info()[0]
