"""The compiled library, if there is one."""

import ctypes
import hashlib
import sys
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parent / "spans.so"
_SOURCE_HASH = hashlib.sha256((Path(__file__).parent / "spans.c").read_bytes()).hexdigest()[:16]
"""Of the source that this module was written for, told at import: a library compiled of another would be called wrongly."""

_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int64
_FUNCTIONS: dict[str, tuple[object, tuple[object, ...]]] = {
    "read_spans": (_COUNT, (_POINTER, _POINTER, _POINTER, _COUNT)),
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
"""Result and arguments of each function of ``spans.c``."""


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
