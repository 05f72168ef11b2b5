"""What the judge does in C gives the very bits that its twins in Python give, also where it leaves the answer to them."""

import hashlib
import math
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ctrlplane_stream.decision import native
from ctrlplane_stream.decision.judge import calls, checks, evidence, findings, histograms, past_shares
from ctrlplane_stream.decision.judge.histograms import Histogram
from ctrlplane_stream.decision.judge.state import Bounds, CheckState, Counts
from ctrlplane_stream.decision.stats.betting import Thinned
from ctrlplane_stream.decision.stats.dispersion import Dispersion
from ctrlplane_stream.decision.stats.intervals import of_level
from ctrlplane_stream.model import sketch

compiled = pytest.mark.skipif(native.judging is None, reason="no compiled library: python scripts/compile_native.py says why")

TWINS = (
    evidence.two_arms,
    evidence.one_arm,
    evidence.two_sided,
    evidence.race,
    histograms.with_sketches,
    histograms.above,
    histograms.quantile_interval,
)


def in_c(twin: Callable[..., Any]) -> Callable[..., Any]:
    """The function of this name that was compiled."""
    function: Callable[..., Any] = getattr(native.judging, twin.__name__)
    return function


def told(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """What comes of a call, to the bit: a result, or an error."""
    try:
        return msgspec.json.encode(function(*arguments))
    except Exception as error:
        return repr(error).encode()


def counts(rng: random.Random) -> Counts:
    """Events among a total: often few or none, sometimes of estimates and so no whole numbers, seldom more events than their total."""
    total = rng.choice((0.0, 1.0, 40.0, 360.0, 5e4, rng.uniform(0, 100)))
    share = rng.choice((0.0, 0.01, 0.3, 1.0, 1.5, rng.random()))
    return Counts(float(round(total * share)) if rng.random() < 0.7 else total * share, total)


def scatter(rng: random.Random) -> Dispersion:
    found = Dispersion()
    for _ in range(rng.choice((0, 0, 5, 45))):
        found = found.after(rng.gauss(0, rng.choice((0.5, 1.0, 3.0))))
    return found


def states(function: Callable[..., Any], arguments: Callable[[random.Random], tuple[Any, ...]], seed: int) -> list[tuple[Any, ...]]:
    """The arguments of a step of windows, each with the state that the window before left."""
    rng, found = random.Random(seed), []
    state = CheckState(bounds=Bounds(0.02, 0.015, rng.choice((0.03, 0.5, 1.0))) if rng.random() < 0.9 else None)
    for _ in range(30):
        found.append((state, *arguments(rng)))
        try:
            state = function(*found[-1])
        except (ArithmeticError, ValueError):  # as shares above 1 may; what is to be compared is that both say so
            break
    return found


WINDOWS: dict[Callable[..., Any], Callable[[random.Random], tuple[Any, ...]]] = {
    evidence.two_arms: lambda rng: (
        counts(rng),
        counts(rng),
        rng.choice((0.0, 0.01, 0.25, 0.99)),
        counts(rng),
        scatter(rng),
        rng.choice((None, 0.01, 0.5)),
        rng.random() < 0.5,
        rng.choice((None, {}, {"a -call-> b": (1.0, 2.0, 3.0, 4.0)})),
        rng.choice(
            (
                None,
                Thinned(
                    *(rng.choice((1.0, 2.0, 10.0, 150.0, rng.uniform(2, 30))) for _ in range(2)), rng.choice((0.0, 0.1, 1.0, rng.random()))
                ),
            )
        ),
    ),
    evidence.one_arm: lambda rng: (counts(rng), scatter(rng), rng.random() < 0.5),
    evidence.two_sided: lambda rng: (Counts(3.0, 40.0), rng.choice((0.0, 37.0)), 0.2, 0.05, scatter(rng)),
    evidence.race: lambda rng: (
        Counts(rng.choice((0.0, 80.0)), 40.0),
        Counts(rng.choice((0.0, 720.0)), 360.0),
        1.25,
        rng.choice((1.0, 3.0)),
        scatter(rng),
    ),
}


@compiled
@pytest.mark.parametrize("twin", WINDOWS, ids=lambda twin: twin.__name__)
@pytest.mark.parametrize("seed", range(40))
def test_a_step_is_weighed_to_the_bit_as_in_python(twin: Callable[..., Any], seed: int) -> None:
    for arguments in states(twin, WINDOWS[twin], seed):
        assert told(in_c(twin), arguments) == told(twin, arguments)


def sketches(rng: random.Random) -> list[sketch.Sketch]:
    found = [
        sketch.of([rng.choice((0.0, 3e2, 2e4, 9e6)) * rng.lognormvariate(0, 0.5) for _ in range(rng.choice((0, 1, 30, 300)))])
        for _ in range(rng.randint(0, 4))
    ]
    return found if rng.random() < 0.8 else [*found, rng.choice(STRANGE)]


STRANGE = (
    sketch.Sketch((5, 3), (1, 1)),
    sketch.Sketch((1, 2, 3), (1, 1)),
    sketch.Sketch((0, 20_000), (1, 1)),
    sketch.Sketch((7,), (1 << 70,)),
    sketch.Sketch((7, 9, 8), (1, 2, 3), 1 << 60),
    sketch.Sketch((-400, -3), (2, -2)),
)
"""Buckets that do not ascend, are too many or lie far apart, and counts that no window has."""


@compiled
@pytest.mark.parametrize("seed", range(150))
def test_latencies_are_added_up_cut_and_read_as_in_python(seed: int) -> None:
    rng = random.Random(seed)
    drawn, before = sketches(rng), histograms.with_sketches(Histogram(), [s for s in sketches(rng) if s not in STRANGE])
    assert told(in_c(histograms.with_sketches), (before, drawn)) == told(histograms.with_sketches, (before, drawn))
    for bucket in (-500, 0, 7, 300, 457, 5_000, 1 << 60):
        assert told(in_c(histograms.above), (drawn, bucket)) == told(histograms.above, (drawn, bucket))
    for q in (0.0, 0.5, 0.9, 0.99, 1.0, -0.1):
        arguments = (before, q, *of_level(rng.choice((0.05, 1e-5))), rng.choice((1.0, 2.5)))
        assert told(in_c(histograms.quantile_interval), arguments) == told(histograms.quantile_interval, arguments)


UNUSUAL: dict[Callable[..., Any], list[tuple[Any, ...]]] = {
    evidence.two_arms: [
        (CheckState(), Counts(1.0, math.nan), Counts(1.0, 2.0), 0.01, Counts(), Dispersion(), None, True, None),
        (CheckState(), Counts(1.0, 2.0), Counts(math.inf, 2.0), 0.01, Counts(), Dispersion(), None, True, None),
        (CheckState(), Counts(1.0, 2.0), Counts(1.0, 2.0), "0.01", Counts(), Dispersion(), None, True, None),
        (CheckState(), Counts(1.0, 2.0), Counts(1.0, 2.0), 3.0, Counts(), Dispersion(squares=-1e9, windows=1.0), None, True, None),
        (None, Counts(1.0, 2.0), Counts(1.0, 2.0), 0.01, Counts(), Dispersion(), None, True, None),
        (),
    ],
    evidence.one_arm: [(CheckState(), Counts(1.0, 2.0), Dispersion(), True), (CheckState(), 7, None, True)],
    evidence.race: [(CheckState(), Counts(0.0, 1.0), Counts(0.0, 1.0), 1.25, 1.0, Dispersion())],
    histograms.with_sketches: [(Histogram(), (sketch.Sketch((1,), (1,)),)), (Histogram(3, ("a",)), [sketch.Sketch((1,), (1,))])],
    histograms.above: [([None], 3), ([sketch.Sketch((1,), (1,))], 2.5), ([sketch.Sketch((9,), (1 << 62,))] * 3, 3)],
    histograms.quantile_interval: [
        (Histogram(1 << 40, (5,)), 0.5, 1.0, 2.0, 1.0),
        (Histogram(0, (5, -5), 3), 0.5, 1.0, 2.0, 1.0),
        (Histogram(0, (5,)), 0.5, 1.0, 2.0, -1.0),
        (Histogram(0, (5,)), 0.5, 1.0, 2.0, 0.0),
    ],
}


@compiled
@pytest.mark.parametrize(
    ("twin", "arguments"),
    [(twin, each) for twin, cases in UNUSUAL.items() for each in cases],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_unusual_is_left_to_the_twin_with_its_errors(twin: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    assert told(in_c(twin), arguments) == told(twin, arguments)


def _use_twins(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checks, "weigh_two_arms", evidence.two_arms)
    patch.setattr(past_shares, "weigh_one_arm", evidence.one_arm)
    patch.setattr(checks, "weigh_two_sided", evidence.two_sided)
    patch.setattr(calls, "weigh_race", evidence.race)
    patch.setattr(histograms, "_with_sketches", histograms.with_sketches)
    patch.setattr(histograms, "_above", histograms.above)
    patch.setattr(findings, "quantile_bounds", histograms.quantile_interval)


@compiled
@pytest.mark.parametrize(
    "ill", [{}, {"candidate_errors": 3}, {"candidate_ms": 31.0}, {"candidate_gap_ms": 9.0}, {"candidate_calls": 4.0}, {"dead": True}]
)
def test_whole_verdicts_and_states_are_the_same_bytes_with_and_without_it(ill: dict[str, Any], shop: Any, traffic: Any) -> None:
    """Window by window, in two shops that draw the same."""
    with_it = shop.judge(traffic(**ill), windows=12)
    with pytest.MonkeyPatch.context() as patch:
        _use_twins(patch)
        without = type(shop)().judge(traffic(**ill), windows=12)
    assert msgspec.json.encode(with_it) == msgspec.json.encode(without)


def test_without_a_library_all_goes_by_the_twins_and_says_why() -> None:
    """As on a machine where there was no compiler: the extension cannot be imported."""
    program = (
        "import sys; sys.modules['ctrlplane_stream.decision.native.judging'] = None\n"
        "from ctrlplane_stream.decision import native\n"
        "from ctrlplane_stream.decision.judge import checks, evidence\n"
        "assert native.why_not_compiled()\n"
        "assert checks.weigh_two_arms is evidence.two_arms\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@compiled
def test_it_was_compiled_of_the_sources_that_are_here() -> None:
    """Else it is to be compiled again: python scripts/compile_native.py."""
    folder = Path(native.__file__).parent
    sources = sorted(path for path in folder.iterdir() if path.suffix in {".c", ".h"})
    assert native.judging is not None
    assert native.judging.source_hash == hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


@compiled
def test_nothing_that_it_makes_is_kept() -> None:
    """Hundreds of calls of each function, of usual and of unusual arguments, leave no memory behind."""
    rng = random.Random(4)
    drawn = sketches(rng) or [sketch.of([1e3, 2e3])]
    asked: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (histograms.with_sketches, (Histogram(), drawn)),
        (histograms.above, (drawn, 300)),
        (histograms.quantile_interval, (Histogram(0, (5, 5)), 0.5, 1.0, 2.0, 1.0)),
        *((twin, states(twin, draws, 3)[-1]) for twin, draws in WINDOWS.items()),
        *((twin, each) for twin, cases in UNUSUAL.items() for each in cases),
    ]

    def call(times: int) -> None:
        for _ in range(times):
            for twin, arguments in asked:
                told(in_c(twin), arguments)

    call(100)
    tracemalloc.start()
    call(50)
    before, _ = tracemalloc.get_traced_memory()
    call(400)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 20_000, f"{after - before} bytes more after 400 rounds"
