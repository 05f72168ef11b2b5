"""What goes wrong with telemetry, judges and the log of a system that is played."""

from ctrlplane_stream.model.facts import (
    BuildChanged,
    EdgeSeen,
    EdgesFaded,
    EdgesObserved,
    VerdictGiven,
)
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.verdicts import OUR_JUDGE, Verdict, VerdictStatus
from ctrlplane_stream.simulation.deeds.stage import Doing, Stage
from ctrlplane_stream.simulation.plans import Act, Deed


def _unsure(stage: Stage, act: Act) -> None:
    """For want of traffic, or for doubt."""
    judge = stage.loop.judge
    (judge.doubted if act.number % 2 else judge.unsure).add(act.service)


def _slander(stage: Stage, act: Act) -> None:
    stage.loop.judge.slandered.add(act.service)


def _cut(stage: Stage, act: Act) -> None:
    stage.loop.judge.telemetry.cut = True


def _late(stage: Stage, act: Act) -> None:
    stage.loop.judge.telemetry.late = True


def _gag(stage: Stage, act: Act) -> None:
    stage.loop.judge.outside_silent = True


def _flow(stage: Stage, act: Act) -> None:
    judge = stage.loop.judge
    judge.telemetry.cut = judge.telemetry.late = judge.outside_silent = False


def _learn(stage: Stage, act: Act) -> None:
    if act.service != act.other:
        edge = EdgeSeen(EdgeKey(act.service, act.other, EdgeKind.CALL), 0, 20, 5, 0.1)
        stage.loop.give(EdgesObserved(20, (edge,)))


def _fade(stage: Stage, act: Act) -> None:
    edges = tuple(EdgeKey(*edge) for edge in stage.plan.edges)
    if edges:
        stage.loop.give(EdgesFaded(20, (edges[act.number % len(edges)],)))


def _silence(stage: Stage, act: Act) -> None:
    stage.loop.judge.silent.add(act.service)


def _stray(stage: Stage, act: Act) -> None:
    """A verdict from an earlier attempt, or from a judge that nobody asked."""
    for rollout in stage.loop.driver.rollouts:
        stray = Verdict(
            judge="nobody asked" if act.flag else OUR_JUDGE,
            environment=rollout.environment,
            rollout=rollout.id,
            step=act.number % 3,
            attempt=rollout.judged_attempt if act.flag else max(0, rollout.judged_attempt - 1),
            status=VerdictStatus.FAIL if act.number % 2 else VerdictStatus.PASS,
            reason="not to be heard",
            windows_judged=9,
        )
        stage.loop.give(VerdictGiven(stray))


def _down(stage: Stage, act: Act) -> None:
    stage.loop.engine_down = True

    def up() -> None:
        stage.loop.driver.restart()
        stage.loop.engine_up()

    stage.loop.at(act.number, up)


def _restart(stage: Stage, act: Act) -> None:
    stage.loop.driver.restart()
    stage.loop.give(BuildChanged(f"build-{act.number}", "build-0"))


def _jump(stage: Stage, act: Act) -> None:
    """The broker's clock is wrong from here on, ahead or behind."""
    stage.loop.skew_ms = act.number * (-1_000 if act.flag else 1_000)


TELEMETRY: dict[Deed, Doing] = {
    Deed.CUT: _cut,
    Deed.LATE: _late,
    Deed.FLOW: _flow,
    Deed.DOWN: _down,
    Deed.RESTART: _restart,
    Deed.LEARN: _learn,
    Deed.SILENCE: _silence,
    Deed.STRAY: _stray,
    Deed.UNSURE: _unsure,
    Deed.JUMP: _jump,
    Deed.FADE: _fade,
    Deed.GAG: _gag,
    Deed.SLANDER: _slander,
}
