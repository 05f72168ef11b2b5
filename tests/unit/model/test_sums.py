"""Floats add up to the same bits on every Python."""

from ctrlplane_stream.model.sums import in_order


def test_floats_are_added_up_from_the_left_and_nothing_makes_up_for_rounding():
    """The sum of Python 3.12 and later says 1.0 and 132.00015."""
    assert in_order([0.1] * 10) == 0.9999999999999999
    assert in_order([1.0 * 2, 2.00001 * 15, 5.0 * 20]) == 2.0 + 30.00015 + 100.0
    assert in_order([]) == 0.0
