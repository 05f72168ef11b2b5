"""What the engine remembers: every kind of entry of its state, one struct each.

Entries are values; a decision replaces them. Times that end in ``_ms`` are wall-clock milliseconds of the log; those that end in
``_steady`` count milliseconds of *observed* time, which one fact advances by at most 15 s (see ``Clock``).
"""

from ctrlplane_stream.decision.entities.log import FAR_MS, CatalogEntry, Clock, Index, OriginMark, TelemetryEntry
from ctrlplane_stream.decision.entities.people import FreezeEntry, OverrideEntry
from ctrlplane_stream.decision.entities.rollouts import (
    NOBODY_CAME,
    NOT_BEGUN,
    SUPERSEDED,
    Advice,
    AdvisedEntry,
    Heard,
    Hold,
    Passage,
    Rollout,
    RunsFell,
    Unit,
    Word,
)
from ctrlplane_stream.decision.entities.sets import BlastRadius, ChangedUnit, GuardWhy, LeftOut, VersionSet
from ctrlplane_stream.decision.entities.targets import ArrivalsEntry, InFlight, LastKnownGood, LiveVersion, TargetEntry, ZeroSince
from ctrlplane_stream.decision.entities.versions import OfferedEntry, PairEntry, ReleaseEntry, Served, VersionEntry

__all__ = [
    "FAR_MS",
    "NOBODY_CAME",
    "NOT_BEGUN",
    "SUPERSEDED",
    "Advice",
    "AdvisedEntry",
    "ArrivalsEntry",
    "BlastRadius",
    "CatalogEntry",
    "ChangedUnit",
    "Clock",
    "FreezeEntry",
    "GuardWhy",
    "Heard",
    "Hold",
    "InFlight",
    "Index",
    "LastKnownGood",
    "LeftOut",
    "LiveVersion",
    "OfferedEntry",
    "OriginMark",
    "OverrideEntry",
    "PairEntry",
    "Passage",
    "ReleaseEntry",
    "Rollout",
    "RunsFell",
    "Served",
    "TargetEntry",
    "TelemetryEntry",
    "Unit",
    "VersionEntry",
    "VersionSet",
    "Word",
    "ZeroSince",
]
