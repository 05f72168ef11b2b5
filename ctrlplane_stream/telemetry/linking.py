"""Finds, in columns, which halves belong to each other: the traces by number, the caller of each callee, and which traces are unusual.

By joins; the twin in C goes trace by trace (settling.c), with the same outcome.
"""

from dataclasses import dataclass

import polars as pl

from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.half_columns import trace_keys


@dataclass(slots=True)
class Traces:
    """The trace of each half by number, in order of appearance; and each trace's id folded into a word, ``trace``."""

    number: pl.Series
    keys: pl.Series


@dataclass(slots=True)
class Links:
    """By trace, whether its shape is unusual; by row, 1 + the row of a callee's caller, and whether a callee answered a caller."""

    odd: pl.Series
    above: pl.Series
    answered: pl.Series


def traces_of(rows: pl.DataFrame) -> Traces:
    """The traces of halves (``high``, ``low``), numbered in order of appearance."""
    distinct = rows.select("high", "low").unique(maintain_order=True)
    numbers = distinct.with_row_index("number")
    number = rows.select("high", "low").join(numbers, on=["high", "low"], how="left", maintain_order="left")["number"]
    return Traces(number, distinct.select(trace=trace_keys()).to_series())


def links_of(rows: pl.DataFrame, trace: pl.Series, odd: pl.Series) -> Links:
    """See :class:`Links`. A trace becomes odd where an id comes twice, there are several roots, a
    callee's caller is not there, or something lies below a caller that no callee answered; what is odd already stays so.
    """
    kind = pl.col("flags") & 7
    halves = rows.select("span", "parent", kind=kind, trace=trace).with_row_index("at")
    named = halves.select("trace", "span", up=pl.col("at") + 1).unique(["trace", "span"], keep="first", maintain_order=True)
    kinds = pl.concat([pl.Series([0], dtype=pl.UInt8), halves["kind"].cast(pl.UInt8)])
    halves = halves.join(named, left_on=["trace", "parent"], right_on=["trace", "span"], how="left", maintain_order="left")
    halves = halves.with_columns(up=pl.when(pl.col("parent") == 0).then(0).otherwise(pl.col("up").fill_null(0)))
    by_caller = kinds[halves["up"]].is_in([int(Kind.CLIENT), int(Kind.PRODUCER)])
    callee = halves["kind"].is_in([int(Kind.SERVER), int(Kind.CONSUMER)])
    answered = pl.repeat(False, len(rows) + 1, eager=True).scatter(halves["up"].filter(callee & by_caller).unique(), True)
    alone = callee & (halves["parent"] != 0) & ~by_caller
    below = ~callee & by_caller & ~answered[halves["up"]]
    roots = halves["trace"].filter(halves["parent"] == 0)
    twice = halves["trace"].filter(halves.select("trace", "span").is_duplicated())
    found = pl.concat([halves["trace"].filter(alone | below), twice, roots.filter(roots.is_duplicated())]).unique()
    return Links(odd.scatter(found, True), halves["up"].zip_with(callee, pl.zeros(len(rows), pl.UInt32, eager=True)), answered.slice(1))
