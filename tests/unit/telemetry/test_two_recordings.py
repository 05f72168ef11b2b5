"""Two recordings that are compared are read with the same knowledge: what differs lies in what was recorded."""

import os
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from ctrlplane_stream.commands.graph import graph
from ctrlplane_stream.telemetry.engines import REFERENCE, Engine, columnar
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.offline import windows_of, windows_of_both
from ctrlplane_stream.telemetry.random_traces import random_spans
from ctrlplane_stream.telemetry.sample_traces import SampleSpan, SampleTraces, request

_ENGINES = [REFERENCE, columnar(always=True), columnar(always=True, compiled=False)]


def difference(one: Path, other: Path) -> str:
    return CliRunner().invoke(graph, ["--diff", str(one), str(other)]).output.strip()


def written(path: Path, *spans: SampleSpan) -> Path:
    path.write_bytes(request(spans))
    return path


@pytest.mark.parametrize("engine", _ENGINES, ids=lambda engine: engine.name)
def test_which_recording_is_named_first_makes_no_difference_and_the_same_one_twice_is_the_same(tmp_path: Path, engine: Engine) -> None:
    one, other = (written(tmp_path / str(seed), *random_spans(seed)) for seed in (1, 2))
    both = windows_of_both([one], [other], engine=engine)
    assert windows_of_both([other], [one], engine=engine) == both[::-1]
    assert windows_of_both([one], [one], engine=engine) == (windows_of([one], engine=engine),) * 2
    assert both == windows_of_both([one], [other], engine=REFERENCE)


@pytest.mark.parametrize(
    ("attributes", "services"),
    [
        ({"server.address": "cart", "server.port": 8080}, ("shop/cart",)),
        ({"server.address": "cart", "server.port": 8080}, ("red/cart", "zoo/cart")),
        ({"db.system.name": "redis", "server.address": "redis"}, ("shop/redis",)),
    ],
    ids=["host", "shared", "database"],
)
def test_what_is_called_as_a_service_is_and_never_answered_is_no_edge_to_it_in_either(
    tmp_path: Path, attributes: dict[str, str | int], services: tuple[str, ...]
) -> None:
    traces = SampleTraces()
    own = [traces.span(service, Kind.SERVER) for service in services]
    assert difference(*[written(tmp_path / "a", traces.span("shop/web", Kind.CLIENT, attributes=attributes), *own)] * 2) == (
        "no edge appeared, vanished or changed"
    )


def test_a_callee_that_is_known_from_the_later_recording_was_called_in_the_earlier_one_too(tmp_path: Path) -> None:
    """It did not come up; then it did."""

    def calls(name: str, dies: bool) -> Path:
        traces, spans = SampleTraces(), list[SampleSpan]()
        for _ in range(20):
            client = traces.span("shop", Kind.CLIENT, milliseconds=20, error=dies, attributes={"server.address": "cart.internal"})
            spans += [client] if dies else [client, traces.span("cart", Kind.SERVER, client, milliseconds=10)]
        return written(tmp_path / name, *spans)

    said = difference(calls("dead", dies=True), calls("alive", dies=False))
    assert "~ shop -call-> cart  failed 100.0% -> 0.0%" in said
    assert "external" not in said


def test_failed_calls_are_of_whoever_answers_at_the_address_in_the_same_recording(tmp_path: Path) -> None:
    def calls(name: str, callee: str, dead: int) -> Path:
        traces, spans = SampleTraces(), list[SampleSpan]()
        for number in range(12):
            client = traces.span("web", Kind.CLIENT, error=number < dead, attributes={"server.address": "shop-cart.internal"})
            spans += [client] if number < dead else [client, traces.span(callee, Kind.SERVER, client, milliseconds=5)]
        return written(tmp_path / name, *spans)

    said = difference(calls("a", "cart", 0), calls("b", "cart-blue", 3))
    assert said.splitlines() == ["+ web -call-> cart-blue  12 calls, 3 failed", "- web -call-> cart  12 calls"]


def test_pipes_are_read_once(tmp_path: Path) -> None:
    """As of `--diff <(…) <(…)`, though what both hold is paired twice."""
    plain = [written(tmp_path / str(seed), *random_spans(seed)) for seed in (1, 2)]
    pipes = [tmp_path / f"pipe{number}" for number in (1, 2)]
    for path, pipe in zip(plain, pipes, strict=True):
        os.mkfifo(pipe)
        threading.Thread(target=pipe.write_bytes, args=(path.read_bytes(),), daemon=True).start()
    found, expected = windows_of_both(pipes[:1], pipes[1:]), windows_of_both(plain[:1], plain[1:])
    assert [(each.parts, each.spans, each.skipped) for each in found] == [(each.parts, each.spans, each.skipped) for each in expected]
