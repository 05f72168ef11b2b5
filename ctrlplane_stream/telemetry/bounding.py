"""What halves the reference may be given: each of them takes the memory of several in columns, so they are counted before they are made."""

from array import array

import polars as pl
import pyarrow as pa

from ctrlplane_stream.telemetry.columns import bytes_of, numbers_of
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
        """What a trace has beyond its bound, counted before it is made objects of: a million spans must not take the worker down.

        In the order of the reference (``pairing``), as far as columns say it: halves that it tells apart by the values behind numbers stay
        or go together, and where they stay the reference says which.
        """
        most = self._settings.max_trace_halves
        ids = {name: _in_order_of_bytes(rows[of]) for name, of in (("id", "span"), ("above", "parent"))}
        rows = rows.with_columns(trace=trace_keys(), kind=pl.col("flags") & 7, **ids)
        rows = rows.sort("end", "id", "kind", "above", "offset")
        callee = pl.col("kind").is_in([int(Kind.SERVER), int(Kind.CONSUMER)])
        side = pl.struct("trace", "span", callee.alias("side"), pl.when((pl.col("flags") & LINK) != 0).then("parent").alias("link"))
        rows = rows.with_columns(first=side.is_first_distinct().cast(pl.Int64))
        rows = rows.with_columns(over=(pl.col("first").cum_sum() - pl.col("first")).over("trace") >= most)
        rows = rows.with_columns(over=pl.col("over").all().over("trace", "end", "span", "kind", "parent"))
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


def _in_order_of_bytes(ids: pl.Series) -> pl.Series:
    """Numbers that sort as the bytes do which ids are."""
    words = array("Q", bytes(bytes_of(ids)))
    words.byteswap()
    return numbers_of(words.tobytes(), pa.uint64(), len(ids))


def frame_of_memory(memory: bytes) -> pl.DataFrame:
    """Halves as C has them in memory, with ``SCHEMA``."""
    rows = len(memory) // HALF.size
    columns = {name: numbers_of(column_of(memory, name), dtype, rows) for name, dtype in ARROW.items()}
    return pl.DataFrame([columns[name].cast(SCHEMA[name]).alias(name) for name in NAMES])
