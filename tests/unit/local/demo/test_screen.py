"""The live picture fits the terminal, and a log says a thing once."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from ctrlplane_stream.decision.entities import Passage, Rollout, Unit
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.demo.audience import Seen
from ctrlplane_stream.local.demo.screen import Screen
from ctrlplane_stream.model.decisions import Decided, Disposition, Reason
from ctrlplane_stream.model.facts import EdgeSeen
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.policy import Step

_ROLLOUT = "demo/shop-cart/12"


def _rollout(number: int, phase: Phase) -> Rollout:
    unit = Unit("shop/cart", f"#{number}", "#1", 0)
    steps = (Step(5), Step(100))
    weights = {"shop/cart": {f"#{number}": 5, "#1": 95}}
    return Rollout(
        f"demo/shop-cart/{number}", "demo", phase, (unit,), steps, 0, "release", number, 0, 0, weights=weights,
        timeline=(Passage(phase, 0, 0, number),), stopped_because="a long reason " * 30 if phase is Phase.REVERTED else None,
    )  # fmt: skip


def _seen(offset: int, *reasons: Reason) -> Seen:
    return Seen(0, offset, Decided("demo", 0, offset, offset, "b", offset, Disposition.APPLIED, (), reasons, {}))


def _audience(decisions: list[Seen]) -> Any:
    """What the screen asks an audience."""
    rollouts = [_rollout(number, Phase.REVERTED) for number in range(2, 12)] + [_rollout(12, Phase.VERIFYING)]
    edges = [EdgeSeen(EdgeKey(f"shop/s{i}", f"shop/s{i + 1}", EdgeKind.CALL), 0, 0, 10, 1.5) for i in range(9)]
    by_id = {r.id: r for r in rollouts}
    return SimpleNamespace(decisions=decisions, rollouts=lambda: rollouts, rollout=by_id.get, edges=lambda: edges)


@pytest.mark.parametrize(("width", "height", "graph"), [(80, 24, False), (100, 50, True), (200, 60, True)])
def test_the_picture_fits_the_terminal(width: int, height: int, graph: bool) -> None:
    """No line is wrapped; on a small terminal the graph gives way, never the decisions nor the rollout under way."""
    decisions = [_seen(i, Reason("moved", f"{i} a sentence that is longer than most terminals are wide " * 4, "r")) for i in range(40)]
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=False)
    screen = Screen(console, _audience(decisions))
    screen.title("an act: a promise " * 20)
    before = len(out.getvalue())
    console.print(screen._picture())
    lines = out.getvalue()[before:].splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert any("demo/shop-cart/12" in line for line in lines), "what is under way is shown"
    assert any("[0/39]" in line for line in lines), "the latest decision is shown"
    assert any("graph" in line for line in lines) is graph


def test_a_verdict_is_a_line_of_its_own_only_where_it_differs_from_the_last() -> None:
    """One comes every second; anything else that names a rollout is always news, and what names none never is."""
    told = [
        ("verdict:INCONCLUSIVE", "one", "r1"),
        ("verdict:INCONCLUSIVE", "two", "r1"),
        ("verdict:INCONCLUSIVE", "three", "r2"),
        ("moved", "four", "r1"),
        ("verdict:FAIL", "five", "r1"),
        ("verdict:INCONCLUSIVE", "six", "r1"),
        ("moved", "seven", None),
        ("time-passed", "eight", "r1"),
    ]
    decisions = [_seen(i, Reason(code, text, rollout)) for i, (code, text, rollout) in enumerate(told)]
    screen = Screen(Console(file=io.StringIO()), _audience(decisions))
    assert [line.split("] ")[1] for line in screen._new_lines()] == ["one", "three", "four", "five", "six"]


def test_a_verdict_names_its_service_and_calls_the_bake_by_its_name() -> None:
    """The judge counts the bake as the step after the last, which nobody else does."""
    told = [("verdict:INCONCLUSIVE", "judge, step 3: No window has begun."), ("verdict:PASS", "judge, step 2: shop/cart passed.")]
    screen = Screen(Console(file=io.StringIO()), _audience([_seen(i, Reason(code, text, _ROLLOUT)) for i, (code, text) in enumerate(told)]))
    lines = [line.split("] ")[1] for line in screen._new_lines()]
    assert lines == ["shop/cart: judge, bake: No window has begun.", "judge, step 2: shop/cart passed."]


def test_what_is_said_alike_of_many_services_is_said_once_and_counted() -> None:
    """A FAIL never is; and with the next act everything may be said again."""
    told = [("INCONCLUSIVE", f"The errors of shop/s{i} cannot be proven: it needs about {i}00 requests.", f"r{i}") for i in range(5)]
    told += [("FAIL", "shop/a has failed", "r1"), ("FAIL", "shop/b has failed", "r2")]
    out = io.StringIO()
    screen = Screen(Console(file=out, width=200), _audience([_seen(i, Reason(f"verdict:{c}", t, r)) for i, (c, t, r) in enumerate(told)]))
    screen.title("next")
    lines = out.getvalue().splitlines()
    assert [line.split("] ")[1] for line in lines[:3]] == [told[0][1], "shop/a has failed", "shop/b has failed"]
    assert lines[3:] == ["  … and 4 verdicts more that say the same with other names and numbers", "== next"]
