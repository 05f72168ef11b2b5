"""The loop of one target, on virtual time: one outcome a command, aborts first, nothing lost, nothing told twice."""

import asyncio
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlplane_stream.actuators.dry_run import DryRun
from ctrlplane_stream.actuators.port import Outcome, WorldUnreachable
from ctrlplane_stream.actuators.reconcile import Pace, Reconciler
from ctrlplane_stream.actuators.wanted import is_abort
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeReported, OutcomeStatus, WorldCause, WorldChanged
from ctrlplane_stream.model.world import Cursor
from tests.unit.actuators.making import TARGET, command, wanted
from tests.unit.actuators.virtual_time import run

APPLIED, REFUSED, FAILED, SUPERSEDED = OutcomeStatus
STABLE = wanted(v1=100, v2=0)


def share(weight: int):
    return wanted(lease=3_600.0, v1=100 - weight, v2=weight)


class Slow(DryRun):
    """A dry run whose applies take a while, and which remembers what was asked of it and when."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(clock=lambda: asyncio.get_running_loop().time())
        self.seconds = seconds
        self.begun: list[str] = []
        self.looks: list[float] = []

    async def apply(self, given, cursor):
        self.begun.append(given.id)
        await asyncio.sleep(self.seconds)
        return await super().apply(given, cursor)

    async def observe(self, target):
        self.looks.append(asyncio.get_running_loop().time())
        return await super().observe(target)


class Stage:
    """A reconciler at work and the facts that it reported."""

    def __init__(self, world: DryRun, **pace) -> None:
        self.world = world
        self.facts: list[OutcomeReported | WorldChanged] = []
        self.reconciler = Reconciler(TARGET, world, self._report, pace=Pace(**pace))
        self.refuse_reports = 0

    async def _report(self, fact) -> None:
        if self.refuse_reports:
            self.refuse_reports -= 1
            raise ConnectionError("no broker")
        self.facts.append(fact)

    async def __aenter__(self):
        self._task = asyncio.create_task(self.reconciler.run())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.wait({self._task})

    def submit(self, sequence, want, verb=Verb.SHIFT, epoch=1):
        self.reconciler.submit(command(sequence, want, verb), Cursor(epoch, sequence))

    @property
    def outcomes(self):
        return [(fact.command_id, fact.status) for fact in self.facts if isinstance(fact, OutcomeReported)]

    @property
    def causes(self):
        return [fact.cause for fact in self.facts if isinstance(fact, WorldChanged)]


def test_a_command_is_applied_reported_once_and_the_target_looked_at():
    async def play():
        async with Stage(Slow()) as stage:
            stage.submit(1, STABLE)
            await asyncio.sleep(60)
            assert stage.outcomes == [("c1", APPLIED)]
            assert stage.causes == [WorldCause.READINESS]

    run(play())


def test_nothing_is_asked_of_a_target_before_its_first_command():
    async def play():
        async with Stage(Slow()) as stage:
            await asyncio.sleep(60)
            assert stage.world.looks == []

    run(play())


def test_a_target_in_motion_is_watched_closely_and_one_at_rest_seldom():
    async def play():
        async with Stage(Slow()) as stage:
            stage.submit(1, share(25))
            await asyncio.sleep(20)
            moving = len(stage.world.looks)
            stage.submit(2, STABLE)
            await asyncio.sleep(60)
            assert moving >= 38
            assert len(stage.world.looks) - moving <= 8

    run(play())


def test_commands_overtaken_while_waiting_are_superseded():
    async def play():
        async with Stage(Slow(2.0)) as stage:
            for sequence, weight in ((1, 5), (2, 25), (3, 50)):
                stage.submit(sequence, share(weight))
                await asyncio.sleep(0.1)
            await asyncio.sleep(20)
            assert sorted(stage.outcomes) == [("c1", APPLIED), ("c2", SUPERSEDED), ("c3", APPLIED)]
            assert stage.world.begun == ["c1", "c3"]

    run(play())


class Silent(Slow):
    """Takes what is not an abort and never answers, and refuses the abort."""

    async def apply(self, given, cursor):
        if is_abort(given) and self.begun:
            return Outcome(REFUSED, "forbidden")
        outcome = await super().apply(given, cursor)
        await asyncio.sleep(3_600 if cursor.sequence > 1 else 0)
        return outcome


def test_what_an_abort_overtook_is_no_drift_where_the_target_had_taken_it_and_the_abort_is_refused():
    async def play():
        async with Stage(Silent(), call_seconds=7_200) as stage:
            stage.submit(1, STABLE)
            await asyncio.sleep(1)
            stage.submit(2, share(25))
            await asyncio.sleep(1)
            stage.submit(3, STABLE)
            await asyncio.sleep(30)
            assert stage.outcomes == [("c1", APPLIED), ("c2", SUPERSEDED), ("c3", REFUSED)]
            assert stage.causes == [WorldCause.READINESS, WorldCause.READINESS]

    run(play())


def test_an_abort_preempts_an_apply_in_flight():
    async def play():
        async with Stage(Slow(5.0)) as stage:
            stage.submit(1, share(25))
            await asyncio.sleep(1)
            stage.world.seconds = 0.0
            stage.submit(2, STABLE)
            await asyncio.sleep(0.1)
            assert stage.outcomes == [("c1", SUPERSEDED), ("c2", APPLIED)]

    run(play())


def test_a_step_forward_does_not_preempt():
    async def play():
        async with Stage(Slow(5.0)) as stage:
            stage.submit(1, share(25))
            await asyncio.sleep(1)
            stage.submit(2, share(50))
            await asyncio.sleep(30)
            assert stage.outcomes == [("c1", APPLIED), ("c2", APPLIED)]

    run(play())


def test_an_abort_does_not_wait_for_a_look_that_hangs():
    class Hanging(Slow):
        async def observe(self, target):
            await asyncio.sleep(3600)

    async def play():
        async with Stage(Hanging()) as stage:
            stage.submit(1, share(25))
            await asyncio.sleep(3)
            stage.submit(2, STABLE)
            await asyncio.sleep(0.01)
            assert stage.outcomes[-1] == ("c2", APPLIED)

    run(play())


def test_an_unreachable_world_is_tried_again():
    async def play():
        async with Stage(Slow()) as stage:
            stage.world.unreachable(3)
            stage.submit(1, share(25))
            await asyncio.sleep(60)
            assert stage.world.begun.count("c1") == 4
            assert stage.outcomes == [("c1", APPLIED)]

    run(play())


def test_a_step_forward_is_given_up_at_last_and_says_so():
    async def play():
        async with Stage(Slow(), tries=4) as stage:
            stage.world.unreachable(10_000)
            stage.submit(1, share(25))
            await asyncio.sleep(600)
            assert stage.outcomes == [("c1", FAILED)]
            assert "given up after 4 tries" in stage.facts[0].reason

    run(play())


def test_an_abort_is_never_given_up():
    async def play():
        async with Stage(Slow(), tries=4) as stage:
            stage.world.unreachable(50)
            stage.submit(1, STABLE)
            await asyncio.sleep(3600)
            assert stage.outcomes == [("c1", APPLIED)]

    run(play())


def test_an_abort_does_not_wait_for_the_backoff_of_what_it_overtakes():
    async def play():
        async with Stage(Slow(), backoff_seconds=100.0, longest_backoff_seconds=1000.0) as stage:
            stage.world.unreachable(1)
            stage.submit(1, share(25))
            await asyncio.sleep(0.001)
            stage.submit(2, STABLE)
            await asyncio.sleep(0.01)
            assert stage.outcomes == [("c1", SUPERSEDED), ("c2", APPLIED)]

    run(play())


def test_an_apply_that_hangs_is_tried_again():
    class HangsOnce(Slow):
        async def apply(self, given, cursor):
            self.seconds = 0.0 if self.begun else 3600.0
            return await super().apply(given, cursor)

    async def play():
        async with Stage(HangsOnce(), call_seconds=5.0) as stage:
            stage.submit(1, share(25))
            await asyncio.sleep(60)
            assert stage.outcomes == [("c1", APPLIED)]

    run(play())


def test_a_refusal_is_reported_and_not_repeated():
    async def play():
        async with Stage(Slow()) as stage:
            stage.submit(1, wanted(v1=60, v2=25))
            await asyncio.sleep(60)
            assert stage.outcomes == [("c1", REFUSED)]
            assert stage.world.begun == ["c1"]

    run(play())


def test_a_fault_of_the_actuator_is_a_failed_command_and_not_the_end_of_the_loop():
    class Faulty(Slow):
        async def apply(self, given, cursor):
            if given.id == "c1":
                raise ZeroDivisionError("oh")
            return await super().apply(given, cursor)

    async def play():
        async with Stage(Faulty()) as stage:
            stage.submit(1, share(25))
            await asyncio.sleep(1)
            stage.submit(2, share(50))
            await asyncio.sleep(1)
            assert stage.outcomes == [("c1", FAILED), ("c2", APPLIED)]

    run(play())


def test_a_fault_of_the_actuator_where_it_looks_is_logged_and_not_the_end_of_the_loop(caplog):
    """Nor of the other targets' loops, which live and die with this one."""

    class Faulty(Slow):
        async def observe(self, target):
            if len(self.looks) < 3:
                self.looks.append(0.0)
                raise KeyError("spec")
            return await super().observe(target)

    async def play():
        async with Stage(Faulty()) as stage:
            stage.submit(1, STABLE)
            await asyncio.sleep(60)
            stage.submit(2, STABLE)
            await asyncio.sleep(60)
            assert stage.outcomes == [("c1", APPLIED), ("c2", APPLIED)]

    run(play())
    assert caplog.text.count("the actuator dry-run has a fault") == 3


