"""What is planned is what a push then does, whatever is under way: in whole systems drawn from seeds, with groups and neighbours."""

from collections import Counter

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision, Moment, decide
from ctrlplane_stream.decision.phases import ENDED, Phase
from ctrlplane_stream.decision.planning import Plan, plan, plan_push
from ctrlplane_stream.model.facts import ArtifactPushed, Fact, Origin, TimePassed
from ctrlplane_stream.simulation.drawing import plan as drawn_from
from ctrlplane_stream.simulation.loop import artifact
from ctrlplane_stream.simulation.plans import Plan as System
from ctrlplane_stream.simulation.play import Play
from ctrlplane_stream.testing import Driver

SEEDS = range(122_500, 122_580)
_COLLECTS = "services so far"


class _Foreseeing(Driver):
    """Plans every push right before it is decided, and what a group begins with as it collects; compares that with what comes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.met: Counter[str] = Counter()
        self._collecting: dict[str, tuple[Plan, list[object]]] = {}

    def pipe(self, fact: Fact, *, origin: Origin | None = None, at_ms: int | None = None) -> Decision:
        """Decide it, and look."""
        planned = None
        if isinstance(fact, ArtifactPushed) and fact.release is None:
            super().pipe(TimePassed(), at_ms=at_ms)
            planned = plan_push(self.state, (fact.artifact,), fact.order)
            self._as_a_release(fact)
        before, moving = {r.id: r for r in self.rollouts}, self._moving() if self._collecting else []
        collected = self._collected()
        decision = super().pipe(fact, origin=origin, at_ms=at_ms)
        if planned is not None and not {"repeated", "repeated-event"} & {reason.code for reason in decision.reasons}:
            self._compare(planned, before, fact.artifact.service)  # type: ignore[union-attr]
        for name in collected - self._collected():
            foreseen, then = self._collecting.pop(name, (None, []))
            if foreseen is not None and then == moving and foreseen.rollout is not None and isinstance(fact, TimePassed):
                self.met["begun without the rest"] += 1
                self._is_as_planned(foreseen, before)
        return decision

    def _as_a_release(self, push: ArtifactPushed) -> None:
        """With an artifact of another service that is as new."""
        catalog = self.state.find("catalog", e.CatalogEntry)
        other = next((name for name in catalog.services if name != push.artifact.service), None) if catalog is not None else None
        if other is None or catalog is None or push.artifact.service not in catalog.services:
            return
        both = (push.artifact, artifact(other, 900 + self.offset))
        planned, state = plan(self.state, both), self.state
        for number, each in enumerate(both):
            fact = ArtifactPushed(f"both-{number}", each, "both", release_size=2)
            state = decide(state, fact, Moment(self.offset + number, self.now_ms, None)).state
        rollout = state.find(f"rollout/{planned.rollout}", e.Rollout)
        began = {r.id for id_ in (state.find("index", e.Index) or e.Index()).rollouts if (r := state.find(f"rollout/{id_}", e.Rollout))}
        assert planned.rollout is not None or not [id_ for id_ in began if self.rollout(id_) is None]
        if rollout is not None:
            self.met["as a release"] += 1
            moved = [(unit.service, unit.candidate) for unit in planned.version_set.changed]  # type: ignore[union-attr]
            assert moved == [(unit.service, unit.candidate) for unit in rollout.units]
            assert (rollout.phase is Phase.QUEUED) == (planned.waits_for is not None)

    def _moving(self) -> list[object]:
        """All that may change what a group begins with: what people said, the graph, and how far everybody is."""
        said = [found for found in self.state.entries() if found[0].startswith(("service/", "freeze/", "edge/"))]
        return [*said, *((r.id, r.phase, r.attempt, r.units) for r in self.rollouts)]

    def _collected(self) -> set[str]:
        return set((self.state.find("index", e.Index) or e.Index()).releases)

    def _compare(self, planned: Plan, before: dict[str, e.Rollout], service: str) -> None:
        mine = [name for name in self._collected() if service in self._entry(name).members and self._entry(name).group]
        if mine and planned.rollout is not None and _COLLECTS in (planned.waits_for or ""):
            self.met["collects"] += 1
            self._collecting[mine[0]] = planned, self._moving()
            return
        assert _COLLECTS not in (planned.waits_for or ""), planned
        began = [r for r in self.rollouts if r.id not in before or before[r.id].attempt != r.attempt]
        ours = [r for r in began if r.phase not in ENDED and r.cause == "release" and any(u.service == service for u in r.units)]
        assert (planned.rollout is not None) == bool(ours), (planned.rollout, planned.refused, ours)
        if planned.rollout is None:
            self.met["nothing"] += 1
            assert planned.refused
            return
        self._is_as_planned(planned, before)

    def _is_as_planned(self, planned: Plan, before: dict[str, e.Rollout]) -> None:
        rollout = self.rollout(planned.rollout or "")
        assert rollout is not None
        assert before.get(rollout.id) != rollout
        assert planned.version_set == self.version_set(rollout.id)
        collected, _, then = (planned.waits_for or "").partition(" s; then ")
        waits = then if _COLLECTS in collected else planned.waits_for
        assert (rollout.phase is Phase.QUEUED) == bool(waits), (planned.waits_for, rollout.phase, rollout.waiting_for)
        self.met["waits" if waits else "begins"] += 1

    def _entry(self, name: str) -> e.ReleaseEntry:
        entry = self.state.find(f"release/{name}", e.ReleaseEntry)
        assert entry is not None
        return entry


def _grouped(drawn: System) -> System:
    """The same, and three of its services move together."""
    group = [service.service for service in drawn.services][:3]
    services = tuple(replace(s, moves_together="g" if s.service in group else s.moves_together) for s in drawn.services)
    return replace(drawn, services=services)


def test_what_is_planned_is_what_a_push_then_does() -> None:
    """The same set under the same id, at once or queued, and nothing where nothing comes of it."""
    met: Counter[str] = Counter()
    for seed in SEEDS:
        play = Play(_grouped(drawn_from(seed)) if seed % 2 else drawn_from(seed))
        play.loop.driver = driver = _Foreseeing()
        outcome = play.run()
        assert not outcome.broken, (seed, outcome.broken)
        met += driver.met
    assert {"begins", "waits", "nothing", "collects", "begun without the rest", "as a release"} <= met.keys(), met
