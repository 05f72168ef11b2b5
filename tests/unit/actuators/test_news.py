"""What is worth a fact, and by which cause."""

import msgspec
import pytest

from ctrlplane_stream.actuators.news import at_rest, news, told_by_fact, told_by_outcome
from ctrlplane_stream.model.facts import WorldCause
from ctrlplane_stream.model.world import Cursor
from tests.unit.actuators.making import observed, wanted

WANTED = wanted(v1=75, v2=25)
LATEST = Cursor(1, 5)
SEEN = msgspec.structs.replace(observed(v1=75, v2=25), cursor=LATEST)


def changed(seen=SEEN, **fields):
    return msgspec.structs.replace(seen, **({"cursor": LATEST} | fields))


def at(cursor, **weights):
    return changed(observed(**weights), cursor=cursor)


def cause(told, seen, want=WANTED):
    found = news(told, seen, want, LATEST)
    return found and found.cause


def test_an_unchanged_target_is_no_news():
    assert news(SEEN, SEEN, WANTED, LATEST) is None


def test_a_running_lease_is_no_news():
    assert news(changed(lease_remaining_seconds=9.0), changed(lease_remaining_seconds=3.0), WANTED, LATEST) is None


def test_the_first_look_is_always_news():
    assert cause(None, SEEN) is WorldCause.READINESS


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (changed(edited="alice"), WorldCause.HAND_EDIT),
        (changed(break_glass="bob"), WorldCause.BREAK_GLASS),
        (changed(lease_expired=True), WorldCause.LEASE_EXPIRED),
        (changed(cursor=Cursor(9, 9)), WorldCause.DRIFT),
        (changed(cursor=Cursor(1, 4)), WorldCause.DRIFT),
        (changed(cursor=None), WorldCause.DRIFT),
        (at(LATEST, v1=100, v2=0), WorldCause.DRIFT),
        (at(LATEST, v1=100), WorldCause.DRIFT),
        (changed(observed(v1=75, v2=25, ready=0)), WorldCause.READINESS),
        (changed(observed(v1=75, v2=25, failure="crash loop")), WorldCause.READINESS),
        (changed(observed(v1=100, v2=0), edited="alice", lease_expired=True), WorldCause.HAND_EDIT),
        (changed(observed(v1=100, v2=0), lease_expired=True), WorldCause.LEASE_EXPIRED),
    ],
)
def test_every_change_has_its_cause(seen, expected):
    assert cause(SEEN, seen) is expected
    assert news(seen, seen, WANTED, LATEST) is None


def test_a_weight_on_its_way_to_what_is_wanted_is_readiness():
    assert cause(observed(v1=100, v2=0), SEEN) is WorldCause.READINESS


def test_a_target_that_goes_on_to_a_command_of_ours_does_not_stray_though_a_later_one_was_not_taken():
    """That one's answer never arrived, since the later one came first, and was then refused: whoever calls it drift stops the rollout for
    what it commanded itself."""
    stable = wanted(v1=100, v2=0)
    before, taken, moved = at(Cursor(1, 3), v1=100, v2=0), at(Cursor(1, 4), v1=100, v2=0), at(Cursor(1, 4), v1=75, v2=25)
    assert cause(before, moved, stable) is WorldCause.READINESS
    assert cause(taken, moved, stable) is WorldCause.READINESS
    assert cause(moved, at(LATEST, v1=100, v2=0), stable) is WorldCause.READINESS
    assert cause(moved, before, stable) is WorldCause.DRIFT
    assert cause(at(LATEST, v1=100, v2=0), at(LATEST, v1=75, v2=25), stable) is WorldCause.DRIFT


def test_what_knows_its_last_command_no_longer_says_which_it_was():
    """Whoever orders what it hears by that command would take it for old news otherwise."""
    before, lost = at(Cursor(1, 4), v1=75, v2=25), msgspec.structs.replace(SEEN, cursor=None)
    for seen in (before, lost, msgspec.structs.replace(before, edited="alice")):
        assert news(SEEN, seen, WANTED, LATEST).forgotten == LATEST.sequence
        assert news(told_by_outcome(SEEN, seen), seen, WANTED, LATEST).forgotten == LATEST.sequence
    assert news(SEEN, before, WANTED, LATEST).cause is WorldCause.DRIFT
    assert news(before, SEEN, WANTED, LATEST) is None
    assert news(before, changed(edited="alice"), WANTED, LATEST).forgotten is None


def test_a_second_edit_is_news_and_so_is_a_release():
    assert cause(changed(edited="alice"), changed(edited="bob")) is WorldCause.HAND_EDIT
    assert cause(changed(edited="alice"), SEEN) is WorldCause.DRIFT


def test_an_outcome_tells_the_state_but_not_the_hand_behind_it():
    """A refusal shows the edit in its observation, and the edit still comes as a fact of its own."""
    told = told_by_outcome(SEEN, changed(edited="alice"))
    assert cause(told, changed(edited="alice")) is WorldCause.HAND_EDIT
    assert news(told_by_outcome(changed(edited="alice"), SEEN), SEEN, WANTED, LATEST) is None


def test_rest_is_all_on_stable_and_all_ready():
    calm, stable = observed(v1=100, v2=0), wanted(v1=100, v2=0)
    assert at_rest(calm, stable)
    assert not at_rest(None, stable)
    assert not at_rest(SEEN, WANTED)
    assert not at_rest(observed(v1=100, v2=0, ready=0), stable)
    assert not at_rest(SEEN, stable)


def test_a_share_in_place_that_a_lost_instance_changes_is_readiness_and_no_drift():
    want = msgspec.structs.replace(wanted(v1=50, v2=50), in_place=True)
    told, seen = observed(v1=50, v2=50), observed(v1=100, v2=0, ready=0)
    assert cause(told, seen, want) is WorldCause.READINESS
    assert cause(told, seen, wanted(v1=50, v2=50)) is WorldCause.DRIFT


def test_an_edit_seen_together_with_broken_glass_is_told_after_it():
    """Each has its fact: what one carries in its observation alone, nobody answers."""
    seen = changed(observed(v1=50, v2=50), break_glass="bob", edited="alice")
    first = news(SEEN, seen, WANTED, LATEST)
    assert first is not None
    assert first.cause is WorldCause.BREAK_GLASS
    told = told_by_fact(first, SEEN, seen)
    assert cause(told, seen) is WorldCause.HAND_EDIT
    assert news(told_by_fact(news(told, seen, WANTED, LATEST), told, seen), seen, WANTED, LATEST) is None
