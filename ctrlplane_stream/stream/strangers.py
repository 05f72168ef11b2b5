"""Environments that nobody asked for: no catalog names them, and we move nothing in them.

They are kept, since people look at an environment before they add it to the catalog, but so many and no more: a client that writes ever new
names would fill the judge's memory, and its records, for ever. One without a whole window for an hour makes room for a new one; where
there is none, the new one is turned away.
"""

from collections.abc import Mapping

MOST = 256
"""Of one partition."""

SILENT_MS = 3_600_000
"""As long as the windows of an environment are closed after its last span: who begins to speak again after that is new."""


def leaving(strangers: Mapping[str, int], now_ms: int, most: int = MOST) -> str | None:
    """Who makes room for one more: nobody where there is room, or where none of them was silent for long. ``strangers`` are names with when
    they last had a whole window."""
    if len(strangers) < most:
        return None
    name, last_ms = min(strangers.items(), key=lambda each: (each[1], each[0]))
    return name if now_ms - last_ms >= SILENT_MS else None


def surplus(strangers: Mapping[str, int], most: int = MOST) -> list[str]:
    """Those that are too many, the longest silent first."""
    return sorted(strangers, key=lambda name: (strangers[name], name))[: max(0, len(strangers) - most)]
