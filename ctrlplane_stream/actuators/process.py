"""The process actuator: services as processes on this machine, by way of the host that owns them (``local/host/``).

The host outlives workers; this is its client. What the host refuses is an outcome with the host's reason; a host
that does not answer is WorldUnreachable after a few quick tries, and whoever called decides how long to go on.
"""

import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from yarl import URL

from ctrlplane_stream.actuators.by_hand import HandRefused
from ctrlplane_stream.actuators.host_api import Answer, BreakGlass, HandEdit, Taking, route_path, target_path
from ctrlplane_stream.actuators.port import Outcome, WorldUnreachable
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Cursor, TargetObserved
from ctrlplane_stream.wire.json_words import WrongJson, read_json

_Word = TypeVar("_Word")
_TRIES = 3
_REQUEST_SECONDS = 5.0


class ProcessHost:
    """The actuator and the hand verbs over one host's URL. Use it as ``async with``, or call ``close``."""

    name = "process"

    def __init__(self, url: str, *, request_seconds: float = _REQUEST_SECONDS, tries: int = _TRIES) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=request_seconds)
        self._tries = tries
        self._session: aiohttp.ClientSession | None = None

    async def observe(self, target: Target) -> TargetObserved:
        """See the port."""
        status, body = await self._ask("GET", target_path(target))
        return self._read(status, body, TargetObserved)

    async def apply(self, command: Command, cursor: Cursor) -> Outcome:
        """See the port."""
        status, body = await self._ask("PUT", target_path(command.target), Taking(command, cursor))
        answer = self._read(status, body, Answer)
        taken = status == 200 or answer.in_place
        return Outcome(OutcomeStatus.APPLIED if taken else OutcomeStatus.REFUSED, answer.reason, answer.observed)

    async def edit(self, target: Target, weights: Mapping[str, int], who: str, why: str) -> TargetObserved:
        """See ``ByHand``."""
        return await self._by_hand(target, "hand-edit", HandEdit(dict(weights), who, why))

    async def release(self, target: Target) -> TargetObserved:
        """See ``ByHand``."""
        return await self._by_hand(target, "release", {})

    async def break_glass(self, target: Target, who: str, why: str) -> TargetObserved:
        """See ``ByHand``."""
        return await self._by_hand(target, "break-glass", BreakGlass(who, why))

    async def routes(self, environment: str) -> dict[str, str]:
        """Service → URL of its router, of one environment. WorldUnreachable."""
        status, body = await self._ask("GET", "/routes")
        return self._read(status, body, dict[str, dict[str, str]]).get(environment, {})

    async def reserve(self, target: Target) -> str:
        """The URL of the target's router, made now where there is none, so that others can be told of it before it runs."""
        status, body = await self._ask("PUT", route_path(target), {})
        return self._read(status, body, str)

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _by_hand(self, target: Target, verb: str, word: object) -> TargetObserved:
        status, body = await self._ask("POST", target_path(target, verb), word)
        if status == 200:
            return self._read(status, body, TargetObserved)
        raise HandRefused(self._read(status, body, Answer).reason)

    async def _ask(self, method: str, path: str, word: object = None) -> tuple[int, bytes]:
        """Status and body of the host's answer, after a few tries. Every request may be repeated: the cursor sees to that."""
        tries = AsyncRetrying(
            stop=stop_after_attempt(self._tries),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            retry=retry_if_exception_type((aiohttp.ClientError, TimeoutError)),
        )
        try:
            return await tries(self._ask_once, method, path, word)
        except RetryError as error:
            cause = error.last_attempt.exception()
            raise WorldUnreachable(
                f"the process host at {self._url} does not answer ({str(cause) or repr(cause)}): is `ctrlplane-stream host` running?"
            ) from cause

    async def _ask_once(self, method: str, path: str, word: object) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        body = None if word is None else msgspec.json.encode(word)
        url = URL(self._url + path, encoded=True)
        async with self._session.request(method, url, data=body, headers={"Content-Type": "application/json"}) as response:
            return response.status, await response.read()

    def _read(self, status: int, body: bytes, word: type[_Word]) -> _Word:
        """The word in the answer; WorldUnreachable where the host answered something that it never answers."""
        if status in (200, 400, 404, 409):
            with contextlib.suppress(WrongJson):
                return read_json(body, word)
        said = body[:200].decode(errors="replace")
        raise WorldUnreachable(f"{self._url} answered {status} {said!r}: is it the process host of this version?")
