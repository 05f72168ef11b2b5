"""The port over clusters: a command is taken by compare-and-set on the target's memory, and then whatever is due is done.

``observe`` looks first at what it may hold already (``watching``) and asks the API only where something is due, so that
a target at rest costs nothing. Writes are decided on fresh reads alone. Every call may be cut off anywhere and made
again, by anybody: what is due follows from what is there.
"""

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections.abc import Callable, Mapping

import msgspec

from ctrlplane_stream.actuators.by_hand import HandRefused
from ctrlplane_stream.actuators.in_place import shares as in_place_shares
from ctrlplane_stream.actuators.in_place import with_vacancy
from ctrlplane_stream.actuators.kubernetes.accepted import refused
from ctrlplane_stream.actuators.kubernetes.adoption import begun
from ctrlplane_stream.actuators.kubernetes.api import Cluster, Conflict
from ctrlplane_stream.actuators.kubernetes.behind_service import grain, granularity
from ctrlplane_stream.actuators.kubernetes.due import concern, due, has_its_sizes, names_of, remembered, strays_anew, written_off
from ctrlplane_stream.actuators.kubernetes.hands import Hands
from ctrlplane_stream.actuators.kubernetes.health import counted
from ctrlplane_stream.actuators.kubernetes.intake import Prepared, no_rule, prepare
from ctrlplane_stream.actuators.kubernetes.memory import MemoryUnreadable
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place, Route
from ctrlplane_stream.actuators.kubernetes.recent import Recent
from ctrlplane_stream.actuators.kubernetes.sight import NotHeld, Reader, Sight, read_sight
from ctrlplane_stream.actuators.kubernetes.stamps import is_overtaken
from ctrlplane_stream.actuators.kubernetes.steps import Complete, Make, Scale, Step, Steps
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused
from ctrlplane_stream.actuators.kubernetes.weights import as_seen, in_force, rule_index, was_steered
from ctrlplane_stream.actuators.ledger import Ledger, Refusal, break_glass, edit, release, take
from ctrlplane_stream.actuators.observing import Counted, note, observation
from ctrlplane_stream.actuators.port import Outcome, WorldUnreachable
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Cursor, TargetObserved

log = logging.getLogger(__name__)
_ROUNDS = 40
"""Rounds of looking and writing in one call; a new version takes about six, a conflict costs one."""
_ELBOW_SECONDS = 0.02
"""The longest pause after a conflict."""

_MAKING_SECONDS = 3.0
"""How long one version's objects may take to be made in one go, so that three fit into one call of the port; what is there by then is not
made again."""

Refusals = dict[str, ApiRefused | WorldUnreachable]
"""What the API would not have, or did not answer, by what that is about."""

Views = Callable[[Place], Reader | None]
"""What is held of a place without asking, or None where that is not known to be current."""


