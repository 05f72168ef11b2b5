"""A repository beside a cluster: commits declare which versions exist and which one is stable, the cluster's API moves weight.

Nothing that takes weight away ever waits for the repository: the cluster goes first, and the declaration follows for as
long as it takes. Only a version that is new is declared before it is made, so that a repository that refuses it (a freeze, a
review) is heard in time. What a person commits to our fields is a pause here too: until it is named, nothing but the way
back to stable is let through. Until the repository was looked at once nothing is known of that, so what starts looks first.
"""

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from ctrlplane_stream.actuators.by_hand import ByHand, HandRefused
from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.port import Actuator, Outcome, WorldUnreachable
from ctrlplane_stream.actuators.wanted import is_abort
from ctrlplane_stream.ending import end_tasks
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetObserved

log = logging.getLogger(__name__)
Owed = tuple[Command, Cursor]
_IN_THE_REPOSITORY = "; in the repository: "


class WithCluster:
    """The actuator and the verbs of people over both; ``cluster`` is what moves weight."""

    name = "gitops"

    def __init__(self, git: GitOps, cluster: Actuator) -> None:
        self._git = git
        self._cluster = cluster
        self._owed: dict[Target, Owed] = {}
        self._edits: dict[Target, str | None] = {}
        self._following: dict[Target, asyncio.Task[None]] = {}

    async def observe(self, target: Target) -> TargetObserved:
        """See the port; the cluster's answer at once, with what the repository was last seen to say of hands.

        The first waits until that was asked: to tell of no edit would say that one which is known was released.
        """
        await self._asked(target)
        self._follow(target)
        return self._merged(await self._cluster.observe(target))

    async def apply(self, command: Command, cursor: Cursor) -> Outcome:
        """See the port."""
        target = command.target
        if not (is_abort(command) or command.verb is Verb.RENEW):
            await self._asked(target)
        on_cluster, declared = await self._parted(command)
        refused = None if is_abort(command) else await self._paused(declared) or await self._declared_first(declared, cursor)
        if refused is not None:
            return refused
        outcome = await self._cluster.apply(on_cluster, cursor)
        if outcome.status is OutcomeStatus.APPLIED:
            self._owed[target] = (declared, cursor)
            self._follow(target)
        seen = outcome.observed
        return msgspec.structs.replace(outcome, observed=None if seen is None else self._merged(seen))

    async def edit(self, target: Target, weights: Mapping[str, int], who: str, why: str) -> TargetObserved:
        """See ``ByHand``: on the cluster."""
        return self._merged(await self._hands().edit(target, weights, who, why))

    async def release(self, target: Target) -> TargetObserved:
        """See ``ByHand``: on the cluster where that was edited, else in the repository."""
        if (await self._cluster.observe(target)).edited is not None:
            return self._merged(await self._hands().release(target))
        self._edits[target] = (await self._git.release(target)).edited
        return await self.observe(target)

    async def break_glass(self, target: Target, who: str, why: str) -> TargetObserved:
        """See ``ByHand``: on the cluster, at once."""
        return self._merged(await self._hands().break_glass(target, who, why))

    async def settled(self, target: Target) -> None:
        """Return once the declaration that follows is made, or has failed for now."""
        self._follow(target)
        await self._following[target]

    async def close(self) -> None:
        """End what follows; what is still owed is declared by whoever is given the last command again."""
        await end_tasks(self._following.values())
        close = getattr(self._cluster, "close", None)
        if close is not None:
            await close()

    async def _parted(self, command: Command) -> tuple[Command, Command]:
        """The command for the cluster and for the repository: who goes over an edit of both goes over each by its own name."""
        over = command.over_edit
        if over is None or _IN_THE_REPOSITORY not in over:
            return command, command
        here = (await self._cluster.observe(command.target)).edited
        if here is None or not over.startswith(here + _IN_THE_REPOSITORY):
            return command, command
        there = over.removeprefix(here + _IN_THE_REPOSITORY)
        return msgspec.structs.replace(command, over_edit=here), msgspec.structs.replace(command, over_edit=there)

    async def _paused(self, command: Command) -> Outcome | None:
        """Why the command must wait for a person who committed to our fields, or None. Leases are renewed: a pause moves nothing."""
        edit = self._edits.get(command.target)
        if edit is None or command.over_edit == edit or command.verb is Verb.RENEW:
            return None
        seen = self._merged(await self._cluster.observe(command.target))
        return Outcome(OutcomeStatus.REFUSED, f"edited by hand in the repository: {edit}; resume through `control`", seen)

    async def _declared_first(self, command: Command, cursor: Cursor) -> Outcome | None:
        """Declare the command where it brings a version that is to be made; an outcome where the repository refuses.

        What is adopted runs already, and only the cluster can say whether it is what was named: that comes first.
        """
        if command.verb is Verb.ADOPT:
            return None
        seen = await self._cluster.observe(command.target)
        made = {version.label for version in command.wanted.versions if version.capacity is not Capacity.PARKED}
        new = made - {version.label for version in seen.versions}
        if not new or (seen.cursor is not None and cursor <= seen.cursor):
            return None
        declared = await self._git.apply(command, cursor)
        self._note(command.target, declared.observed)
        if declared.status is OutcomeStatus.APPLIED:
            return None
        return Outcome(declared.status, f"the repository: {declared.reason}", self._merged(seen))

    async def _asked(self, target: Target) -> None:
        """Return once the repository was looked at since the start, or did not answer: then nothing waits for it any longer.

        A look at a long history outlasts a call that is given up, and goes on: whoever calls again waits for its rest.
        """
        if target not in self._edits:
            self._follow(target)
            await asyncio.wait({self._following[target]})
            self._edits.setdefault(target, None)

    def _follow(self, target: Target) -> None:
        """See to it that what is owed gets declared and the repository is looked at, in the background."""
        task = self._following.get(target)
        if task is None or task.done():
            self._following[target] = asyncio.create_task(self._declare(target), name=f"declare {target}")

    async def _declare(self, target: Target) -> None:
        try:
            while (owed := self._owed.get(target)) is not None:
                seen = await self._cluster.observe(target)
                if seen.cursor is None or seen.cursor <= owed[1]:
                    declared = await self._git.apply(*owed)
                    if declared.status is not OutcomeStatus.APPLIED:
                        log.warning("%s: not declared in the repository: %s", target, declared.reason)
                        if declared.observed is None:  # A protected branch, a file that cannot be written: people may mend that.
                            break
                if self._owed.get(target) is owed:
                    del self._owed[target]
            self._note(target, await self._git.observe(target))
        except WorldUnreachable as error:
            log.warning("%s: the repository is not looked at%s: %s", target, " or written" if target in self._owed else "", error)

    def _note(self, target: Target, seen: TargetObserved | None) -> None:
        if seen is not None:
            self._edits[target] = seen.edited

    def _merged(self, seen: TargetObserved) -> TargetObserved:
        return msgspec.structs.replace(seen, edited=_both(seen.edited, self._edits.get(seen.target)))

    def _hands(self) -> ByHand:
        if not isinstance(self._cluster, ByHand):
            raise HandRefused(f"the actuator {self._cluster.name} has no verbs for people")
        return self._cluster


def _both(cluster: str | None, repository: str | None) -> str | None:
    """The name of what people did on the cluster and in the repository."""
    return f"{cluster}{_IN_THE_REPOSITORY}{repository}" if cluster and repository else cluster or repository
