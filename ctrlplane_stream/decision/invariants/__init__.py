"""The promises of the rollout machine as executable checks, made after every fact by somebody who does not trust it.

The monitor keeps its own books from facts and commands alone and compares: it shares no rule with the code that it checks.
It runs in the driver for tests and users, in the simulation, and can run beside a worker. Numbers are those of
``docs/architecture.md``.
"""

from ctrlplane_stream.decision.engine import Decision, Moment
from ctrlplane_stream.decision.invariants.begins import advice_is_no_command, nothing_unwanted_begins, what_comes_has_come
from ctrlplane_stream.decision.invariants.books import (
    Books,
    Check,
    Violation,
    note_bakes,
    note_commands,
    note_event,
    note_fact,
    note_numbers,
    note_override,
    note_runs,
    note_ways,
)
from ctrlplane_stream.decision.invariants.capacity import (
    aborts_only_fall,
    adoption_moves_nothing,
    drained_before_parked,
    stable_keeps_its_capacity,
    weights_are_whole,
)
from ctrlplane_stream.decision.invariants.ends import (
    ends_are_consistent,
    failure_reverts,
    harm_stops,
    no_other_artifact_in_silence,
    nothing_waits_at_rest,
    what_baked_goes_onward,
    what_dies_goes_back,
    what_gives_way_moves_on,
)
from ctrlplane_stream.decision.invariants.hands import hands_are_left, nobody_waits_in_a_circle, whoever_waits_is_held
from ctrlplane_stream.decision.invariants.order import (
    commands_are_unique,
    each_record_once,
    nothing_sleeps,
    once_for_ever,
    one_mover_per_target,
    partial_weights_are_leased,
    told_by_one,
)
from ctrlplane_stream.decision.invariants.people import drift_is_left, never_refused, pauses_pause, reverts_go_first
from ctrlplane_stream.decision.invariants.proof import (
    forward_on_proof,
    judged_where_it_was,
    reverts_to_what_baked,
    rules_are_those_of_all,
    watches_what_is_there,
)
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.facts import ArtifactPushed, Fact, OverrideRequested

__all__ = ["CHECKS", "Books", "Check", "Monitor", "Violation"]

CHECKS: tuple[Check, ...] = (
    weights_are_whole,
    stable_keeps_its_capacity,
    adoption_moves_nothing,
    aborts_only_fall,
    drained_before_parked,
    forward_on_proof,
    watches_what_is_there,
    judged_where_it_was,
    reverts_to_what_baked,
    rules_are_those_of_all,
    pauses_pause,
    reverts_go_first,
    drift_is_left,
    hands_are_left,
    failure_reverts,
    harm_stops,
    what_dies_goes_back,
    ends_are_consistent,
    no_other_artifact_in_silence,
    what_baked_goes_onward,
    what_gives_way_moves_on,
    nothing_waits_at_rest,
    never_refused,
    what_comes_has_come,
    nothing_unwanted_begins,
    commands_are_unique,
    each_record_once,
    once_for_ever,
    one_mover_per_target,
    told_by_one,
    advice_is_no_command,
    nothing_sleeps,
    partial_weights_are_leased,
    whoever_waits_is_held,
    nobody_waits_in_a_circle,
)
"""All of them, in the order of their numbers."""


class Monitor:
    """Checks one environment, fact by fact, from its first."""

    def __init__(self) -> None:
        self.books = Books()

    def after(self, before: State, fact: Fact, moment: Moment, decision: Decision) -> list[Violation]:
        """What the decision of this fact broke; empty where all promises hold."""
        note_fact(self.books, fact, moment)
        found = [violation for check in CHECKS for violation in check(self.books, fact, before, decision)]
        note_commands(self.books, decision)
        if isinstance(fact, OverrideRequested):
            note_override(self.books, fact)
        if isinstance(fact, ArtifactPushed):
            note_event(self.books, fact, before)
        note_numbers(self.books, decision)
        note_runs(self.books, decision)
        note_bakes(self.books, before, decision.state)
        note_ways(self.books, before, decision.state)
        return found
