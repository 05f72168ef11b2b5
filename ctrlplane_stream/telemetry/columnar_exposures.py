"""Whether traces that are held as columns touched a watched candidate: what `exposures` does trace by trace."""

from collections.abc import Sequence

import polars as pl

from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.windows import Exposure
from ctrlplane_stream.telemetry.columnar_folding import Grouping, errors_of, placed, windows_at
from ctrlplane_stream.telemetry.exposures import Watched
from ctrlplane_stream.telemetry.folding import Fold
from ctrlplane_stream.telemetry.half import ERROR, Origin
from ctrlplane_stream.telemetry.settlement import Settled

EXPOSURES = (Exposure.EXPOSED, Exposure.POSSIBLE, Exposure.UNEXPOSED)
"""By the number that stands for them in a column."""


class CandidateTraces:
    """Traces settled together: their rows, the callers that nobody answered, and by ``who`` of those what they are settled as."""

    def __init__(self, rows: pl.DataFrame, callers: pl.DataFrame, settled: Sequence[Settled | None], origins: Sequence[Origin]) -> None:
        self._rows = rows
        self._callers = callers
        self._settled = settled
        self._origins = origins
        self._group = Grouping()

    def count(self, watched: Watched, window_seconds: int, fold: Fold) -> None:
        """Count the traces whose root is there, candidate by candidate."""
        roots = self._rows.filter(pl.col("parent") == 0)
        for environment, services in watched.items():
            ours = [number for number, origin in enumerate(self._origins) if origin.environment == environment]
            entries = roots.filter(pl.col("origin").is_in(ours))
            for service, versions in services.items() if len(entries) else ():
                failed = self._failed_calls(service)
                for version in versions:
                    code = self._code(Origin(environment, service, version), failed)
                    self._add(entries.with_columns(exposure=code.cast(pl.UInt8)), service, version, window_seconds, fold)

    def _code(self, candidate: Origin, failed: pl.Series) -> pl.Expr:
        here = [number for number, origin in enumerate(self._origins) if origin == candidate]
        touched = self._rows["trace"].filter(self._rows["origin"].is_in(here))
        exposed = pl.col("trace").is_in(touched.unique().implode())
        possible = pl.col("trace").is_in(failed.implode())
        return pl.when(exposed).then(0).when(possible).then(1).otherwise(2)

    def _failed_calls(self, service: str) -> pl.Series:
        """Traces in which a call to a service failed without an answer."""
        ours = [who for who, one in enumerate(self._settled) if one == Settled(service, EdgeKind.CALL)]
        if not ours:
            return pl.Series([], dtype=pl.UInt64)
        return self._callers.filter(pl.col("who").is_in(ours) & ((pl.col("flags") & ERROR) != 0))["trace"].unique()

    def _add(self, entries: pl.DataFrame, service: str, version: str, window_seconds: int, fold: Fold) -> None:
        number, names = self._group.numbered(placed(entries, window_seconds), ("origin", "exposure", "place"))
        into, window_at = [], windows_at(entries, window_seconds)
        for origin, exposure, place in names:
            entry = self._origins[origin]
            at = fold.at(window_at(place), entry.environment)
            into.append(at.exposure(entry.service, service, version, EXPOSURES[exposure]))
        for i, count in self._group.counted(number):
            into[i].requests += count
        for i, count in self._group.counted(number.filter(errors_of(entries) != 0)):
            into[i].errors += count
        self._group.sketch(number, entries["duration"], lambda i: into[i].latency)
