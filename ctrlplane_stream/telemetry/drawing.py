"""Lots for the calls of a trace: one of them is drawn to stand for it, whoever answered.

A lot depends on nothing but the ids of trace and span, so that it is the same in any order, batch and process; on no time, since the clocks
of two versions may differ. The ids are mixed by the finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, 2014): some SDKs count theirs, and each call of a trace must be drawn as often as any other.
"""

import polars as pl

from ctrlplane_stream.telemetry.half_columns import trace_key

_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST = 31
_WORD = 0xFFFFFFFFFFFFFFFF


def lot(trace: bytes, span: bytes) -> int:
    """The lot of a span; the least of a trace is drawn."""
    word = trace_key(trace) ^ int.from_bytes(span, "little")
    for shift, factor in _ROUNDS:
        word = (word ^ word >> shift) * factor & _WORD
    return word ^ word >> _LAST


def lots() -> pl.Expr:
    """The same in columns: of ``span``, where ``trace`` is the id of its trace, folded into a word."""
    word = pl.col("trace") ^ pl.col("span")
    for shift, factor in _ROUNDS:
        word = (word ^ (word // (1 << shift))) * factor
    return word ^ (word // (1 << _LAST))
