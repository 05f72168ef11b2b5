"""Sums of floats that are the same bits everywhere."""

from collections.abc import Iterable


def in_order(values: Iterable[float]) -> float:
    """The sum, added up one after another from the left, as C does. 0.0 of nothing.

    Not ``sum``: from Python 3.12 on that makes up for what rounding lost, so that a replay on another Python, or the C that adds up
    the same numbers, would differ in the last digit.
    """
    total = 0.0
    for value in values:
        total += value
    return total
