"""What halves the reference may be given: each of them takes the memory of several in columns, so they are counted before they are made."""

import polars as pl

from ctrlplane_stream.telemetry.columns import numbers_of
from ctrlplane_stream.telemetry.half import LINK, Kind
from ctrlplane_stream.telemetry.half_columns import ARROW, NAMES, SCHEMA, trace_keys
from ctrlplane_stream.telemetry.native.pairing import column_of
from ctrlplane_stream.telemetry.native.structures import HALF
from ctrlplane_stream.telemetry.pairing import ReferencePairing, most_in_traces
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.settings import SpanSettings


class Bounds:
    """What is held one by one, and how much more may be."""

    def __init__(self, settings: SpanSettings, slow: ReferencePairing) -> None:
        self._settings = settings
        self._slow = slow

    def fit(self, rows: int) -> bool:
        """Whether so many halves more surely fit."""
        return rows <= self._settings.max_trace_halves and self._slow.held + rows <= most_in_traces(self._settings)

    def bounded(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of the rows that may be held: no runaway trace beyond its own bound, then the newest."""
        if len(rows) > self._settings.max_trace_halves:
            rows = self._without_runaways(rows)
        surplus = self._slow.held + len(rows) - most_in_traces(self._settings)
        if surplus > 0:
            surplus -= self._slow.evict(surplus)
        if surplus <= 0:
            return rows
        rows = rows.sort("end", "offset", maintain_order=True)
        self.give_up_rows(rows.head(surplus), Skip.EVICTED)
        return rows.slice(surplus)

    def _without_runaways(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What a trace has beyond its bound, counted before it is made objects of: a million spans must not take the worker down."""
        most = self._settings.max_trace_halves
        rows = rows.with_columns(trace=trace_keys()).sort("end", "span", "offset")
        callee = (pl.col("flags") & 7).is_in([int(Kind.SERVER), int(Kind.CONSUMER)])
        side = pl.struct("trace", "span", callee.alias("side"), pl.when((pl.col("flags") & LINK) != 0).then("parent").alias("link"))
        rows = rows.with_columns(first=side.is_first_distinct().cast(pl.Int64))
        rows = rows.with_columns(over=(pl.col("first").cum_sum() - pl.col("first")).over("trace") >= most)
        self.give_up_rows(rows.filter("over"), Skip.TRACE_TOO_LARGE)
        return rows.filter(~pl.col("over")).select(NAMES)

    def give_up_rows(self, rows: pl.DataFrame, reason: Skip) -> None:
        """Count the spans among rows under a reason."""
        self.give_up(int(((rows["flags"] & LINK) != 0).sum()), len(rows), reason)

    def give_up(self, links: int, halves: int, reason: Skip) -> None:
        """Count halves under a reason; copies that stand for links are counted as such."""
        for name, count in ((reason, halves - links), (Skip.UNLINKED, links)):
            if count:
                self._slow.skipped[name] += count


def frame_of_memory(memory: bytes) -> pl.DataFrame:
    """Halves as C has them in memory, with ``SCHEMA``."""
    rows = len(memory) // HALF.size
    columns = {name: numbers_of(column_of(memory, name), dtype, rows) for name, dtype in ARROW.items()}
    return pl.DataFrame([columns[name].cast(SCHEMA[name]).alias(name) for name in NAMES])
