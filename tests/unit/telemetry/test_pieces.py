"""A part of a window that is too large for a record is written in pieces that add up to it, and each is read once."""

import msgspec
import pytest

from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart
from ctrlplane_stream.telemetry import pieces
from ctrlplane_stream.telemetry.pieces import in_pieces

PART = WindowPart(
    "prod",
    3,
    100,
    7,
    tuple(EdgeWindow("shop", f"cart-{number}", EdgeKind.CALL, "1", "2", number, 0, float(number), 0.0) for number in range(40)),
    tuple(ServiceWindow(f"cart-{number}", "2", number, 0, float(number), 0) for number in range(40)),
    tuple(ExposureWindow("shop", f"cart-{number}", "2", Exposure.EXPOSED, number, 0) for number in range(40)),
)
VALUE = msgspec.json.encode(PART)


def read(values: list[bytes]) -> list[WindowPart]:
    return [msgspec.json.decode(value, type=WindowPart) for value in values]


class _AsBefore(msgspec.Struct):
    """A row of exposures as builds before the draw knew it."""

    entry: str
    service: str
    version: str
    exposure: str
    requests: int
    errors: int


def test_what_fits_a_record_is_one_byte_for_byte() -> None:
    assert in_pieces(VALUE) == [VALUE]


@pytest.mark.parametrize("most", [1, 500, 5_000])
def test_pieces_add_up_in_the_order_of_the_rows_and_each_has_a_name_of_its_own(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MOST_BYTES", most)
    values = in_pieces(VALUE)
    found = read(values)
    assert len(found) > 2
    assert [piece.piece for piece in found] == [*range(len(found))]
    assert {(piece.environment, piece.partition, piece.window, piece.part) for piece in found} == {("prod", 3, 100, 7)}
    assert tuple(row for piece in found for row in piece.edges) == PART.edges
    assert tuple(row for piece in found for row in piece.services) == PART.services
    assert tuple(row for piece in found for row in piece.exposures) == PART.exposures
    assert len({piece.name for piece in found}) == len(found)
    assert sorted(piece.name for piece in found) == [piece.name for piece in found]
    frame = 200
    assert max(len(value) for value in values) < most + frame + max(len(msgspec.json.encode(row)) for row in PART.edges)


def test_exposures_that_an_earlier_build_wrote_stand_for_the_version_that_they_touched() -> None:
    """It drew none, and what it reads of a build that does it reads as what touched the version."""
    written = b'{"entry":"shop","service":"cart","version":"2","exposure":"exposed","requests":3,"errors":1}'
    assert not msgspec.json.decode(written, type=ExposureWindow).elsewhere
    now = msgspec.json.encode(ExposureWindow("shop", "cart", "2", Exposure.EXPOSED, 3, 1, elsewhere=True))
    assert msgspec.json.decode(now, type=_AsBefore) == _AsBefore("shop", "cart", "2", "exposed", 3, 1)
