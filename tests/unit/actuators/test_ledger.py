"""What a target remembers, and by which rules that changes."""

import msgspec
import pytest

from ctrlplane_stream.actuators.ledger import RELEASED_LEASE_SECONDS, Ledger, Refusal, break_glass, edit, expire, release, take
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity, Cursor
from tests.unit.actuators.making import TARGET, command, wanted

NOW = 1_000.0


def taken(
    ledger: Ledger, *, sequence: int = 1, over_edit: str | None = None, verb: Verb = Verb.SHIFT, lease=300.0, **weights: int
) -> Ledger:
    """The ledger after a command that must be taken, with its weights in force."""
    after = take(ledger, command(sequence, wanted(lease=lease, **weights), verb, over_edit), Cursor(1, sequence), NOW)
    assert isinstance(after, Ledger), after
    return msgspec.structs.replace(after, weights=after.goal)


def refused(ledger: Ledger, *, sequence: int = 9, over_edit: str | None = None, **weights: int) -> str:
    after = take(ledger, command(sequence, wanted(**weights), over_edit=over_edit), Cursor(1, sequence), NOW)
    assert isinstance(after, Refusal), after
    return after.reason


def test_a_partial_weight_starts_a_lease_and_a_whole_one_that_is_in_force_ends_it():
    partial = taken(Ledger(), lease=60.0, v1=75, v2=25)
    assert partial.lease_until == NOW + 60
    whole = taken(partial, sequence=2, lease=90.0, v1=0, v2=100)
    assert whole.lease_until == NOW + 90
    assert expire(whole, NOW + 89) == whole
    assert expire(whole, NOW + 90) == msgspec.structs.replace(whole, lease_until=None)
    assert taken(whole, sequence=3, lease=90.0, v1=0, v2=100).lease_until is None


@pytest.mark.parametrize("wish", [{"v1": 100, "v2": 0}, {"v1": 0, "v2": 100}])
def test_a_wish_that_is_not_in_force_ends_on_stable_when_nobody_renews(wish):
    """The Pods that it waits for may never be ready, and nobody judges what is in force until then."""
    partial = taken(Ledger(), lease=60.0, v1=75, v2=25)
    waiting = msgspec.structs.replace(taken(partial, sequence=2, lease=90.0, **wish), weights=partial.weights)
    expired = expire(waiting, NOW + 90)
    assert (expired.goal, expired.weights, expired.lease_expired) == ({"#1": 100, "#2": 0}, partial.weights, True)


def test_a_command_without_a_lease_keeps_that_of_the_partial_weights_in_force():
    partial = taken(Ledger(), lease=60.0, v1=75, v2=25)
    later = take(partial, command(2, wanted(lease=None, v1=100, v2=0)), Cursor(1, 2), NOW + 30)
    assert isinstance(later, Ledger)
    assert later.lease_until == NOW + 60
    agreed = take(expire(partial, NOW + 60), command(2, wanted(lease=None, v1=100, v2=0)), Cursor(1, 2), NOW + 70)
    assert isinstance(agreed, Ledger)
    assert agreed.lease_until == NOW + 70 + RELEASED_LEASE_SECONDS


def test_an_equal_cursor_is_in_place_and_a_smaller_one_is_stale():
    ledger = taken(Ledger(), sequence=5, v1=100)
    again = take(ledger, command(5, wanted(v1=100)), Cursor(1, 5), NOW)
    assert isinstance(again, Refusal)
    assert again.in_place
    older = take(ledger, command(99, wanted(v1=100)), Cursor(0, 99), NOW)
    assert isinstance(older, Refusal)
    assert not older.in_place
    assert older.reason == "stale: the target is at epoch 1, sequence 5, the command at epoch 0, sequence 99"


def test_where_instances_are_to_come_or_go_yet_the_weights_in_force_are_not_whole():
    partial = taken(Ledger(), lease=60.0, v1=75, v2=25)
    now_whole = msgspec.structs.replace(partial, weights={"#1": 100, "#2": 0})  # what has the rest is not ready at the moment
    for named, until in ((90.0, NOW + 90), (None, NOW + 60)):
        back = command(2, wanted(lease=named, v1=100, v2=0))
        unsettled, settled = (take(now_whole, back, Cursor(1, 2), NOW, settled=each) for each in (False, True))
        assert isinstance(unsettled, Ledger)
        assert isinstance(settled, Ledger)
        assert (unsettled.lease_until, settled.lease_until) == (until, None)
        assert expire(unsettled, until, settled=False).lease_expired
        assert expire(unsettled, until).lease_until is None


def test_a_lease_runs_out_at_its_moment_and_not_before():
    ledger = taken(Ledger(), lease=60.0, v1=75, v2=25)
    assert expire(ledger, NOW + 59.9) == ledger
    expired = expire(ledger, NOW + 60)
    assert (expired.goal, expired.lease_expired, expired.lease_until) == ({"#1": 100, "#2": 0}, True, None)
    assert expire(expired, NOW + 1000) == expired


