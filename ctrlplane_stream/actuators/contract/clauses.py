"""The clauses of the contract; each docstring is the rule."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import msgspec

from ctrlplane_stream.actuators.by_hand import HandRefused
from ctrlplane_stream.actuators.contract.play import Play, accepted, ready_of, refused, weights_of
from ctrlplane_stream.actuators.contract.world import Behaviour, World
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.world import Capacity, Cursor, TargetObserved, TargetWanted, WantedVersion

_Clause = Callable[["ActuatorContract", Play], Awaitable[None]]


def clause(play: _Clause) -> Callable[["ActuatorContract"], None]:
    """A test that opens the world, plays the clause on a target of its own and closes the world."""

    def test(self: "ActuatorContract") -> None:
        async def run() -> None:
            async with self.open_world() as world:
                await play(self, Play(world, play.__name__))

        asyncio.run(run())

    test.__name__, test.__qualname__, test.__doc__ = play.__name__, play.__qualname__, play.__doc__
    return test


class ActuatorContract:
    """The clauses. Each docstring is the rule."""

    def open_world(self) -> AbstractAsyncContextManager[World]:
        """A context that yields the world to test."""
        raise NotImplementedError("give the contract a world: override open_world")

    @clause
    async def test_a_target_without_commands_is_empty(self, play: Play) -> None:
        """Observing what was never commanded gives no versions and no cursor."""
        seen = await play.look()
        assert (seen.versions, seen.cursor) == ((), None), seen

    @clause
    async def test_a_prepared_candidate_is_ready_without_weight(self, play: Play) -> None:
        """PREPARE makes a version ready beside the stable one, which keeps all the traffic."""
        await play.stable_and_candidate()

    @clause
    async def test_weight_moves_to_what_is_ready(self, play: Play) -> None:
        """A shift is taken and, both versions being ready, seen; what lies between two shares is no more than the lower."""
        await play.stable_and_candidate(25)
        for weight in (play.some, 50, 100):
            accepted(await play.command(play.at(weight)))
            await play.see_weights(v1=100 - weight, v2=weight)

    @clause
    async def test_how_coarse_its_shares_are_the_world_says(self, play: Play) -> None:
        """A step that cannot be shown would be waited for: ``100 // granularity``, as observed, is how many shares there are, or the next
        fewer that a whole percent can say. Of a consumer the instances say it where nothing else does, and of a job its kind."""
        if not play.is_coarse or play.kind is ServiceKind.JOB:
            return
        await play.stable_and_candidate()
        seen = await play.look()
        if play.kind is ServiceKind.CONSUMER and seen.granularity == 1:
            return
        said = max(100 // percent for percent in range(2, 101) if 100 // percent <= play.shares)
        assert 100 // seen.granularity == said, f"granularity {seen.granularity} instead of {100 // said}: {seen}"

    @clause
    async def test_the_same_command_twice_counts_once(self, play: Play) -> None:
        """A repeated cursor is applied and changes nothing."""
        await play.stable_and_candidate()
        for _ in range(3):
            accepted(await play.command(play.at(play.some), cursor=Cursor(1, 50)))
        seen = await play.see_weights(v1=100 - play.some, v2=play.some)
        assert seen.cursor == Cursor(1, 50), seen

    @clause
    async def test_an_older_cursor_is_refused(self, play: Play) -> None:
        """Whatever is not greater is refused with a reason and without effect; a greater epoch outranks any sequence."""
        half = play.at_least(50)
        await play.stable_and_candidate(25)
        accepted(await play.command(play.at(half), cursor=Cursor(2, 1)))
        refused(await play.command(play.at(0), cursor=Cursor(1, 999)))
        seen = await play.see_weights(v1=100 - half, v2=half)
        assert seen.cursor == Cursor(2, 1), seen

    @clause
    async def test_commands_out_of_order_end_with_the_last(self, play: Play) -> None:
        """Whatever order commands arrive in, together or not, the greatest cursor rules at the end."""
        await play.stable_and_candidate()
        last = play.at_least(50)
        steps = {20: 20, 50: last, 40: 40, 30: 30}
        outcomes = await asyncio.gather(*(play.command(play.at(weight), cursor=Cursor(1, of)) for of, weight in steps.items()))
        assert outcomes[1].status is OutcomeStatus.APPLIED, outcomes
        seen = await play.see_weights(v1=100 - last, v2=last)
        assert seen.cursor == Cursor(1, 50), seen

    @clause
    async def test_what_cannot_be_is_refused(self, play: Play) -> None:
        """Weights that sum to neither 100 nor 0, partial weights without a lease and an unlisted stable version are refused."""
        await play.stable_and_candidate()
        one, two = play.version(1, 75), play.version(2, 25)
        refused(await play.command(play.wanted(one, play.version(2, 20))))
        refused(await play.command(play.wanted(one, two, lease=None)))
        refused(await play.command(play.wanted(one, two, stable="#3")))
        await play.see_weights(v1=100, v2=0)

    @clause
    async def test_versions_are_immutable(self, play: Play) -> None:
        """A label never comes to mean another artifact or configuration."""
        await play.stable_and_candidate()
        other = WantedVersion("#2", play.version(3, 0).artifact, {}, Capacity.FULL, 0)
        refused(await play.command(play.wanted(play.version(1, 100), other)))

    @clause
    async def test_weight_waits_for_readiness(self, play: Play) -> None:
        """A version that does not become ready gets no weight, and stable keeps all of it."""
        if not play.sees_instances:
            return
        await play.stable_and_candidate()
        half = play.at_least(50)
        never = play.version(3, half, behaviour=Behaviour.NEVER_READY)
        await play.command(play.wanted(play.version(1, 100 - half), never, play.version(2, 0)))
        await play.world.pass_time(1.0)
        seen = await play.look()
        assert (weights_of(seen).get("#1"), weights_of(seen).get("#3", 0)) == (100, 0), seen

    @clause
    async def test_a_weight_that_is_said_to_be_unsafe_does_not_wait_for_readiness(self, play: Play) -> None:
        """Somebody said that it goes also to what is not ready, where a route gives it."""
        if not play.sees_instances or play.is_coarse or play.kind is not ServiceKind.ROUTED:
            return
        await play.stable_and_candidate()
        never = play.version(3, 50, behaviour=Behaviour.NEVER_READY)
        wanted = play.wanted(play.version(1, 50), never, play.version(2, 0))
        accepted(await play.command(msgspec.structs.replace(wanted, unsafe=True)))
        await play.see("#3 has its weight", lambda seen: weights_of(seen).get("#3") == 50)

    @clause
    async def test_a_crash_loop_is_reported(self, play: Play) -> None:
        """A version that ends at every start is seen to fail, in words, and is never ready."""
        if not play.sees_instances:
            return
        await play.stable_and_candidate()
        bad = play.version(3, 0, behaviour=Behaviour.CRASHES)
        accepted(await play.command(play.wanted(play.version(1, 100), bad, play.version(2, 0)), Verb.PREPARE))
        seen = await play.see("#3 fails", lambda seen: (version := seen.version("#3")) is not None and version.failure is not None)
        assert not ready_of(seen, "#3"), seen

    @clause
    async def test_a_killed_instance_comes_back(self, play: Play) -> None:
        """Instances that die are seen as lost and are replaced, without any command and without moving weight."""
        if not play.sees_instances:
            return
        await play.stable_and_candidate(play.some)
        await play.world.kill(play.target, "#2")
        await play.see("#2 lost readiness", lambda seen: not ready_of(seen, "#2"))
        seen = await play.see("#2 is back", lambda seen: ready_of(seen, "#2"))
        assert play.is_shown(weights_of(seen), play.some), seen

    @clause
    async def test_a_restarted_world_goes_on(self, play: Play) -> None:
        """Cursor, weights and versions survive the world's own restart; an old command stays refused."""
        await play.stable_and_candidate(play.some)
        before = await play.look()
        await play.world.restart()
        seen = await play.see("all are ready again", lambda seen: ready_of(seen, "#1") and ready_of(seen, "#2"))
        assert (seen.cursor, weights_of(seen)) == (before.cursor, weights_of(before)), seen
        refused(await play.command(play.wanted(play.version(1, 100), play.version(2, 0)), cursor=Cursor(1, 1)))

    @clause
    async def test_a_drained_version_is_parked_and_comes_back(self, play: Play) -> None:
        """Parked is not running but kept; it serves again after being prepared; deleted is gone."""
        await play.stable_and_candidate()
        parked = play.wanted(play.version(1, 100), play.version(2, 0, Capacity.PARKED))
        accepted(await play.command(parked, Verb.PARK))
        await play.see("#2 runs no more", lambda seen: (version := seen.version("#2")) is not None and version.instances == 0)
        accepted(await play.command(play.wanted(play.version(1, 100), play.version(2, 0)), Verb.PREPARE))
        await play.see("#2 is ready again", lambda seen: ready_of(seen, "#2"))
        accepted(await play.command(parked, Verb.PARK))
        accepted(await play.command(play.wanted(play.version(1, 100)), Verb.DELETE))
        await play.see("#2 is gone", lambda seen: seen.version("#2") is None)

    @clause
    async def test_nothing_that_takes_traffic_is_stopped(self, play: Play) -> None:
        """Parking or deleting a version that has weight is refused: make before break."""
        some = play.some
        await play.stable_and_candidate(some)
        refused(await play.command(play.wanted(play.version(1, 100 - some), play.version(2, some, Capacity.PARKED)), Verb.PARK))
        refused(await play.command(play.wanted(play.version(1, 100)), Verb.DELETE))
        seen = await play.look()
        assert ready_of(seen, "#2"), seen
        assert play.is_shown(weights_of(seen), some), seen

    @clause
    async def test_a_candidate_by_weight_has_instances_for_its_share(self, play: Play) -> None:
        """As many as its share needs, at least one, before its weight rises; it keeps them at weight 0, and stable has all of its own."""
        if not play.sees_instances or play.is_coarse:
            return
        accepted(await play.command(play.wanted(play.version(1, 100)), Verb.PREPARE))
        whole = (await play.see("#1 is ready", lambda seen: ready_of(seen, "#1"))).version("#1")
        assert whole is not None
        for weight, share in ((0, 10), (10, 10), (60, 60), (0, 60), (100, 100)):
            candidate = msgspec.structs.replace(play.version(2, weight, Capacity.WEIGHTED), share=share)
            accepted(await play.command(play.wanted(play.version(1, 100 - weight), candidate)))
            await play.see_weights(v1=100 - weight, v2=weight)
            seen = await play.see("#2 is ready", lambda seen: ready_of(seen, "#2"))
            counted = [version.instances if version is not None else 0 for version in map(seen.version, ("#1", "#2"))]
            assert counted == [whole.instances, max(1, -(-whole.instances * share // 100))], seen

    @clause
    async def test_what_changes_in_place_has_no_more_instances_than_it_had(self, play: Play) -> None:
        """But for the surplus that is said, and there and back: or it is refused, with a reason."""
        if play.kind is ServiceKind.JOB:
            return
        outcome = await play.command(_in_place(play.wanted(play.version(1, 100))), Verb.PREPARE)
        if outcome.status is OutcomeStatus.REFUSED:
            refused(outcome)
            return
        accepted(outcome)
        size = _size(await play.see("#1 is ready", lambda seen: ready_of(seen, "#1")))
        for candidate, surplus in ((100, 0), (0, 25)):
            wanted = play.wanted(play.version(1, 100 - candidate), play.version(2, candidate))
            accepted(await play.command(_in_place(wanted, surplus)))
            most = size + (max(1, size * surplus // 100) if surplus else 0)

            def arrived(seen: TargetObserved, candidate: int = candidate, most: int = most) -> bool:
                assert _size(seen) <= most, f"more than {most} instances: {seen}"
                return play.is_shown(weights_of(seen), candidate) and _size(seen) == size

            await play.see(f"#2 has {candidate}%", arrived)

    @clause
    async def test_what_runs_already_is_adopted_as_it_runs(self, play: Play) -> None:
        """Taken with all traffic where it runs and is what was named, else refused; and then stopped as any version is."""
        if play.run_before_us is None:
            return
        one, two = play.version(1, 100), play.version(2, 100)
        refused(await play.command(play.wanted(one), Verb.ADOPT))
        await play.run_before_us(play.target, one.artifact)
        another = msgspec.structs.replace(one, artifact=two.artifact)
        refused(await play.command(play.wanted(another), Verb.ADOPT))
        await _adopted_and_followed(play, one, two)
        accepted(await play.command(play.wanted(two, stable="#2"), Verb.DELETE))
        await play.see("#1 is gone", lambda seen: weights_of(seen) == {"#2": 100})

    @clause
    async def test_what_was_adopted_is_returned_to(self, play: Play) -> None:
        """Prepared again beside the version that took its place it becomes ready, and then takes all traffic, as any version does."""
        if play.run_before_us is None:
            return
        one, two = play.version(1, 100), play.version(2, 100)
        await play.run_before_us(play.target, one.artifact)
        await _adopted_and_followed(play, one, two)
        accepted(await play.command(play.wanted(play.version(1, 0), two, stable="#2"), Verb.PREPARE))
        seen = await play.see("#1 is ready again", lambda seen: ready_of(seen, "#1"))
        assert weights_of(seen) == {"#1": 0, "#2": 100}, seen
        accepted(await play.command(play.wanted(one, play.version(2, 0), stable="#2")))
        await play.see_weights(v1=100, v2=0)

    @clause
    async def test_what_was_never_made_can_be_parked_and_deleted_as_often_as_it_is_said(self, play: Play) -> None:
        """An abort of what never came to be takes back what is not there: each command is taken, also again, and nothing of it runs."""
        accepted(await play.command(play.wanted(play.version(1, 100)), Verb.PREPARE))
        await play.see("#1 is ready", lambda seen: ready_of(seen, "#1"))
        stable, parked = play.version(1, 100), play.version(2, 0, Capacity.PARKED)
        for verb in (Verb.SHIFT, Verb.PARK, Verb.PARK):
            accepted(await play.command(play.wanted(stable, parked), verb))
            seen = await play.look()
            assert [each.label for each in seen.versions if each.instances or each.weight] == ["#1"], seen
        for _ in range(2):
            accepted(await play.command(play.wanted(stable), Verb.DELETE))
        seen = await play.see("#2 is gone", lambda seen: seen.version("#2") is None)
        assert weights_of(seen) == {"#1": 100}, seen

    @clause
    async def test_what_was_to_be_adopted_is_left_where_it_was_not_and_kept_where_it_serves(self, play: Play) -> None:
        """Giving an adoption up wants nothing of the target: taken where nothing is ours, refused where something of ours has traffic."""
        accepted(await play.command(play.wanted(stable=None), Verb.LEAVE))
        assert all(version.weight == 0 for version in (await play.look()).versions)
        await play.stable_and_candidate()
        refused(await play.command(play.wanted(stable=None), Verb.LEAVE))
        await play.see_weights(v1=100, v2=0)

    @clause
    async def test_a_lease_that_nobody_renews_ends_on_stable(self, play: Play) -> None:
        """After the lease the target is on stable and says so; a late renewal is refused; agreeing with stable ends the matter."""
        if not play.knows_leases:
            return
        await play.stable_and_candidate(play.some, lease=play.world.lease_seconds)
        await play.world.pass_time(play.world.lease_seconds)
        seen = await play.see("the lease expired", lambda seen: seen.lease_expired)
        seen = await play.see_weights(v1=100, v2=0)
        refused(await play.command(play.at(play.some), Verb.RENEW))
        accepted(await play.command(play.at(0)))
        accepted(await play.command(play.at(play.some)))
        seen = await play.see_weights(v1=100 - play.some, v2=play.some)
        assert not seen.lease_expired, seen

    @clause
    async def test_a_lease_ends_with_nobody_looking(self, play: Play) -> None:
        """Engine and workers are down, and nobody observes the target: the world goes to stable by itself."""
        read = play.weights_in_the_world
        if not play.knows_leases or read is None:
            return
        await play.stable_and_candidate(play.some, lease=play.world.lease_seconds)
        weights = await read(play.target)
        assert play.is_shown(weights, play.some), weights
        await play.world.pass_time(play.world.lease_seconds)
        await play.wait("the world gives all traffic to #1", lambda weights: play.is_shown(weights, 0), lambda: read(play.target))

    @clause
    async def test_a_renewed_lease_goes_on(self, play: Play) -> None:
        """Each renewal counts from its own moment, and the time that remains is told."""
        if not play.knows_leases:
            return
        lease = play.world.lease_seconds
        await play.stable_and_candidate(play.some, lease=lease)
        for _ in range(6):  # a lease and a half; each renewal has three quarters of one to arrive in
            await play.world.pass_time(lease / 4)
            accepted(await play.command(play.at(play.some, lease), Verb.RENEW))
        seen = await play.look()
        assert not seen.lease_expired, seen
        assert seen.lease_remaining_seconds is not None, seen
        assert 0 < seen.lease_remaining_seconds <= lease, seen

    @clause
    async def test_a_lease_is_of_the_weights_in_force_and_not_of_the_wish(self, play: Play) -> None:
        """A command to all or nothing that waits leaves a partial weight as it is: when nobody renews, that goes to stable all the same."""
        if not play.knows_leases or not play.sees_instances:
            return
        await play.stable_and_candidate(play.some, lease=play.world.lease_seconds)
        never = play.version(3, 100, behaviour=Behaviour.NEVER_READY)
        accepted(await play.command(play.wanted(play.version(1, 0), play.version(2, 0), never)))
        await play.world.pass_time(play.world.lease_seconds)
        await play.see("the lease expired", lambda seen: seen.lease_expired)
        await play.see("#1 has all of it", lambda seen: weights_of(seen) == {"#1": 100, "#2": 0, "#3": 0})

    @clause
    async def test_no_lease_ends_whole_weights_that_are_in_force(self, play: Play) -> None:
        """A command that is to come into force is on a lease until it is; what one version has all of stays, whoever looks."""
        await play.stable_and_candidate(play.some, lease=play.world.lease_seconds)
        accepted(await play.command(msgspec.structs.replace(play.at(100), lease_seconds=play.world.lease_seconds)))
        await play.see_weights(v1=0, v2=100)
        await play.world.pass_time(2 * play.world.lease_seconds)
        seen = await play.see_weights(v1=0, v2=100)
        assert not seen.lease_expired, seen

    @clause
    async def test_a_hand_edit_stands_until_an_operator_says_otherwise(self, play: Play) -> None:
        """A weight set by hand is reported, commands are refused and no lease undoes it; naming the edit goes over it."""
        hand = play.world.by_hand
        if hand is None:
            return
        await play.stable_and_candidate(play.some, lease=play.world.lease_seconds)
        most = play.at_least(90)
        await hand.edit(play.target, {"#1": 100 - most, "#2": most}, "alice", "trying something")
        seen = await play.see_weights(v1=100 - most, v2=most)
        assert seen.edited is not None, seen
        assert "alice" in seen.edited, seen
        back = play.at(0)
        refused(await play.command(back))
        for other in ("some other edit", seen.edited[:-1], f"{seen.edited} and more"):
            refused(await play.command(back, over_edit=other))
        await play.world.pass_time(2 * play.world.lease_seconds)
        await play.see_weights(v1=100 - most, v2=most)
        accepted(await play.command(back, over_edit=seen.edited))
        seen = await play.see_weights(v1=100, v2=0)
        assert seen.edited is None, seen

    @clause
    async def test_a_released_edit_leaves_the_weights(self, play: Play) -> None:
        """Handing an edited target back keeps its weights, on a lease, and lets commands in again."""
        hand = play.world.by_hand
        if hand is None:
            return
        await play.stable_and_candidate(play.some)
        many = play.at_least(40)
        await hand.edit(play.target, {"#1": 100 - many, "#2": many}, "alice", "")
        await play.see_weights(v1=100 - many, v2=many)
        seen = await hand.release(play.target)
        assert play.is_shown(weights_of(seen), many), seen
        assert seen.edited is None, seen
        assert (seen.lease_remaining_seconds is not None) == play.knows_leases, seen
        accepted(await play.command(play.at(50)))

    @clause
    async def test_broken_glass_ends_on_stable_at_once(self, play: Play) -> None:
        """A person's abort needs no command; what would raise the candidate again is refused until a command agreed. Where weights are
        shares of instances, it ends there once those that are too many are gone."""
        hand = play.world.by_hand
        if hand is None:
            return
        await play.stable_and_candidate(play.some)
        seen = await hand.break_glass(play.target, "bob", "pages are down")
        assert play.is_coarse or weights_of(seen) == {"#1": 100, "#2": 0}, seen
        seen = await play.see_weights(v1=100, v2=0)
        assert seen.break_glass is not None, seen
        assert "bob" in seen.break_glass, seen
        refused(await play.command(play.at(play.some), Verb.RENEW))
        accepted(await play.command(play.at(0)))
        seen = await play.look()
        assert seen.break_glass is None, seen

    @clause
    async def test_broken_glass_goes_over_an_edit(self, play: Play) -> None:
        """Whoever breaks the glass knows better than whoever set weights before."""
        hand = play.world.by_hand
        if hand is None:
            return
        await play.stable_and_candidate(play.some)
        most = play.at_least(90)
        await hand.edit(play.target, {"#1": 100 - most, "#2": most}, "alice", "trying something")
        await play.see_weights(v1=100 - most, v2=most)
        seen = await hand.break_glass(play.target, "bob", "pages are down")
        assert seen.edited is None, seen
        await play.see_weights(v1=100, v2=0)

    @clause
    async def test_broken_glass_waits_for_nothing(self, play: Play) -> None:
        """Stable gets everything, though nothing of it is ready at the moment, where a route gives it."""
        hand = play.world.by_hand
        if hand is None or not play.sees_instances or play.is_coarse or play.kind is not ServiceKind.ROUTED:
            return
        await play.stable_and_candidate(50)
        await play.world.kill(play.target, "#1")
        await play.see("#1 lost readiness", lambda seen: not ready_of(seen, "#1"))
        seen = await hand.break_glass(play.target, "bob", "pages are down")
        assert weights_of(seen) == {"#1": 100, "#2": 0}, seen
        seen = await play.see("#1 is back", lambda seen: ready_of(seen, "#1"))
        assert weights_of(seen) == {"#1": 100, "#2": 0}, seen

    @clause
    async def test_hands_are_told_what_cannot_be(self, play: Play) -> None:
        """Glass cannot be broken where nothing is, and weights for versions that are not there are refused."""
        hand = play.world.by_hand
        if hand is None:
            return
        await _hand_refused(hand.break_glass(play.target, "bob", ""))
        accepted(await play.command(play.wanted(play.version(1, 100)), Verb.PREPARE))
        await _hand_refused(hand.edit(play.target, {"#1": 50, "#9": 50}, "bob", ""))
        await _hand_refused(hand.release(play.target))


async def _adopted_and_followed(play: Play, one: WantedVersion, two: WantedVersion) -> None:
    """Have what runs adopted as #1, and #2 take its place until nothing of it runs."""
    accepted(await play.command(play.wanted(one), Verb.ADOPT))
    await play.see("#1 serves", lambda seen: ready_of(seen, "#1") and weights_of(seen) == {"#1": 100})
    accepted(await play.command(play.wanted(play.version(1, 0), two)))
    await play.see_weights(v1=0, v2=100)
    accepted(await play.command(play.wanted(play.version(1, 0, Capacity.PARKED), two, stable="#2"), Verb.PARK))
    await play.see("#1 runs no more", lambda seen: (version := seen.version("#1")) is None or version.instances == 0)


def _in_place(wanted: TargetWanted, surplus_percent: int = 0) -> TargetWanted:
    return msgspec.structs.replace(wanted, in_place=True, surplus_percent=surplus_percent)


def _size(seen: TargetObserved) -> int:
    return sum(version.instances for version in seen.versions)


async def _hand_refused(doing: Awaitable[TargetObserved]) -> None:
    try:
        seen = await doing
    except HandRefused as refusal:
        reason = str(refusal)
    else:
        raise AssertionError(f"not refused: {seen}")
    assert reason, "refused without a reason"
