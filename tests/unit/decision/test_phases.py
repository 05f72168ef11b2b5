"""The table of phases is whole, and what is not in it is refused without a change."""

from ctrlplane_stream.decision.couplings import COUPLINGS, Relation, Standing
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.entities import Clock
from ctrlplane_stream.decision.phases import ADOPTION, ENDED, MOVING, TRANSITIONS, Event, Phase, after
from ctrlplane_stream.decision.rollout import GATE_RULES, RULES
from ctrlplane_stream.decision.transitions import EFFECTS, move
from ctrlplane_stream.simulation.loop import Loop, catalog, service


def test_every_phase_has_a_row_and_a_rule_and_every_event_an_effect() -> None:
    assert set(TRANSITIONS) == set(Phase) == set(RULES) | set(GATE_RULES)
    assert not set(RULES) & set(GATE_RULES)
    assert set(EFFECTS) == set(Event)


def test_a_stop_is_an_event_of_every_phase_that_we_move_but_aborting() -> None:
    stoppable = {phase for phase in Phase if after(phase, Event.STOP) is Phase.ABORTING}
    assert stoppable == set(Phase) - set(ENDED) - {Phase.ABORTING, Phase.ADVISING, *ADOPTION}


def test_what_another_tool_moves_leads_to_no_phase_in_which_we_would_move_it() -> None:
    assert set(TRANSITIONS[Phase.ADVISING].values()) == {Phase.ADVISING, *ENDED}


def test_nothing_leads_from_aborting_back_to_weight() -> None:
    reached, frontier = {Phase.ABORTING}, [Phase.ABORTING]
    for phase in frontier:
        for found in TRANSITIONS[phase].values():
            if found not in reached:
                reached.add(found)
                frontier.append(found)
    assert not reached & {Phase.PREPARING, Phase.SHIFTING, Phase.VERIFYING, Phase.BAKING}


def test_every_moving_phase_leads_to_an_end() -> None:
    for start in MOVING:
        reached, frontier = {start}, [start]
        for phase in frontier:
            fresh = [found for found in TRANSITIONS[phase].values() if found not in reached]
            reached.update(fresh)
            frontier.extend(fresh)
        assert Phase.REVERTED in reached


def test_a_pair_that_is_not_in_the_table_is_refused_with_a_reason_and_changes_nothing() -> None:
    loop = Loop.of(catalog(service("cart")))
    loop.push("cart", 1)
    rollout = loop.driver.rollouts[0]
    for event in Event:
        if after(rollout.phase, event) is None:
            draft = Draft(loop.driver.state, loop.driver.state.find("clock", Clock) or Clock())
            assert move(draft, rollout, event, "a test") == rollout
            assert draft.changes() == {}
            assert draft.reasons[0].code == "refused"


def test_every_relation_has_an_answer_for_every_standing() -> None:
    assert set(COUPLINGS) == set(Relation)
    assert all(set(row) == set(Standing) for row in COUPLINGS.values())


def test_an_adoption_never_comes_to_where_weights_move_or_instances_go() -> None:
    """Whatever is said of it: it ends, or waits for the world to say what it did."""
    reached = {phase for start in ADOPTION for event in Event if (phase := after(start, event)) is not None}
    assert reached <= {*ADOPTION, *ENDED}
