"""The port over a repository: every command that is taken is one commit on the branch that Argo CD or Flux follows.

The commit's trailers are the target's memory, and pushing it onto the head that was looked at is the compare-and-set. When
somebody pushed in between, everything is looked at anew and decided again on the new head, so that nothing of theirs is
lost and nothing is ever forced. What the repository cannot show is not claimed: of instances it knows nothing, so a version
that is declared counts as ready, and it is telemetry that says how it does.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec
from dulwich.objects import ObjectID
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ctrlplane_stream.actuators.by_hand import HandRefused
from ctrlplane_stream.actuators.gitops.clone import Clone
from ctrlplane_stream.actuators.gitops.history import History
from ctrlplane_stream.actuators.gitops.intake import Change, change_by, change_to, rounding
from ctrlplane_stream.actuators.gitops.memory import MemoryUnreadable, message
from ctrlplane_stream.actuators.gitops.placement import GitPlace, Repository, Weights
from ctrlplane_stream.actuators.gitops.remote import BranchMoved, PushRefused, Remote
from ctrlplane_stream.actuators.gitops.sight import GitSight, read_git_sight
from ctrlplane_stream.actuators.gitops.yaml_text import FieldTrouble, with_value
from ctrlplane_stream.actuators.ledger import Ledger, Refusal, break_glass, edit, release
from ctrlplane_stream.actuators.observing import Counted, note, observation
from ctrlplane_stream.actuators.port import Outcome, WorldUnreachable
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetObserved

log = logging.getLogger(__name__)
_TRIES = 8
"""Looks at a branch that keeps moving, in one call; with the backoff about five seconds."""
_Result = TypeVar("_Result")
Decide = Callable[[GitSight], Change | Refusal]


class _Desk:
    """One repository's clone and history, worked on by one thread, so that calls that were given up cannot overlap."""

    def __init__(self, repository: Repository, folder: Path, token: str) -> None:
        self._repository, self._folder, self._token = repository, folder, token
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gitops")
        self._open: tuple[Clone, History] | None = None

    async def work(self, doing: Callable[[Clone, History], _Result]) -> _Result:
        """Do this on the desk's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, doing)

    def _do(self, doing: Callable[[Clone, History], _Result]) -> _Result:
        clone, history = self._opened()
        try:
            return doing(clone, history)
        except (WorldUnreachable, BranchMoved, PushRefused, FieldTrouble, MemoryUnreadable):
            raise
        except Exception as error:  # a damaged clone raises whatever its bytes lead to
            log.warning("the clone of %s is fetched anew: %r", self._repository.url, error)
            clone.begin_anew()
            return doing(clone, history)

    def _opened(self) -> tuple[Clone, History]:
        if self._open is None:
            clone = Clone(Remote(self._repository, self._token), self._folder)
            self._open = clone, History(clone)
        return self._open

    def close(self) -> None:
        """End the thread, once what it does now is done."""
        self._thread.submit(self._let_go)
        self._thread.shutdown(wait=False)

    def _let_go(self) -> None:
        if self._open is not None:
            self._open[0].close()


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
        self._desks: dict[Repository, _Desk] = {}
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
            sight, done = await self._change(command.target, place, lambda sight: change_by(sight, command, cursor, self._clock()))
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

    def _desk(self, place: GitPlace) -> _Desk:
        if place.repository not in self._desks:
            self._desks[place.repository] = _Desk(place.repository, self._folder, self._token)
        return self._desks[place.repository]

    async def _change(self, target: Target, place: GitPlace, decide: Decide) -> tuple[GitSight, Change | Refusal]:
        """Decide on what is there and commit it, again for as long as others push in between; what is there afterwards."""
        tries = AsyncRetrying(
            stop=stop_after_attempt(_TRIES),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            retry=retry_if_exception_type(BranchMoved),
        )
        try:
            return await tries(self._desk(place).work, lambda clone, history: _change_once(clone, history, target, place, decide))
        except RetryError as error:
            raise WorldUnreachable(f"{place.repository.branch} of {place.repository.url} keeps moving: others push all the time") from error

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
            return change_to(sight, ledger, what, ledger.edited or ledger.broken_glass or "", as_is=left)

        try:
            sight, done = await self._change(target, place, decide)
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


def _change_once(clone: Clone, history: History, target: Target, place: GitPlace, decide: Decide) -> tuple[GitSight, Change | Refusal]:
    sight = read_git_sight(clone, history, target, place)
    change = decide(sight)
    if isinstance(change, Refusal):
        return sight, change
    clone.push(
        sight.head, _files(clone, sight.head, place, change), message(target, change.memory, change.subject, change.story, change.serving)
    )
    return read_git_sight(clone, history, target, place, max_age_seconds=float("inf")), change


def _files(clone: Clone, head: ObjectID, place: GitPlace, change: Change) -> dict[str, str]:
    """File → its new text. Raises FieldTrouble, with the file's name."""
    files: dict[str, str] = {}
    for field in place.fields:
        if str(field) not in change.values:
            continue
        try:
            files[field.file] = with_value(files.get(field.file) or clone.text(head, field.file), field.where, change.values[str(field)])
        except FieldTrouble as error:
            raise FieldTrouble(f"{field.file} {error}") from error
    return files
