"""The structures that C and Python share while halves are paired, field by field as pool.h, counts.h, traces.h and placing.h have them."""

import ctypes
import struct

HALF = struct.Struct("<16s8s8sqqqIIII")
"""``Half`` of pool.h: trace, span, parent, end, duration, offset, origin, peer, weight, flags."""

PLACE = struct.Struct("<qIII5I")
"""``Place`` of placing.h: window, environment, slot, whether open, name."""

_COUNT, _POINTER = ctypes.c_int64, ctypes.c_void_p


class Pool(ctypes.Structure):
    """Halves one after the other."""

    _fields_ = (("half", _POINTER), ("count", _COUNT), ("room", _COUNT))


class Names(ctypes.Structure):
    """Pairs of words, numbered."""

    _fields_ = (("count", _COUNT), ("room", _COUNT), ("name", _POINTER), ("table", _POINTER), ("mask", ctypes.c_uint64))


class Counts(ctypes.Structure):
    """Calls, errors and sketches by name."""

    _fields_ = (
        ("names", Names),
        *((name, _COUNT) for name in ("width", "room", "tallies", "tally_room")),
        *((name, _POINTER) for name in ("tally_of", "roots", "tally", "sketch", "bounds")),
        ("most", _COUNT),
        ("guess", _POINTER),
        ("buckets", _COUNT),
        *((name, _POINTER) for name in ("index", "found", "end", "zero")),
    )


class Traces(ctypes.Structure):
    """Traces, numbered."""

    _fields_ = (
        ("traces", _COUNT),
        *((name, _POINTER) for name in ("key", "odd", "size", "trace", "table")),
        ("mask", ctypes.c_uint64),
    )


class Block(ctypes.Structure):
    """Traces that were settled together."""

    _fields_ = (
        ("pool", Pool),
        ("order", _POINTER),
        ("halves", _COUNT),
        ("traces", _COUNT),
        ("key", _POINTER),
        ("first", _POINTER),
        ("opens", _COUNT),
        ("open", _POINTER),
    )


class Closing(ctypes.Structure):
    """What is done when a window closes."""

    _fields_ = (
        ("seen", Pool),
        ("odd", Pool),
        ("traces", Traces),
        ("block", Block),
        *((name, _COUNT) for name in ("local", "received", "roots", "least_offset")),
        ("arrivals", Counts),
        ("calls", Counts),
        ("pairs", Names),
        ("spoken", Names),
    )


class Candidate(ctypes.Structure):
    """A version that is watched."""

    _fields_ = tuple((name, ctypes.c_uint32) for name in ("origin", "environment", "service"))


class Texts(ctypes.Structure):
    """What rows are named by: texts and origins."""

    _fields_ = tuple((name, _POINTER) for name in ("rank", "json", "start", "who"))


class Writing(ctypes.Structure):
    """What rows are written of."""

    _fields_ = tuple((name, _POINTER) for name in ("counts", "open", "texts", "weights"))