def test_a_lease_of_a_target_that_was_never_stable_ends_at_no_weight():
    after = take(Ledger(), command(1, wanted(stable=None, v1=60, v2=40)), Cursor(1, 1), NOW)
    assert isinstance(after, Ledger)
    assert expire(after, NOW + 301).goal == {"#1": 0, "#2": 0}


def test_after_an_expired_lease_only_agreement_with_stable_lets_weight_rise_again():
    expired = expire(taken(Ledger(), v1=75, v2=25), NOW + 301)
    assert "lease ran out" in refused(expired, v1=75, v2=25)
    agreed = taken(expired, sequence=2, v1=100, v2=0)
    assert not agreed.lease_expired
    taken(agreed, sequence=3, v1=75, v2=25)


def test_a_new_version_at_weight_0_agrees_with_stable():
    expired = expire(taken(Ledger(), v1=75, v2=25), NOW + 301)
    assert not taken(expired, sequence=2, verb=Verb.PREPARE, v1=100, v2=0, v3=0).lease_expired


def test_an_edited_target_takes_only_what_names_that_edit():
    edited = edit(taken(Ledger(), v1=75, v2=25), {"#1": 50, "#2": 50}, "alice at 1")
    assert isinstance(edited, Ledger)
    assert edited.lease_until is None
    assert "alice at 1" in refused(edited, v1=100, v2=0)
    assert "alice at 1" in refused(edited, over_edit="alice at 0", v1=100, v2=0)
    assert taken(edited, sequence=2, over_edit="alice at 1", v1=100, v2=0).edited is None


def test_an_edit_over_another_names_both_and_of_very_many_the_last_ones():
    edited = edit(taken(Ledger(), v1=75, v2=25), {"#1": 50, "#2": 50}, "alice at 1")
    assert isinstance(edited, Ledger)
    twice = edit(edited, {"#1": 40, "#2": 60}, "bob at 2")
    assert twice.edited == "alice at 1; then bob at 2"
    assert "alice at 1" in refused(twice, over_edit="bob at 2", v1=100, v2=0)
    for number in range(3, 50):
        twice = edit(twice, {"#1": 40, "#2": 60}, f"bob at {number}")
    assert twice.edited == "bob at 45; then bob at 46; then bob at 47; then bob at 48; then bob at 49"


def test_naming_an_edit_that_is_gone_does_no_harm():
    taken(taken(Ledger(), v1=75, v2=25), sequence=2, over_edit="alice at 0", v1=100, v2=0)


@pytest.mark.parametrize("weights", [{}, {"#1": 50}, {"#1": 120, "#2": -20}, {"#1": 50, "#3": 50}])
def test_an_edit_must_name_known_versions_and_sum_to_100(weights):
    assert isinstance(edit(taken(Ledger(), v1=75, v2=25), weights, "alice"), Refusal)


def test_a_released_edit_is_on_the_lease_of_the_last_command_or_the_default():
    edited = edit(taken(Ledger(), lease=60.0, v1=75, v2=25), {"#1": 50, "#2": 50}, "alice")
    assert isinstance(edited, Ledger)
    assert release(edited, NOW).lease_until == NOW + 60
    whole = edit(taken(Ledger(), v1=100, v2=0), {"#1": 50, "#2": 50}, "alice")
    assert release(whole, NOW).lease_until == NOW + RELEASED_LEASE_SECONDS


def test_broken_glass_goes_over_an_edit_and_is_named_in_refusals():
    edited = edit(taken(Ledger(), v1=75, v2=25), {"#1": 50, "#2": 50}, "alice")
    broken = break_glass(edited, "bob at 2")
    assert (broken.weights, broken.edited) == ({"#1": 100, "#2": 0}, None)
    assert "bob at 2" in refused(broken, v1=75, v2=25)


def test_a_version_with_weight_cannot_be_left_out():
    assert "#2 still takes traffic" in refused(taken(Ledger(), v1=75, v2=25), v1=100)


def test_a_command_for_another_target_is_refused():
    want = msgspec.structs.replace(wanted(v1=100), target=Target("staging", "shop/cart"))
    after = take(Ledger(), command(1, want), Cursor(1, 1), NOW)
    assert isinstance(after, Refusal)
    assert after.reason == f"the command is for {TARGET}, its wanted state for staging:shop/cart"


def test_parked_with_weight_and_twice_the_same_label_are_refused_together():
    want = wanted(v1=100, v2=0)
    parked = msgspec.structs.replace(want.versions[0], capacity=Capacity.PARKED)
    after = take(
        Ledger(), command(1, msgspec.structs.replace(want, versions=(parked, want.versions[1], want.versions[1]))), Cursor(1, 1), NOW
    )
    assert isinstance(after, Refusal)
    assert after.reason == "#2 is listed twice; #1 is to be parked with weight 100: make before break"


def test_somebody_must_serve_once_there_is_a_stable_version():
    after = take(Ledger(), command(1, wanted(v1=0)), Cursor(1, 1), NOW)
    assert isinstance(after, Refusal)
    assert after.reason == "weights sum to 0 although #1 is stable: somebody must serve"
    assert isinstance(take(Ledger(), command(1, wanted(stable=None, v1=0)), Cursor(1, 1), NOW), Ledger)
