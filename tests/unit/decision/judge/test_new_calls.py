"""Calls that only the candidate makes: a new feature is no harm, one whose calls fail is looked at by a person."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, begin, judge_window, observe, sort_rows
from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.model.verdicts import Verdict, VerdictStatus
from ctrlplane_stream.model.windows import EdgeWindow, ServiceWindow, WindowPart
from tests.unit.decision.judge.asking import CHANGED, asked

PAST = 30
REQUESTS = 1000
ALIKE = sketch.of(range(10_000, 20_000, 10))
ASKED = asked(0.5, CHANGED, past=PAST, entry_points=("cart",))

Calls = dict[str, tuple[int, int]]
"""Failed and all calls to ``pay`` in a window, by the version of cart that makes them."""


def window(number: int, versions: tuple[str, ...], calls: Calls, kind: EdgeKind) -> ClosedWindow:
    services = tuple(ServiceWindow("cart", v, REQUESTS, 5, REQUESTS, REQUESTS, ALIKE) for v in versions)
    edges = tuple(EdgeWindow("cart", "pay", kind, v, UNKNOWN_VERSION, made, bad, made, bad) for v, (bad, made) in calls.items())
    return ClosedWindow(number * 10, (WindowPart("prod", 0, number * 10, 0, edges, services),))


def verdicts(calls: Calls, before: Calls, kind: EdgeKind) -> Iterator[Verdict]:
    baseline = Baseline()
    for number in range(PAST):
        baseline = observe(baseline, sort_rows(window(number, ("#1",), before, kind), 0), ())
    state = begin(ASKED, baseline)
    for number in range(PAST, PAST + 20):
        state, verdict = judge_window(state, ASKED, window(number, ("#1", "#2"), calls, kind))
        yield verdict


def last(calls: Calls, before: Calls | None = None, kind: EdgeKind = EdgeKind.EXTERNAL) -> Verdict:
    return list(verdicts(calls, before or {}, kind))[-1]


@pytest.mark.parametrize("kind", [EdgeKind.EXTERNAL, EdgeKind.DATABASE, EdgeKind.CALL, EdgeKind.MESSAGE])
def test_a_candidate_whose_new_calls_fail_does_not_pass(kind: EdgeKind) -> None:
    verdict = last({"#2": (40, 40)}, kind=kind)
    assert verdict.status is VerdictStatus.INCONCLUSIVE
    assert verdict.doubtful
    assert f"cart #2 calls pay ({kind}), which #1 does not, and 800 of 800 of these calls failed" in verdict.reason
    (evidence,) = [each for each in verdict.metrics if each.guard == "pay"]
    assert evidence.candidate.value == 1.0
    assert evidence.stable.total == 0.0


def test_nor_does_one_of_which_some_fail() -> None:
    verdict = last({"#2": (4, 40)})
    assert verdict.status is VerdictStatus.INCONCLUSIVE
    assert "80 of 800 of these calls failed" in verdict.reason


def test_new_calls_that_go_well_or_fail_within_the_margin_are_a_feature() -> None:
    assert last({"#2": (0, 400)}).status is VerdictStatus.PASS
    assert last({"#2": (2, 400)}).status is VerdictStatus.PASS


def test_what_stable_calls_too_or_called_before_is_not_new() -> None:
    assert last({"#1": (40, 40), "#2": (40, 40)}).status is VerdictStatus.PASS
    assert last({"#2": (40, 40)}, before={"#1": (40, 40)}).status is VerdictStatus.PASS


def test_what_stable_had_little_occasion_to_call_is_not_new() -> None:
    """Where no past is known and stable is gone, every call is only the candidate's."""
    state = begin(replace(ASKED, weight=1.0), Baseline())
    for number in range(PAST, PAST + 20):
        state, verdict = judge_window(state, replace(ASKED, weight=1.0), window(number, ("#2",), {"#2": (40, 40)}, EdgeKind.EXTERNAL))
    assert "which #1 does not" not in verdict.reason


def test_no_step_fails_for_new_calls_alone() -> None:
    assert not any(verdict.status is VerdictStatus.FAIL for verdict in verdicts({"#2": (400, 400)}, {}, EdgeKind.DATABASE))
