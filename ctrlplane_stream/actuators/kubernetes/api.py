"""A thin REST client for one API server: the few verbs that we need, with what can happen to them as values of the type system.

Every request may be sent twice: reads change nothing, creations and guarded patches say by ``Conflict`` that somebody
was there first, who may have been ourselves. So lost answers, throttling and server errors are tried again a few
times, with jittered backoff; then it is WorldUnreachable, and the caller's own patience rules.
"""

import math
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec
from tenacity import AsyncRetrying, RetryCallState, RetryError, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ctrlplane_stream.actuators.kubernetes.objects import MANAGER, Kind, Manifest
from ctrlplane_stream.actuators.kubernetes.revisions import Revisions
from ctrlplane_stream.actuators.kubernetes.transport import (
    WATCH_SECONDS,
    ApiRefused,
    Expired,
    FieldsTaken,
    Reply,
    Request,
    Transport,
    fields_taken,
    message_of,
)
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.wire.json_words import WrongJson, read_json

T = TypeVar("T")

_JSON_PATCH = "application/json-patch+json"
_APPLY = "application/apply-patch+yaml"
_TRIES = 4
_AGAIN = (429, 500, 502, 503, 504)
_JUST_BACK_SECONDS = 30.0
"""A server that has just started forbids everything (403) until it has read who may do what: so long after a connection was lost that is
not its last word."""
_LOST = (aiohttp.ClientError, OSError, TimeoutError)


class Conflict(Exception):
    """Somebody changed the object since it was read, or made it first: read again and decide again."""


class _TryAgain(Exception):
    """The answer was lost or puts us off, for ``seconds`` at least; carries what to say where it stays so."""

    def __init__(self, said: str, seconds: float = 0.0) -> None:
        super().__init__(said)
        self.seconds = seconds


class Event(msgspec.Struct, frozen=True):
    """One line of a watch."""

    type: str
    object: Manifest


