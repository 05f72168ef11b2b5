"""The rows of one closed window, sorted so that every guard finds its own: late parts with them, what is too late left out and counted.

A window's parts come from N partitions; rows of the same key add up. A late part belongs to the window it names but is counted in the
window that closes after it came, if that window still belongs to the same step; otherwise it is dropped, and its share reported.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ctrlplane_stream.model.identity import EdgeKey
from ctrlplane_stream.model.windows import EdgeWindow, ExposureWindow, ServiceWindow, WindowPart


class ClosedWindow(msgspec.Struct, frozen=True):
    """A window that all N partitions have closed, with what has come since the one before: its own parts and late parts of earlier ones.

    ``window`` is its start in whole seconds; ``lag_seconds`` the largest lag that its partitions reported.
    """

    window: int
    parts: tuple[WindowPart, ...] = ()
    lag_seconds: float = 0.0


@dataclass(slots=True)
class Rows:
    """Rows of one window, by who they are about. ``late`` and ``dropped`` count calls and requests, as ``total`` does."""

    window: int = 0
    services: dict[str, list[ServiceWindow]] = field(default_factory=dict)
    edges: dict[EdgeKey, list[EdgeWindow]] = field(default_factory=dict)
    incoming: dict[str, list[EdgeKey]] = field(default_factory=dict)
    outgoing: dict[str, list[EdgeKey]] = field(default_factory=dict)
    exposures: dict[str, list[ExposureWindow]] = field(default_factory=dict)
    total: int = 0
    late: int = 0
    dropped: int = 0
    sampled: bool = False
    """Whether any row stands for more than what was seen."""
    stands_for: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    """What a kept success and a kept failure of a version stand for, where the versions of a service are known to be sampled otherwise."""
    arms: dict[tuple[str, str | None], Any] = field(default_factory=dict)
    """What `arms.version_arm` has added up of these rows, since several questions ask for the same."""
    callers: dict[tuple[str, tuple[str, ...]], Any] = field(default_factory=dict)
    """And `arms.arms_by_caller`."""


def sort_rows(closed: ClosedWindow, since_ms: int) -> Rows:
    """The rows of the closed window and of late parts whose window starts at or after ``since_ms``; of an older window itself, none."""
    rows = Rows(closed.window)
    for part in closed.parts:
        size = sum(row.calls for row in part.edges) + sum(row.requests for row in part.services)
        if part.window * 1000 < since_ms:
            rows.dropped += size
            continue
        rows.total += size
        if part.window != closed.window or part.part > 0:
            rows.late += size
        _add(rows, part.edges, part.services, part.exposures)
    return rows


def _add(rows: Rows, edges: Iterable[EdgeWindow], services: Iterable[ServiceWindow], exposures: Iterable[ExposureWindow]) -> None:
    for edge in edges:
        key = EdgeKey(edge.caller, edge.callee, edge.kind)
        if key not in rows.edges:
            rows.edges[key] = []
            rows.incoming.setdefault(edge.callee, []).append(key)
            rows.outgoing.setdefault(edge.caller, []).append(key)
        rows.edges[key].append(edge)
        if edge.estimated_calls > edge.calls:
            rows.sampled = True
    for service in services:
        rows.services.setdefault(service.service, []).append(service)
        if service.estimated_requests > service.requests:
            rows.sampled = True
    for exposure in exposures:
        rows.exposures.setdefault(exposure.service, []).append(exposure)
