"""One repository's clone and history, and whatever is to be committed there: what moves at once is one commit.

The engine tells all targets of a step in one decision. Their commands come within milliseconds, are decided on the same head and
pushed as one commit, so that whoever follows the branch never sees half of a version set. When somebody pushed in between,
all of it is decided anew on the new head. Where the repository refuses the commit, each target is tried by itself: a hook may mind
one of them only.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec
from dulwich.objects import ObjectID
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ctrlplane_stream.actuators.gitops.clone import Clone
from ctrlplane_stream.actuators.gitops.history import History
from ctrlplane_stream.actuators.gitops.intake import Change
from ctrlplane_stream.actuators.gitops.memory import MemoryUnreadable, Told, message
from ctrlplane_stream.actuators.gitops.placement import GitPlace, Repository
from ctrlplane_stream.actuators.gitops.remote import BranchMoved, PushRefused, Remote
from ctrlplane_stream.actuators.gitops.sight import GitSight, read_git_sight
from ctrlplane_stream.actuators.gitops.yaml_text import FieldTrouble, with_value
from ctrlplane_stream.actuators.ledger import Refusal
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.model.identity import Target

log = logging.getLogger(__name__)
_TRIES = 8
"""Looks at a branch that keeps moving, in one call; with the backoff about five seconds."""
_TOGETHER_SECONDS = 0.02
"""So long the first of several is waited with for the others; a push takes several times as long."""
_FOREVER = float("inf")
_Result = TypeVar("_Result")
Decide = Callable[[GitSight], Change | Refusal]
Done = tuple[GitSight, Change | Refusal]
"""What is there afterwards, and what was decided."""


class Wish(msgspec.Struct, frozen=True):
    """A change of one target, to be decided on what is there."""

    target: Target
    place: GitPlace
    decide: Decide


_Waiting = list[tuple[Wish, "asyncio.Future[Done]"]]


class Desk:
    """Worked on by one thread, so that calls that were given up cannot overlap."""

    def __init__(self, repository: Repository, folder: Path, token: str) -> None:
        self._repository, self._folder, self._token = repository, folder, token
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gitops")
        self._open: tuple[Clone, History] | None = None
        self._gathering: dict[str, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def work(self, doing: Callable[[Clone, History], _Result]) -> _Result:
        """Do this on the desk's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, doing)

    async def change(self, wish: Wish, together: str | None) -> Done:
        """Decide and commit, with whatever else comes at once under the same name. Raises as ``Clone.push`` does, and MemoryUnreadable."""
        waiting = self._gathering.get(together) if together is not None else None
        if together is None or (waiting is not None and any(each.target == wish.target for each, _ in waiting)):
            return _result((await self._commit([wish]))[0])
        if waiting is None:
            waiting = self._gathering[together] = []
            task = asyncio.create_task(self._gathered(together))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        ended: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        waiting.append((wish, ended))
        return await ended

    def close(self) -> None:
        """End the thread, once what it does now is done."""
        self._thread.submit(self._let_go)
        self._thread.shutdown(wait=False)

    async def _gathered(self, together: str) -> None:
        """Commit what has come under that name; who was given up meanwhile is left out."""
        try:
            await asyncio.sleep(_TOGETHER_SECONDS)
        finally:
            waiting = [(wish, ended) for wish, ended in self._gathering.pop(together) if not ended.done()]
        try:
            ends = await self._commit([wish for wish, _ in waiting])
        except Exception as error:
            ends = [error for _ in waiting]
        for (_, ended), end in zip(waiting, ends, strict=True):
            if ended.done():
                continue
            if isinstance(end, Exception):
                ended.set_exception(end)
            else:
                ended.set_result(end)

    async def _commit(self, wishes: Sequence[Wish]) -> list[Done | Exception]:
        """How each ended, in their order. Again for as long as others push in between."""
        tries = AsyncRetrying(
            stop=stop_after_attempt(_TRIES),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            retry=retry_if_exception_type(BranchMoved),
        )
        try:
            return await tries(self.work, lambda clone, history: _commit_once(clone, history, wishes))
        except RetryError as error:
            repository = self._repository
            raise WorldUnreachable(f"{repository.branch} of {repository.url} keeps moving: others push all the time") from error
        except PushRefused as error:
            return [error] if len(wishes) == 1 else [(await self._commit([wish]))[0] for wish in wishes]

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

    def _let_go(self) -> None:
        if self._open is not None:
            self._open[0].close()


def _result(end: Done | Exception) -> Done:
    if isinstance(end, Exception):
        raise end
    return end


def _commit_once(clone: Clone, history: History, wishes: Sequence[Wish]) -> list[Done | Exception]:
    """Decide all on the branch's head, and push one commit of those that change something."""
    head, files = clone.head(), dict[str, str]()
    ends = [_decided(clone, history, wish, files) for wish in wishes]
    changes = {number: end[1] for number, end in enumerate(ends) if not isinstance(end, Exception) and isinstance(end[1], Change)}
    if changes:
        clone.push(head, files, message([_told(wishes[number], change) for number, change in changes.items()]))
    for number, change in changes.items():
        wish = wishes[number]
        ends[number] = read_git_sight(clone, history, wish.target, wish.place, _FOREVER), change
    return ends


def _decided(clone: Clone, history: History, wish: Wish, files: dict[str, str]) -> Done | Exception:
    """What is there and what becomes of it; ``files`` gets the new texts."""
    try:
        sight = read_git_sight(clone, history, wish.target, wish.place, _FOREVER)
        change = wish.decide(sight)
        if isinstance(change, Change):
            files |= _files(clone, sight.head, wish.place, change, files)
    except (MemoryUnreadable, FieldTrouble) as error:
        return error
    return sight, change


def _told(wish: Wish, change: Change) -> Told:
    return Told(wish.target, change.memory, change.subject, change.story, change.serving)


def _files(clone: Clone, head: ObjectID, place: GitPlace, change: Change, before: dict[str, str]) -> dict[str, str]:
    """File → its new text; ``before``: what others have changed already. Raises FieldTrouble, with the file's name."""
    files: dict[str, str] = {}
    for field in place.fields:
        if str(field) not in change.values:
            continue
        try:
            text = files.get(field.file) or before.get(field.file) or clone.text(head, field.file)
            files[field.file] = with_value(text, field.where, change.values[str(field)])
        except FieldTrouble as error:
            raise FieldTrouble(f"{field.file} {error}") from error
    return files