class Cluster:
    """The verbs, over a transport. Use it as ``async with``, or call ``close``.

    All raise WorldUnreachable where the server stays silent, or our credentials are not (any more) good, and
    ApiRefused where it will not (403, 422 …).
    """

    def __init__(
        self,
        transport: Transport,
        name: str = "the API server",
        *,
        backoff_seconds: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._name = name
        self._backoff = backoff_seconds
        self._clock = clock
        self._lost_at = -math.inf
        self.revisions = Revisions()

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """The object, or None where there is none; never an older state of it than was seen or written here before."""
        return await self.read(kind.path(namespace, name))

    async def read(self, path: str) -> Manifest | None:
        """What is at a path, an object or a list of any kind; None where nothing is, or the kind is not known."""
        reply = await self._ask(Request("GET", path), absent_ok=True)
        return None if reply.status == 404 else self._manifest(reply)

    async def select(self, kind: Kind, namespace: str, selector: str = "", *, since: int | None = None) -> tuple[tuple[Manifest, ...], str]:
        """The objects that the label selector chooses, in the order of their names, and the revision of the list.

        The newest there is; with ``since`` any that is not older than that revision, which the server has at hand.
        """
        query = {"labelSelector": selector} if selector else {}
        query |= {} if since is None else {"resourceVersion": str(since), "resourceVersionMatch": "NotOlderThan"}
        found = self._manifest(await self._ask(Request("GET", kind.path(namespace), query)))
        items = sorted(found.get("items") or [], key=lambda item: str(item["metadata"]["name"]))
        revision = str(found["metadata"]["resourceVersion"])
        self.revisions.listed(kind, namespace, int(revision))
        return tuple(items), revision

    async def serves(self, kind: Kind) -> bool:
        """Whether the cluster knows this kind at all: Gateway API is an addition that not every cluster has."""
        reply = await self._ask(Request("GET", kind.path("").rpartition("/")[0]), absent_ok=True)
        if reply.status == 404:
            return False
        return any(each["kind"] == kind.manifest_kind for each in self._manifest(reply).get("resources") or [])

    async def own_rules(self, namespace: str) -> tuple[tuple[Manifest, ...], bool]:
        """What RBAC lets us do in a namespace, as rules, and whether these are all: another authorizer may not tell."""
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        found = self._manifest(await self._ask(Request("POST", path, {}, body)))["status"]
        return tuple(found.get("resourceRules") or []), not found.get("incomplete")

    async def create(self, kind: Kind, namespace: str, manifest: Manifest) -> Manifest:
        """The object as made; Conflict where one of that name is there."""
        query = {"fieldManager": MANAGER}
        return self._wrote(kind, namespace, await self._ask(Request("POST", kind.path(namespace), query, manifest)))

    async def apply(self, kind: Kind, namespace: str, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """The object after a server-side apply as our field manager, never by force; FieldsTaken where another has set a field of it."""
        query = {"fieldManager": MANAGER, "force": "false"} | ({"dryRun": "All"} if dry_run else {})
        path = kind.path(namespace, str(manifest["metadata"]["name"]))
        reply = await self._ask(Request("PATCH", path, query, manifest, _APPLY))
        return self._manifest(reply) if dry_run else self._wrote(kind, namespace, reply)

    async def replace(self, kind: Kind, namespace: str, manifest: Manifest) -> Manifest:
        """The object after replacing the revision that the manifest names; Conflict where that is not the latest."""
        path = kind.path(namespace, str(manifest["metadata"]["name"]))
        return self._wrote(kind, namespace, await self._ask(Request("PUT", path, {"fieldManager": MANAGER}, manifest)))

    async def patch(self, kind: Kind, namespace: str, name: str, operations: list[Manifest]) -> Manifest:
        """The object after a JSON patch, all or nothing; Conflict where one of its ``test`` operations does not hold."""
        request = Request("PATCH", kind.path(namespace, name), {"fieldManager": MANAGER}, operations, _JSON_PATCH)
        return self._wrote(kind, namespace, await self._ask(request))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str, revision: str) -> None:
        """Delete just this object at just this revision, and what it owns after it; gone already is done. Conflict."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid, "resourceVersion": revision}}
        await self._ask(Request("DELETE", kind.path(namespace, name), {}, body), absent_ok=True)

    async def watch(self, kind: Kind, namespace: str, selector: str, revision: str) -> AsyncIterator[Event]:
        """What happens after ``revision``, from an event OPENED until the server ends the watch.

        Raises Expired, WorldUnreachable, and whatever a lost connection raises.
        """
        query = {"watch": "1", "resourceVersion": revision, "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        query |= {"labelSelector": selector} if selector else {}
        try:
            async for line in self._transport.lines(Request("GET", kind.path(namespace), query)):
                event = self._read(line, Event) if line else Event("OPENED", {})
                if event.type == "ERROR":
                    raise Expired(str(event.object.get("message")))
                yield event
        except _LOST:
            self._lost_at = self._clock()
            raise

    async def close(self) -> None:
        """Let go of connections; a later call opens new ones."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def _manifest(self, reply: Reply) -> Manifest:
        return self._read(reply.body, dict[str, Any])

    def _read(self, body: bytes, word: type[T]) -> T:
        """Raises WorldUnreachable where something else answers in the server's place."""
        try:
            return read_json(body, word)
        except WrongJson as error:
            said = body[:200].decode(errors="replace")
            raise WorldUnreachable(f"{self._name} answered {said!r}, which is no object of Kubernetes ({error})") from error

    def _wrote(self, kind: Kind, namespace: str, reply: Reply) -> Manifest:
        manifest = self._manifest(reply)
        self.revisions.wrote(kind, namespace, manifest)
        return manifest

    async def _ask(self, request: Request, *, absent_ok: bool = False) -> Reply:
        tries = AsyncRetrying(
            stop=stop_after_attempt(_TRIES),
            wait=lambda state: wait_random_exponential(multiplier=self._backoff, max=2.0)(state) + _asked_to_wait(state),
            retry=retry_if_exception_type(_TryAgain),
        )
        try:
            return await tries(self._ask_once, request, absent_ok)
        except RetryError as error:
            cause = error.last_attempt.exception()
            raise WorldUnreachable(f"{self._name} does not answer {request.method} {request.path}: {cause}") from cause

    async def _ask_once(self, request: Request, absent_ok: bool) -> Reply:
        try:
            reply = await self._transport.send(request)
        except _LOST as error:
            self._lost_at = self._clock()
            raise _TryAgain(repr(error)) from error
        is_object = reply.status < 300 and request.method == "GET" and not request.query
        if is_object and self.revisions.is_older(request.path, self._manifest(reply)):
            raise _TryAgain("it answers with an older state than it told before")
        if reply.status < 300 or (absent_ok and reply.status == 404):
            return reply
        said = message_of(reply)
        if reply.status in _AGAIN or (reply.status == 403 and self._clock() - self._lost_at < _JUST_BACK_SECONDS):
            raise _TryAgain(f"{reply.status}: {said}", reply.retry_after_seconds)
        if reply.status == 401:
            raise WorldUnreachable(f"{self._name} does not know our credentials (401): renew the token or the kubeconfig")
        if fields_taken(reply):
            raise FieldsTaken(f"{request.path}: {said}")
        if reply.status == 409 or _test_failed(request, reply.status, said):
            raise Conflict(said)
        raise ApiRefused(f"{self._name} refused {request.method} {request.path} ({reply.status}): {said}")


def _asked_to_wait(state: RetryCallState) -> float:
    """What the server asked for by its last answer; the backoff is added to it, so that not all come back at once."""
    failed = state.outcome.exception() if state.outcome is not None else None
    return failed.seconds if isinstance(failed, _TryAgain) else 0.0


def _test_failed(request: Request, status: int, said: str) -> bool:
    """A ``test`` that does not hold is 422 with just these words, whatever else 422 may mean; an absent object 404."""
    if request.content != _JSON_PATCH:
        return False
    return status == 404 or (
        status == 422 and ("test failed" in said or "testing value" in said or "the server rejected our request" in said)
    )
