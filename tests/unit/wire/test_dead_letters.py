"""A dead letter keeps what it was, and says where and why."""

from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.wire.dead_letters import MAX_REASON_BYTES, MOST_BYTES, letter_headers, letter_value, read_letter

_names = st.text(min_size=1, max_size=20)


@given(
    topic=_names,
    partition=st.integers(0, 1000),
    offset=st.integers(0, 2**63 - 1),
    reason=st.text(max_size=200),
    at_ms=st.integers(0, 2**53),
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    headers=st.lists(st.tuples(_names, st.binary())).map(tuple),
)
def test_what_is_written_is_read(
    topic: str,
    partition: int,
    offset: int,
    reason: str,
    at_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: tuple[tuple[str, bytes], ...],
) -> None:
    """Key, value, headers, origin, reason and time survive, whatever the original's headers were called."""
    written = letter_headers(topic, partition, offset, reason, at_ms, key=key, headers=headers)
    letter = read_letter(3, 17, value, written)
    assert (letter.place, letter.topic, letter.origin, letter.at_ms) == ((3, 17), topic, (partition, offset), at_ms)
    assert (letter.reason, letter.key, letter.value, letter.headers) == (reason, key, value, headers)
    assert letter.readable


@given(st.lists(st.tuples(st.sampled_from(["topic", "partition", "offset", "at_ms", "reason", "x"]), st.none() | st.binary())))
def test_no_headers_make_reading_fail(headers: list[tuple[str, bytes | None]]) -> None:
    """A foreign record on the topic is listed, not a crash."""
    letter = read_letter(0, 0, b"x", headers)
    assert letter.value == b"x"
    assert letter.reason or letter.readable


def test_a_long_reason_is_cut() -> None:
    """A reason that quotes ten megabytes does not double them."""
    letter = read_letter(0, 0, None, letter_headers("control", 0, 0, "ä" * 10_000, 1))
    assert len(letter.reason.encode(errors="replace")) <= MAX_REASON_BYTES + 3


def test_a_value_that_is_larger_than_a_letter_is_kept_packed_and_read_as_it_was() -> None:
    """What a topic allows is counted as it was compressed, and a letter that no broker takes would end its role at every start."""
    large = b'{"resourceSpans": [' + b" " * 2 * MOST_BYTES
    value, kept_as = letter_value(large)
    assert value is not None
    assert len(value) < MOST_BYTES
    assert read_letter(0, 0, value, (*letter_headers("otlp_spans", 0, 0, "cut short", 1), *kept_as)).value == large
    assert letter_value(large[:100]) == (large[:100], ())


def test_a_value_that_only_says_that_it_is_packed_is_kept_as_it_is() -> None:
    assert read_letter(0, 0, b"no frame", [("packed", b"zstd")]).value == b"no frame"
