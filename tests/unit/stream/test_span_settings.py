"""What the roles make of their settings for the span engine."""

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.roles.spans import span_settings


def test_a_worker_keeps_no_more_spans_however_many_partitions_it_owns() -> None:
    """Memory is the worker's: one that takes over the partitions of another must not need more."""
    settings = Settings(pairing_spans=1_000)
    assert [span_settings(settings, owned).max_halves for owned in (1, 8, 5_000)] == [1_000, 125, 1]
