"""What traces that are held as columns have to do with watched versions: what `exposures` does trace by trace."""

from collections.abc import Sequence

import polars as pl

from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.telemetry.columnar_folding import Grouping, errors_of, placed, windows_at
from ctrlplane_stream.telemetry.drawing import lots
from ctrlplane_stream.telemetry.exposures import NUMBERED, Watched
from ctrlplane_stream.telemetry.folding import Fold
from ctrlplane_stream.telemetry.half import CALLEES, ERROR, Origin
from ctrlplane_stream.telemetry.settlement import Settled

_TICKET = ("trace", "span", "origin")


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
                lost = self._lost_calls(service)
                own = self._rows.filter(pl.col("origin").is_in([number for number in ours if self._origins[number].service == service]))
                drawn = _drawn(own, lost)
                for version in versions:
                    code = self._code(Origin(environment, service, version), own, drawn, lost["trace"])
                    self._add(entries.with_columns(exposure=code.cast(pl.UInt8)), service, version, window_seconds, fold)

    def _code(self, version: Origin, own: pl.DataFrame, drawn: pl.DataFrame, lost: pl.Series) -> pl.Expr:
        here = pl.col("origin").is_in([number for number, origin in enumerate(self._origins) if origin == version])
        exposed = pl.col("trace").is_in(drawn.filter(here)["trace"].implode())
        touched = pl.col("trace").is_in(own.filter(here)["trace"].unique().implode())
        possible = pl.col("trace").is_in(lost.unique().implode())
        return pl.when(exposed).then(0).when(touched).then(3).when(possible).then(1).otherwise(2)

    def _lost_calls(self, service: str) -> pl.DataFrame:
        """The calls to a service that failed without an answer."""
        ours = [who for who, one in enumerate(self._settled) if one == Settled(service, EdgeKind.CALL)]
        if not ours:
            return self._rows.select(_TICKET).clear()
        return self._callers.filter(pl.col("who").is_in(ours) & ((pl.col("flags") & ERROR) != 0)).select(_TICKET)

    def _add(self, entries: pl.DataFrame, service: str, version: str, window_seconds: int, fold: Fold) -> None:
        number, names = self._group.numbered(placed(entries, window_seconds), ("origin", "exposure", "place"))
        into, window_at = [], windows_at(entries, window_seconds)
        for origin, exposure, place in names:
            entry = self._origins[origin]
            at = fold.at(window_at(place), entry.environment)
            into.append(at.exposure(entry.service, service, version, *NUMBERED[exposure]))
        for i, count in self._group.counted(number):
            into[i].requests += count
        for i, count in self._group.counted(number.filter(errors_of(entries) != 0)):
            into[i].errors += count
        self._group.sketch(number, entries["duration"], lambda i: into[i].latency)


def _drawn(own: pl.DataFrame, lost: pl.DataFrame) -> pl.DataFrame:
    """By ``trace`` the ``origin`` that answered the call which is drawn, of a service's halves and lost calls; none where nobody did."""
    callees = own.filter((pl.col("flags") & 7).is_in(sorted(CALLEES)))
    calls = callees.join(own.select("trace", parent="span"), on=["trace", "parent"], how="anti").select(_TICKET)
    called = pl.col("trace").is_in(calls["trace"].unique().implode())
    nobody = pl.lit(None, dtype=pl.UInt32)
    tickets = pl.concat([calls, own.filter(~called).select(_TICKET), lost.filter(called).with_columns(origin=nobody)])
    return tickets.sort(lots()).unique("trace", keep="first", maintain_order=True).select("trace", "origin")
