"""The compiled library, if there is one."""

import ctypes
import hashlib
import sys
from array import array
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parent / "spans.so"
_SOURCES = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in {".c", ".h"})
SOURCE_HASH = hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:16]
"""Of the sources that this module was written for, told at import: a library compiled of others would be called wrongly."""

_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int64
_FUNCTIONS: dict[str, tuple[object, tuple[object, ...]]] = {
    "counts_crc32c": (_COUNT, ()),
    "crc32c": (ctypes.c_uint32, (ctypes.c_uint32, ctypes.c_char_p, _COUNT, _COUNT)),
    "read_spans": (_COUNT, (_POINTER, _POINTER, _POINTER, _COUNT)),
    "forget_distinct": (None, (_POINTER,)),
    "understand": (_COUNT, (_POINTER, _COUNT, _POINTER, _POINTER, ctypes.c_uint64, _POINTER)),
    "mark_used": (None, (_POINTER, _COUNT, _POINTER, _POINTER)),
    "count_rows": (None, (_POINTER, _COUNT, _COUNT, _POINTER)),
    "room_for_halves": (_COUNT, (_COUNT, _COUNT)),
    "write_halves": (None, (_POINTER, _POINTER, _COUNT, _POINTER, _POINTER)),
    "read_batch": (_COUNT, (ctypes.c_char_p, _COUNT, _POINTER)),
    "make_room": (_COUNT, (_POINTER, _COUNT)),
    "append_halves": (_COUNT, (_POINTER, ctypes.c_char_p, _POINTER, _COUNT, _COUNT, _COUNT, _POINTER, _POINTER, _POINTER)),
    "move_ended": (_COUNT, (_POINTER, _COUNT, _POINTER)),
    "drop_first": (None, (_POINTER, _COUNT)),
    "free_pool": (None, (_POINTER,)),
    "find_windows": (_COUNT, (_POINTER, _COUNT, _POINTER)),
    "number_names": (_COUNT, (_POINTER,) * 3),
    "free_names": (None, (_POINTER,)),
    "mark_numbers": (None, (_POINTER,) * 4),
    "renumber": (None, (_POINTER,) * 4),
    "find_traces": (_COUNT, (_POINTER,)),
    "mark_held": (None, (_POINTER, _POINTER, _COUNT)),
    "take_met": (_COUNT, (_POINTER,) * 3),
    "settle": (_COUNT, (_POINTER, _COUNT, _COUNT, _COUNT)),
    "end_closing": (None, (_POINTER,)),
    "free_block": (None, (_POINTER,)),
    "count_spoken": (None, (_POINTER, _POINTER)),
    "count_open": (_COUNT, (_POINTER, _POINTER, _COUNT, _COUNT, _COUNT, _POINTER)),
    "count_exposures": (_COUNT, (_POINTER, _POINTER, _COUNT, _POINTER, _POINTER, _POINTER, _COUNT, _POINTER)),
    "free_counts": (None, (_POINTER,)),
    "place_calls": (None, (_POINTER,) * 4),
    "place_open": (None, (_POINTER,) * 4),
    "place_arrivals": (None, (_POINTER,) * 3),
    "sort_places": (_COUNT, (_POINTER, _COUNT, _POINTER)),
    "room_for_rows": (_COUNT, (_POINTER, _POINTER, _COUNT)),
    "write_rows": (_COUNT, (_POINTER, _POINTER, _COUNT, _COUNT, _POINTER, _POINTER)),
}
"""Result and arguments of each function that is called."""


def library() -> ctypes.CDLL | None:
    """The compiled library, or None where there is none that this machine can run; ``why_no_library`` says why."""
    found = _look()
    return found if isinstance(found, ctypes.CDLL) else None


def why_no_library() -> str | None:
    """Why spans go the slower way, in words; None where they do not."""
    found = _look()
    return found if isinstance(found, str) else None


@cache
def _look() -> ctypes.CDLL | str:
    if sys.byteorder != "little":
        return "this machine is big-endian"
    if not LIBRARY.exists():
        return "there is none: the package was built without a C compiler"
    try:
        found = ctypes.CDLL(str(LIBRARY))
        found.source_hash.restype = ctypes.c_char_p
        if found.source_hash() != SOURCE_HASH.encode():
            return "it was compiled of other sources"
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(found, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        return f"it cannot be used: {error}"  # of another machine, or of an older version
    return found


def address(memory: bytearray) -> int:
    """Where memory lies, to be held as long as that is used; 0 for none."""
    return ctypes.addressof(ctypes.c_uint8.from_buffer(memory)) if memory else 0


def address_of(numbers: "array[int] | array[float]") -> int:
    """Where numbers lie, to be held as long as that is used."""
    return numbers.buffer_info()[0]