def test_a_command_handed_over_again_after_a_restart_is_applied_without_effect():
    async def play():
        world = Slow()
        async with Stage(world) as stage:
            stage.submit(1, share(25))
            await asyncio.sleep(1)
        async with Stage(world) as stage:
            stage.submit(1, share(25))
            stage.submit(1, share(25))
            await asyncio.sleep(1)
            assert stage.outcomes == [("c1", APPLIED)]
            assert stage.causes == [WorldCause.READINESS], "what happened meanwhile must be told"

    run(play())


def test_a_lease_that_ran_out_while_nobody_looked_is_told_at_the_restart():
    async def play():
        world = Slow()
        async with Stage(world) as stage:
            stage.submit(1, wanted(lease=30.0, v1=75, v2=25))
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        async with Stage(world) as stage:
            stage.submit(1, wanted(lease=30.0, v1=75, v2=25))
            await asyncio.sleep(1)
            assert stage.causes == [WorldCause.LEASE_EXPIRED]

    run(play())


def test_what_people_do_is_told_once_each():
    async def play():
        async with Stage(Slow()) as stage:
            stage.submit(1, share(25))
            await asyncio.sleep(5)
            await stage.world.edit(TARGET, {"#1": 10, "#2": 90}, "alice", "why not")
            await asyncio.sleep(5)
            await stage.world.break_glass(TARGET, "bob", "enough")
            await asyncio.sleep(5)
            assert stage.causes == [WorldCause.READINESS, WorldCause.HAND_EDIT, WorldCause.BREAK_GLASS]

    run(play())


