"""``graph --live``: what the windows of the last minutes add up to."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from importlib import import_module
from types import SimpleNamespace

import msgspec
import pytest
from click.testing import CliRunner

from ctrlplane_stream.cli import main
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.windows import EdgeWindow, WindowPart

WINDOW = int(time.time()) // 10 * 10 - 60
CALLS = EdgeWindow("shop", "cart", EdgeKind.CALL, "1", "1", 7, 1, 7.0, 1.0)


def part(partition: int, number: int = 0, piece: int = 0) -> WindowPart:
    return WindowPart("prod", partition, WINDOW, number, (CALLS,), piece=piece)


def test_a_part_that_was_written_again_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker does that was killed after it wrote windows and before its checkpoint; pieces and late parts have names of their own."""
    first = [part(0), part(0, piece=1), part(1), part(1, number=40)]

    (edge,) = edges_of([msgspec.json.encode(found) for found in (*first, *first[1:])], monkeypatch)
    assert (edge["calls"], edge["errors"]) == (4 * 7, 4)


def test_what_is_no_window_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever somebody wrote to the topic, the windows on it are shown."""
    (edge,) = edges_of([b"garbage", b'{"type":"\xff"}', msgspec.json.encode(part(0)), b'{"a":' * 5_000, None], monkeypatch)
    assert (edge["calls"], edge["errors"]) == (7, 1)


def edges_of(values: Sequence[bytes | None], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """The edges that the command shows of these records."""

    async def written(*_: object) -> AsyncIterator[SimpleNamespace]:
        for value in values:
            yield SimpleNamespace(value=value)

    monkeypatch.setattr(import_module("ctrlplane_stream.commands.graph"), "read_since", written)
    shown = CliRunner().invoke(main, ["graph", "--live", "prod", "--json"], env={"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"})
    edges: list[dict[str, int]] = json.loads(shown.stdout)["edges"]
    return edges
