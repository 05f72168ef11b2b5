"""The port over a repository: every command that is taken is in a commit on the branch that Argo CD or Flux follows.

The commit's trailers are the target's memory, and pushing it onto the head that was looked at is the compare-and-set. When
somebody pushed in between, everything is looked at anew and decided again on the new head, so that nothing of theirs is
lost and nothing is ever forced. What the repository cannot show is not claimed: of instances it knows nothing, so a version
that is declared counts as ready, and it is telemetry that says how it does.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from ctrlplane_stream.actuators.by_hand import HandRefused
from ctrlplane_stream.actuators.gitops.clone import Clone
from ctrlplane_stream.actuators.gitops.desk import Desk, Wish
from ctrlplane_stream.actuators.gitops.history import History
from ctrlplane_stream.actuators.gitops.intake import Change, change_by, change_to, numbered, rounding
from ctrlplane_stream.actuators.gitops.memory import MemoryUnreadable, one_line
from ctrlplane_stream.actuators.gitops.placement import GitPlace, Repository, Weights
from ctrlplane_stream.actuators.gitops.remote import PushRefused
from ctrlplane_stream.actuators.gitops.sight import GitSight, read_git_sight
from ctrlplane_stream.actuators.gitops.yaml_text import FieldTrouble
from ctrlplane_stream.actuators.ledger import Ledger, Refusal, break_glass, edit, release
from ctrlplane_stream.actuators.observing import Counted, note, observation
from ctrlplane_stream.actuators.port import Outcome, WorldUnreachable
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetObserved


class GitOps:
    """The actuator and the verbs of people. ``place_of`` says where a target is declared; clones live in ``folder``.

    ``look_seconds``: a look may be as old as this, so that 500 targets of one repository cost one request, not 500.
    """

    name = "gitops"

    def __init__(
        self,
        place_of: Callable[[Target], GitPlace | None],
        folder: Path,
        *,
        token: str = "",
        look_seconds: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._place_of = place_of
        self._folder = folder
        self._token = token
        self._look_seconds = look_seconds
        self._clock = clock
        self._desks: dict[Repository, Desk] = {}
        self._seen: dict[Target, GitSight] = {}

    async def observe(self, target: Target) -> TargetObserved:
        """See the port."""
        place = self._place_of(target)
        if place is None:
            return TargetObserved(target, ())
        try:
            sight = await self._desk(place).work(lambda clone, history: self._look(clone, history, target, place))
        except MemoryUnreadable as error:
            raise WorldUnreachable(str(error)) from error
        return self._observed(sight)

    async def apply(self, command: Command, cursor: Cursor) -> Outcome:
        """See the port."""
        place = self._place_of(command.target)
        if place is None:
            return Outcome(OutcomeStatus.REFUSED, f"the GitOps placement file names no field for {command.target}: add its service")
        try:
            wish = Wish(command.target, place, lambda sight: change_by(sight, command, cursor, self._clock()))
            sight, done = await self._desk(place).change(wish, command.rollout)
        except (MemoryUnreadable, PushRefused, FieldTrouble) as error:
            return Outcome(OutcomeStatus.REFUSED, str(error))
        if isinstance(done, Refusal):
            status = OutcomeStatus.APPLIED if done.in_place else OutcomeStatus.REFUSED
            return Outcome(status, done.reason, self._observed(sight))
        rounded = rounding(command.wanted) if place.weights is Weights.COMMIT else None
        return Outcome(
            OutcomeStatus.APPLIED, f"committed as {sight.head.decode()[:12]}{f'; {rounded}' if rounded else ''}", self._observed(sight)
        )

    async def edit(self, target: Target, weights: Mapping[str, int], who: str, why: str) -> TargetObserved:
        """See ``ByHand``; refused where a commit cannot give such weights."""
        if any(weight not in (0, 100) for weight in weights.values()):
            raise HandRefused("a commit moves all of the traffic or none: give one version 100")
        return await self._by_hand(target, f"{who} sets weights", lambda ledger, now: edit(ledger, weights, note(who, why, now, weights)))

    async def release(self, target: Target) -> TargetObserved:
        """See ``ByHand``."""
        return await self._by_hand(target, "handed back to the engine", release)

    async def break_glass(self, target: Target, who: str, why: str) -> TargetObserved:
        """See ``ByHand``; it takes effect when the cluster next syncs."""
        return await self._by_hand(target, f"{who} breaks the glass", lambda ledger, now: break_glass(ledger, note(who, why, now)))

    async def close(self) -> None:
        """End the threads; the clones stay, for next time."""
        while self._desks:
            self._desks.popitem()[1].close()

    def _look(self, clone: Clone, history: History, target: Target, place: GitPlace) -> GitSight:
        """The target as its branch has it now; what was seen at this very head before is what is there."""
        seen = self._seen.get(target)
        if seen is None or seen.head != clone.head(self._look_seconds):
            seen = self._seen[target] = read_git_sight(clone, history, target, place, self._look_seconds)
        return seen

    def _desk(self, place: GitPlace) -> Desk:
        if place.repository not in self._desks:
            self._desks[place.repository] = Desk(place.repository, self._folder, self._token)
        return self._desks[place.repository]

    async def _by_hand(self, target: Target, what: str, change: Callable[[Ledger, float], Ledger | Refusal]) -> TargetObserved:
        place = self._place_of(target)
        if place is None:
            raise HandRefused(f"the GitOps placement file names no field for {target}")

        def decide(sight: GitSight) -> Change | Refusal:
            ledger = change(sight.ledger(), self._clock())
            if isinstance(ledger, Refusal):
                return ledger
            left = ledger.edited is None and ledger.broken_glass is None
            ledger = msgspec.structs.replace(ledger, goal=ledger.weights if left else ledger.goal, lease_until=None)
            changed = change_to(sight, ledger, what, (one_line(ledger.edited or ledger.broken_glass or ""),), as_is=left)
            return changed if isinstance(changed, Refusal) else numbered(changed, sight)

        try:
            sight, done = await self._desk(place).change(Wish(target, place, decide), None)
        except (MemoryUnreadable, PushRefused, FieldTrouble) as error:
            raise HandRefused(str(error)) from error
        if isinstance(done, Refusal):
            raise HandRefused(done.reason)
        return self._observed(sight)

    def _observed(self, sight: GitSight) -> TargetObserved:
        parked = {v.label for v in sight.listed if v.capacity is Capacity.PARKED and v.label != sight.serving}
        counted = {v.label: Counted() if v.label in parked else Counted(1, 1) for v in sight.listed}
        seen = observation(sight.target, sight.ledger(), counted, self._clock())
        return msgspec.structs.replace(seen, granularity=100)