class Kubernetes:
    """The actuator and the verbs of people. ``place_of`` says where a target lives, ``cluster_of`` which API serves a place."""

    name = "kubernetes"

    def __init__(
        self,
        place_of: Callable[[Target], Place | None],
        cluster_of: Callable[[Place], Cluster],
        *,
        views: Views = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._place_of = place_of
        self._cluster_of = cluster_of
        self._views = views
        self._clock = clock

    async def observe(self, target: Target) -> TargetObserved:
        """See the port. Also does what has become due: this is what moves weight once a version is ready."""
        place = self._place_of(target)
        if place is None:
            return TargetObserved(target, ())
        try:
            held = await self._held(target, place)
            if held is not None and not is_overtaken(held) and not due(held, self._clock()):
                return self._observed(held)
            return self._observed(*await self.settle(target, place))
        except (MemoryUnreadable, ApiRefused) as error:
            raise WorldUnreachable(str(error)) from error

    async def apply(self, command: Command, cursor: Cursor) -> Outcome:
        """See the port."""
        place = self._place_of(command.target)
        if place is None:
            return Outcome(
                OutcomeStatus.REFUSED, f"the placement file names no place for {command.target}: add its environment and service"
            )
        try:
            taken = await self._take(command, cursor, place)
            sight, refusals = await self.settle(command.target, place, taken if isinstance(taken, Sight) else None)
        except (MemoryUnreadable, ApiRefused) as error:
            return Outcome(OutcomeStatus.REFUSED, str(error))
        refused = isinstance(taken, Refusal) and not taken.in_place
        reason = taken.reason if isinstance(taken, Refusal) else _taken(sight, refusals)
        return Outcome(OutcomeStatus.REFUSED if refused else OutcomeStatus.APPLIED, reason, self._observed(sight, refusals))

    async def edit(self, target: Target, weights: Mapping[str, int], who: str, why: str) -> TargetObserved:
        """See ``ByHand``."""
        return await self._by_hand(target, lambda ledger, now: edit(ledger, weights, note(who, why, now, weights)))

    async def release(self, target: Target) -> TargetObserved:
        """See ``ByHand``."""
        return await self._by_hand(target, release)

    async def break_glass(self, target: Target, who: str, why: str) -> TargetObserved:
        """See ``ByHand``."""
        return await self._by_hand(target, lambda ledger, now: break_glass(ledger, note(who, why, now)))

    async def settle(self, target: Target, place: Place, begun: Sight | None = None) -> tuple[Sight, Refusals]:
        """Do what is due until nothing is; what is then seen, and what the API would not have (see ``concern``).

        ``begun`` is the first sight to decide on, where one was had just now. Raises WorldUnreachable and MemoryUnreadable.
        """
        cluster, refusals = self._cluster_of(place), Refusals()
        for _ in range(_ROUNDS):
            sight, begun = begun or await _look(cluster, target, place), None
            steps = due(sight, self._clock(), refusals)
            if not steps and not is_overtaken(sight):
                return sight, refusals
            try:
                _not_overtaken(sight)
                await self._carry_out(Hands(cluster), steps, sight, refusals)
            except Conflict:
                await _stand_aside()
        raise WorldUnreachable(f"{target} keeps changing while we write: is another controller at work on its objects?")

    async def _held(self, target: Target, place: Place) -> Sight | None:
        """The target as it is known without asking, or None where that is not current or not whole."""
        view = self._views(place)
        with contextlib.suppress(NotHeld):
            return await read_sight(view, target, place) if view is not None else None
        return None

    async def _carry_out(self, hands: Hands, steps: Steps, sight: Sight, refusals: Refusals) -> None:
        """The steps in their order, Deployments that are only scaled or stamped all at once; after a refusal no more.

        What is not to be made for want of an answer counts as refused until somebody looks again: where nobody answers at all the next
        look says so, and where it is that alone (an admission webhook that is down) it must not keep an abort.
        """
        for _, together in itertools.groupby(steps, key=lambda step: id(step) if not isinstance(step, Scale) else 0):
            group = list(together)
            ends = await asyncio.gather(*(_in_time(hands, step, sight) for step in group), return_exceptions=True)
            failed = [(step, end) for step, end in zip(group, ends, strict=True) if end is not None]
            for step, error in failed:
                about = concern(sight, step)
                if isinstance(error, WorldUnreachable) and isinstance(step, Make | Complete) and about is not None:
                    log.warning("%s: %s is not made yet: %s", sight.target, about, error)
                elif not isinstance(error, ApiRefused):
                    raise error
                elif about is None:
                    raise WorldUnreachable(str(error)) from error
                refusals[about] = error
            if failed:
                return

    async def _take(self, command: Command, cursor: Cursor, place: Place) -> Refusal | Sight | None:
        """What is seen with the command taken just now, or None where that has to be looked at anew.

        Raises MemoryUnreadable, ApiRefused and WorldUnreachable.
        """
        cluster = self._cluster_of(place)
        for _ in range(_ROUNDS):
            sight = await _look(cluster, command.target, place)
            try:
                return await self._take_once(command, cursor, place, sight)
            except Conflict:
                await _stand_aside()
        raise WorldUnreachable(f"the memory of {command.target} keeps changing: is another worker at work on it?")

    async def _take_once(self, command: Command, cursor: Cursor, place: Place, sight: Sight) -> Refusal | Sight | None:
        _not_overtaken(sight)
        hands = Hands(self._cluster_of(place))
        memory, now = sight.memory or begun(sight), self._clock()
        right = remembered(sight, memory, now)
        if right != memory:
            await hands.remember(right, sight.revision)
            raise Conflict("what time or people did had to be noted first")
        ledger = msgspec.structs.replace(memory.ledger, weights=in_force(sight) if sight.memory is not None else {})
        wished = Ledger(wanted=command.wanted, goal=command.wanted.weights)
        taken = take(ledger, command, cursor, now, as_seen(sight), settled=has_its_sizes(sight, wished))
        if isinstance(taken, Refusal):
            return taken
        prepared = await prepare(self._cluster_of(place), hands, sight, memory, command, place)
        if not isinstance(prepared, Prepared):
            return prepared
        kept = msgspec.structs.replace(written_off(sight, prepared.memory), ledger=taken, steered=_steered(sight, prepared.memory.place))
        revision = await hands.remember(kept, sight.revision)
        if kept.adopted != memory.adopted or kept.place.route != sight.place.route:
            return None  # What was just labelled, or another route, is not in sight.
        return msgspec.structs.replace(sight, memory=kept, revision=revision, place=kept.place)

    async def _by_hand(self, target: Target, change: Callable[[Ledger, float], Ledger | Refusal]) -> TargetObserved:
        place = self._place_of(target)
        if place is None:
            raise HandRefused(f"the placement file names no place for {target}")
        for _ in range(_ROUNDS):
            try:
                sight = await read_sight(self._cluster_of(place), target, place)
                await self._change_once(sight, change)
                return self._observed(*await self.settle(target, place))
            except Conflict:
                await _stand_aside()
            except (MemoryUnreadable, ApiRefused) as error:
                raise HandRefused(str(error)) from error
        raise WorldUnreachable(f"the memory of {target} keeps changing: is a worker at work on it?")

    async def _change_once(self, sight: Sight, change: Callable[[Ledger, float], Ledger | Refusal]) -> None:
        """A hand's verb goes over what other hands did to the objects."""
        _not_overtaken(sight)
        if sight.memory is None and sight.workloads:
            lost = f"the memory of {sight.target} is gone, and with it what is stable there"
            raise HandRefused(f"{lost}: set the weights on its route by hand, or give it a command")
        memory, now = sight.memory or begun(sight), self._clock()
        if sight.memory is not None and (right := remembered(sight, memory, now)) != memory:
            await Hands(self._cluster_of(sight.place)).remember(right, sight.revision)
            raise Conflict("what others did had to be noted first, or it would be found after this verb, and stop what it wants")
        ledger = msgspec.structs.replace(memory.ledger, weights=in_force(sight))
        changed = change(ledger, now)
        if isinstance(changed, Refusal):
            raise HandRefused(changed.reason)
        rule = sight.place.route
        if sight.routed and rule is not None and (sight.route is None or rule_index(sight.route, rule.rule) is None):
            raise HandRefused(no_rule(sight.place, rule, sight.route))
        kept = msgspec.structs.replace(written_off(sight, memory), ledger=changed)
        await Hands(self._cluster_of(sight.place)).remember(kept, sight.revision)

    def _observed(self, sight: Sight, refusals: Refusals | None = None) -> TargetObserved:
        if sight.memory is None:
            return TargetObserved(sight.target, ())
        ledger = msgspec.structs.replace(sight.memory.ledger, weights=as_seen(sight))
        told = _told(sight, refusals or {})
        counts = {version.label: _with_refusal(counted(sight, version.label), told.get(version.label)) for version in sight.listed}
        if ledger.wanted is not None and ledger.wanted.in_place:
            counts = with_vacancy(in_place_shares(ledger.goal, ledger.wanted, sight.full), counts)
        seen = observation(sight.target, ledger, counts, self._clock())
        if sight.routed and sight.place.route is not None and sight.route is not None:
            seen = msgspec.structs.replace(seen, not_in_force=refused(sight.place.route.kind, sight.route))
        return msgspec.structs.replace(seen, granularity=grain(sight.full)) if _goes_by_pods(sight) else seen


async def _look(cluster: Cluster, target: Target, place: Place) -> Sight:
    """What is there, to decide a write on. Where somebody seems to have touched what is ours, it is the newest there is that says so."""
    sight = await read_sight(Recent(cluster), target, place)
    return await read_sight(cluster, target, place) if strays_anew(sight) else sight


async def _stand_aside() -> None:
    """A short pause of random length, so that two writers do not keep meeting."""
    await asyncio.sleep(random.uniform(0, _ELBOW_SECONDS))  # noqa: S311


def _not_overtaken(sight: Sight) -> None:
    if is_overtaken(sight):
        raise Conflict("the memory that was read is older than what was written by a later one")


def _steered(sight: Sight, place: Place) -> Route | None:
    """What a memory says of the rule of ``place``: that it was ours once."""
    return place.route if sight.place.route == place.route and was_steered(sight) else None


async def _in_time(hands: Hands, step: Step, sight: Sight) -> None:
    """Carry a step out; what makes something gives up early, so that a call of the port does not end with it."""
    if not isinstance(step, Make | Complete):
        await hands.carry_out(step, sight)
        return
    try:
        async with asyncio.timeout(_MAKING_SECONDS):
            await hands.carry_out(step, sight)
    except TimeoutError as error:
        raise WorldUnreachable(f"no answer within {_MAKING_SECONDS:g} s") from error


def _told(sight: Sight, refusals: Refusals) -> dict[str, ApiRefused | WorldUnreachable]:
    """What was refused of each listed version, by its label."""
    found = {}
    for version in sight.listed:
        of_it = [refusals[each] for each in (version.label, *names_of(sight, version.label)) if each in refusals]
        if of_it:
            found[version.label] = of_it[0]
    return found


def _goes_by_pods(sight: Sight) -> bool:
    """Whether weight is a share of Pods; a job has no traffic to share, and the engine gives it all or nothing by itself."""
    wanted = sight.memory.ledger.wanted if sight.memory is not None else None
    is_job = sight.place.workload is Kind.CRON_JOB
    return not is_job and (not sight.routed or (wanted is not None and wanted.in_place))


def _with_refusal(count: Counted, refusal: ApiRefused | WorldUnreachable | None) -> Counted:
    """What was not answered is no failure of the version: it is tried again."""
    return msgspec.structs.replace(count, failure=str(refusal)) if isinstance(refusal, ApiRefused) else count


def _taken(sight: Sight, refusals: Refusals) -> str:
    if refusals:
        return "taken, but " + "; ".join(f"{label}: {said}" for label, said in sorted(_told(sight, refusals).items()))
    wanted = sight.memory.ledger.wanted if sight.memory is not None else None
    by_shares = wanted is not None and not wanted.in_place and not sight.routed
    rounded = granularity(sight, sight.memory.ledger) if sight.memory is not None and by_shares else None
    return f"taken; {rounded}" if rounded else "taken"