def test_a_crash_and_its_end_are_told():
    async def play():
        async with Stage(Slow()) as stage:
            stage.submit(1, share(25))
            await asyncio.sleep(5)
            stage.world.fail(TARGET, "#2", "crash loop: exit 1 three times")
            await asyncio.sleep(5)
            assert stage.facts[-1].observed.version("#2").failure == "crash loop: exit 1 three times"
            stage.world.ready(TARGET, "#2")
            await asyncio.sleep(5)
            assert stage.causes == [WorldCause.READINESS] * 3

    run(play())


def test_facts_wait_for_the_shell_in_their_order():
    async def play():
        async with Stage(Slow()) as stage:
            stage.refuse_reports = 6
            stage.submit(1, share(25))
            await asyncio.sleep(1)
            stage.submit(2, share(50))
            await asyncio.sleep(120)
            assert stage.outcomes == [("c1", APPLIED), ("c2", APPLIED)]
            assert isinstance(stage.facts[0], OutcomeReported)

    run(play())


def test_reports_that_fail_hold_up_no_abort():
    async def play():
        async with Stage(Slow()) as stage:
            stage.refuse_reports = 10_000
            stage.submit(1, share(25))
            await asyncio.sleep(100)
            stage.submit(2, STABLE)
            await asyncio.sleep(0.01)
            assert stage.world.begun[-1] == "c2"

    run(play())


