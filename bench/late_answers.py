"""How often a call is counted without its answer though that comes: ``python -m bench.late_answers``.

Four processes call four others, sixty times a second for five minutes of event time; each exports what it has every five seconds, as the
SDKs do, and the Collector a fifth of a second later. One call in twenty fails for the caller alone (a 404). Printed of each case: the share
of calls counted with an unknown version, and of failures so counted, with answers waited for as by default and not at all.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.in_memory import InMemoryChain
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleSpan, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings

_MS = 300_000
_CALLS = 18_000
_EXPORT_MS = 5_000


@dataclass(frozen=True)
class Case:
    """What disturbs: one server's clock, work after the response, callers that give up, one server's exporter for half a minute."""

    name: str
    ahead_ms: float = 0.0
    after_ms: float = 0.0
    timeouts: float = 0.0
    held_up: bool = False


CASES = (
    Case("nothing"),
    Case("servers work on for 5 ms (mean) after their response", after_ms=5),
    Case("the clock of one server in four is 50 ms ahead", ahead_ms=50),
    Case("the clock of one server in four is 500 ms ahead", ahead_ms=500),
    Case("the clock of one server in four is 3 s ahead", ahead_ms=3_000),
    Case("2% of calls time out, their servers end within 3 s", timeouts=0.02),
    Case("one server in four exports nothing for 30 s", held_up=True),
)


def _spans(case: Case, rng: random.Random) -> Iterator[tuple[float, SampleSpan]]:
    """Spans and when the broker has them."""
    traces, begins = SampleTraces(), [rng.uniform(0, _EXPORT_MS) for _ in range(8)]
    for _ in range(_CALLS):
        end_ms, caller, server = rng.uniform(0, _MS), rng.randrange(4), rng.randrange(4)
        fails, gives_up = rng.random() < 0.05, rng.random() < case.timeouts
        done_ms = end_ms - rng.uniform(0.2, 3) + (rng.expovariate(1 / case.after_ms) if case.after_ms else 0)
        if gives_up:
            done_ms = end_ms + rng.uniform(0, 3_000)
        address: dict[str, str | int] = {"server.address": "cart", "server.port": 80}
        client = traces.span("shop", Kind.CLIENT, end_ms=BEGINNING_MS + end_ms, error=fails or gives_up, attributes=address)
        told_ms = done_ms + case.ahead_ms * (server == 0)
        yield _exported(end_ms, begins[caller], rng), client
        there_ms = _exported(done_ms, begins[4 + server], rng)
        held_up = case.held_up and server == 0 and 100_000 <= there_ms < 130_000
        yield 130_000 if held_up else there_ms, traces.span("cart", Kind.SERVER, client, end_ms=BEGINNING_MS + told_ms, version=str(server))


def _exported(end_ms: float, begins_ms: float, rng: random.Random) -> float:
    return ((end_ms - begins_ms) // _EXPORT_MS + 1) * _EXPORT_MS + begins_ms + rng.uniform(5, 250)


def unanswered(case: Case, answer_ms: int) -> tuple[float, float]:
    """The shares of calls, and of failed ones, that are counted with an unknown version."""
    chain = InMemoryChain(SpanSettings(partitions=1, answer_ms=answer_ms))
    waiting = sorted(_spans(case, random.Random(1)), key=lambda found: found[0])[::-1]
    for now_ms in range(0, _MS + 100_000, 250):
        come = []
        while waiting and waiting[-1][0] <= now_ms:
            come.append(waiting.pop()[1])
        if come:
            chain.receive([request(come)], BEGINNING_MS + now_ms)
        chain.advance(BEGINNING_MS + now_ms)
    rows = [edge for part in chain.parts for edge in part.edges if edge.callee_version == "unknown"]
    return sum(row.calls for row in rows) / _CALLS, sum(row.errors for row in rows) / _CALLS


def main() -> None:
    """Print a row of each case."""
    print(f"{'what disturbs':52} waited for: calls, failures      not waited for: calls, failures")
    for case in CASES:
        (calls, failed), (before, failed_before) = unanswered(case, SpanSettings().answer_ms), unanswered(case, 0)
        print(f"{case.name:52} {calls:22.2%} {failed:9.2%} {before:26.2%} {failed_before:9.2%}")


if __name__ == "__main__":
    main()
