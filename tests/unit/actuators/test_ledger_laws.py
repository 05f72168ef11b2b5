"""The ledger under anything that commands, people, time and crashes can do, in any order."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ctrlplane_stream.actuators.ledger import Ledger, Refusal, break_glass, edit, expire, fallback, release, take
from ctrlplane_stream.actuators.shifting import move
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.world import Cursor
from tests.unit.actuators.making import command, wanted

shares = st.sampled_from([0, 5, 25, 50, 100])


class AnyHistory(RuleBasedStateMachine):
    """Versions #1 (stable) and #2 (candidate); readiness comes and goes as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.ready = {"#1": 1, "#2": 1}
        self.now = 1_000.0
        self.edits = 0

    def become(self, after: Ledger | Refusal) -> None:
        """Take the outcome of a rule, then let weights follow, as every world does."""
        if isinstance(after, Refusal):
            assert after.reason
            return
        before, self.ledger = self.ledger, move(after, self.ready, 1)
        self.hold_to_invariants(before)

    def hold_to_invariants(self, before: Ledger) -> None:
        for label, weight in self.ledger.weights.items():
            risen = weight > before.weights.get(label, 0)
            assert not risen or self.ready[label] or self.ledger.broken_glass, "weight rose to what is not ready"
        if before.cursor is not None:
            assert self.ledger.cursor is not None
            assert self.ledger.cursor >= before.cursor

    @rule(weight=shares, epoch=st.integers(1, 3), sequence=st.integers(1, 30), verb=st.sampled_from(Verb), knows=st.booleans())
    def commanded(self, weight, epoch, sequence, verb, knows):
        cursor = Cursor(epoch, sequence)
        given = command(sequence, wanted(lease=60.0, v1=100 - weight, v2=weight), verb, self.ledger.edited if knows else None)
        after = take(self.ledger, given, cursor, self.now)
        if isinstance(after, Ledger):
            assert self.ledger.cursor is None or cursor > self.ledger.cursor, "an old cursor was taken"
            assert self.ledger.edited is None or knows, "an edit was overridden unasked"
            unknowing = self.ledger.lease_expired or self.ledger.broken_glass
            assert not unknowing or weight == 0, "the candidate rose again behind the back of a lease or a hand"
        self.become(after)

    @rule(seconds=st.floats(0.0, 100.0))
    def time_passes(self, seconds):
        self.now += seconds
        self.become(expire(self.ledger, self.now))

    @rule(weight=shares)
    def edited(self, weight):
        self.edits += 1
        self.become(edit(self.ledger, {"#1": 100 - weight, "#2": weight}, f"edit {self.edits}"))

    @rule()
    def released(self):
        self.become(release(self.ledger, self.now))

    @rule()
    def glass_broken(self):
        after = break_glass(self.ledger, "bob")
        assert isinstance(after, Refusal) or after.weights == fallback(after)
        self.become(after)

    @rule(label=st.sampled_from(["#1", "#2"]), ready=st.integers(0, 1))
    def readiness_changes(self, label, ready):
        self.ready[label] = ready
        self.become(self.ledger)

    @rule()
    def restarted(self):
        assert msgspec.json.decode(msgspec.json.encode(self.ledger), type=Ledger) == self.ledger

    @invariant()
    def weights_are_whole(self):
        assert sum(self.ledger.weights.values()) in (0, 100)
        assert sum(self.ledger.goal.values()) in (0, 100)

    @invariant()
    def nobody_unwatched_stays_on_a_partial_weight(self):
        """What is to be partial is on a lease or in a person's hand."""
        partial = any(0 < weight < 100 for weight in self.ledger.goal.values())
        assert not partial or self.ledger.lease_until is not None or self.ledger.edited is not None


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