def test_an_older_command_that_comes_late_is_superseded():
    async def play():
        async with Stage(Slow()) as stage:
            stage.submit(5, STABLE)
            await asyncio.sleep(1)
            stage.submit(4, share(25))
            await asyncio.sleep(1)
            assert stage.outcomes == [("c5", APPLIED), ("c4", SUPERSEDED)]

    run(play())


moments = st.floats(0.0, 3.0)
weights = st.integers(0, 100)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 12), weights, moments), min_size=1, max_size=12),
    st.lists(st.tuples(moments, st.integers(0, 12)), max_size=3),
    st.floats(0.0, 3.0),
)
def test_every_command_has_its_outcome_and_the_last_one_rules(commands, outages, seconds):
    """Whatever is submitted when, repeated, late or out of order, through outages: every command has its outcome, the one with
    the greatest cursor has exactly one, APPLIED, and the target ends where that one wants it."""
    by_sequence = {sequence: weight for sequence, weight, _ in reversed(commands)}

    async def trouble(world):
        for after, times in outages:
            await asyncio.sleep(after)
            world.unreachable(times)

    async def play():
        world = Slow(seconds)
        async with Stage(world, tries=1000, longest_backoff_seconds=1.0, moving_seconds=5.0) as stage:
            troubling = asyncio.create_task(trouble(world))
            for sequence, _, pause in commands:
                stage.submit(sequence, share(by_sequence[sequence]))
                await asyncio.sleep(pause)
            await troubling
            await asyncio.sleep(120)
            last = max(by_sequence)
            per_command = Counter(command_id for command_id, _ in stage.outcomes)
            submitted = {f"c{sequence}" for sequence in by_sequence}
            assert set(per_command) == submitted
            assert (f"c{last}", APPLIED) in stage.outcomes
            seen = await world.observe(TARGET)
            assert seen.version("#2").weight == by_sequence[last]
            assert per_command[f"c{last}"] == 1

    run(play())


def test_a_deadlock_would_be_noticed():
    async def play():
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="deadlock"):
        run(play())


def test_outcomes_carry_what_was_seen():
    async def play():
        async with Stage(Slow()) as stage:
            stage.submit(1, share(25))
            await asyncio.sleep(0.1)
            fact = stage.facts[0]
            assert isinstance(fact, OutcomeReported)
            assert fact.cursor == Cursor(1, 1)
            assert fact.observed is not None
            assert msgspec.json.decode(msgspec.json.encode(fact), type=OutcomeReported) == fact

    run(play())


def test_an_outcome_without_an_observation_is_fine():
    class Blind(Slow):
        async def apply(self, given, cursor):
            return Outcome(REFUSED, "I cannot see")

        async def observe(self, target):
            raise WorldUnreachable("nor now")

    async def play():
        async with Stage(Blind()) as stage:
            stage.submit(1, share(25))
            await asyncio.sleep(10)
            assert stage.facts == [OutcomeReported("c1", TARGET, Cursor(1, 1), REFUSED, "I cannot see")]

    run(play())


def test_while_the_shell_is_away_only_the_newest_observation_is_kept():
    """Facts are states: a target that flaps for an hour without a broker does not pile them up."""

    async def play():
        async with Stage(Slow()) as stage:
            stage.refuse_reports = 10_000
            stage.submit(1, share(25))
            for _ in range(50):
                stage.world.fail(TARGET, "#2", "crash loop")
                await asyncio.sleep(2)
                stage.world.ready(TARGET, "#2")
                await asyncio.sleep(2)
            stage.refuse_reports = 0
            await asyncio.sleep(60)
            assert len(stage.facts) <= 3
            assert stage.facts[-1].observed.version("#2").ready == 1

    run(play())
