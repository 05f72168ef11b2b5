"""Memory that is kept for the next batch instead of being given back after each.

By default the C library maps memory of more than 128 KB anew each time and gives back what is free at the end of its heap. A role that
moves megabytes a batch then spends more on fetching pages from the kernel than on copying them: a third of what it does with them.
"""

import ctypes
import logging

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt``; see its manual page."""
_MOST_IN_HEAP, _KEPT = 32 << 20, 256 << 20
"""The most that glibc takes for the first; the second bounds what stays at the end of a heap that shrank."""

log = logging.getLogger(__name__)


def keep_memory() -> bool:
    """Let the C library keep what is freed, from here on in this process; False where it has no such parameters (musl, macOS)."""
    change = getattr(ctypes.CDLL(None), "mallopt", None)
    kept = change is not None and bool(change(_MMAP_THRESHOLD, _MOST_IN_HEAP)) and bool(change(_TRIM_THRESHOLD, _KEPT))
    if not kept:
        log.info("the C library gives freed memory back at once; spans cost more for it")
    return kept
