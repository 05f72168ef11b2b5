"""One trace: finds for each callee who called it, and for each caller whether anybody answered.

The rules, each with its reason:

- The caller of a server or consumer is the nearest *remote* ancestor: local spans of the same service between are stepped
  over, because a call may be made from deep inside a handler.
- A server directly below a server or consumer of its own service is the same request seen by two instrumentations.
- The ancestor may have local spans of its own below its client (an attempt, a send): they are stepped over too, as far as they
  are of one service, and the client around them is the caller.
- A remote ancestor that is no client (an uninstrumented client library, a client that was lost) still is the caller.
- A client that shares its span id with a server (B3's shared spans) is that server's caller.
- A client below which another client of the same service lies is a wrapper (a mapper over a driver): the inner one calls. Where it
  names a service of ours, a client inside may look up its name or fetch a token: then the inner one has to have called that service, or
  to have ended no better than the outer one by a call of ours, to be the call itself. Of clients whose parents lead back to themselves
  none is a wrapper.
  A producer is not wrapped by the client that carries its message to the broker: the message is consumed all the same.
- A consumer that only fetched is one where its parent is a producer (instrumentations that have no other span), and local where
  its parent is: there the spans below it process what it fetched. The links of such a span count last of all, for
  producers that no processing span of its service answered.
- Halves come in any order: what waits for a span that is not there is kept under that span's id.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import takewhile

import msgspec

from ctrlplane_stream.telemetry.half import CALLEES, CALLERS, NO_PARENT, Half, Kind

DEEPEST = 256
"""Local spans stepped over before a chain is called a loop."""


class NoCaller(Enum):
    """Why a callee has no caller, once and for all."""

    ROOT = "root"
    NESTED = "nested"
    LOOP = "loop"


class Found(msgspec.Struct, frozen=True, gc=False):
    """The caller of a callee; ``window`` is the latest of all the spans that prove it."""

    caller: Half
    window: int


class Missing(msgspec.Struct, frozen=True, gc=False):
    """The search stopped at a span that is not there (yet); ``local`` as in :class:`Search`."""

    span: bytes
    depth: int
    window: int
    local: Half | None = None


class Search(msgspec.Struct, frozen=True, gc=False):
    """A half looking for its remote ancestor, and how far it got.

    ``local`` is the first local span of another service above it: its service calls, and what is looked for is its client.
    """

    half: Half
    at: bytes
    depth: int
    window: int
    local: Half | None = None

    @property
    def without_more(self) -> Found | None:
        """The caller as far as it is known, where what the search waits for never comes."""
        return None if self.local is None else Found(self.local, self.window)


class Counted(msgspec.Struct, frozen=True, gc=False):
    """What an unanswered caller was counted as: a call to a service, and whether it failed."""

    service: str
    failed: bool


@dataclass(slots=True)
class Trace:
    """The visible halves of a trace and what has been settled about them.

    ``first_offset`` is the oldest record that any of them came from, ``last_window`` the latest window of any.
    ``waiting`` holds searches by the id they miss, ``unsettled`` the same searches by whose they are. ``open_callers`` are those that
    nobody answered and nothing was counted for, ``answered`` the others with who did; ``counted`` those that were counted as a call to a
    service of ours, whose answer therefore adds no call, and whether they failed; ``possible`` names the service to which a call failed
    that nobody answered, counted or not. ``wrapped`` are callers around others, with those; ``fetched`` link copies of consumers that
    only fetched, ``consumed`` who consumed what.
    Dictionaries serve as sets: an empty one takes a third of the memory, and there are many traces of one span.
    """

    first_offset: int
    first_window: int
    last_window: int
    callees: dict[bytes, Half] = field(default_factory=dict)
    others: dict[bytes, Half] = field(default_factory=dict)
    copies: dict[tuple[bytes, bytes], Half] = field(default_factory=dict)
    waiting: dict[bytes, list[Search]] = field(default_factory=dict)
    unsettled: dict[tuple[bytes, bytes, bool], Search] = field(default_factory=dict)
    open_callers: dict[bytes, Half] = field(default_factory=dict)
    answered: dict[bytes, tuple[str, ...]] = field(default_factory=dict)
    counted: dict[bytes, Counted] = field(default_factory=dict)
    possible: dict[bytes, str] = field(default_factory=dict)
    wrapped: dict[bytes, list[Half]] = field(default_factory=dict)
    fetched: list[Half] = field(default_factory=list)
    consumed: dict[tuple[bytes, str], None] = field(default_factory=dict)
    entered: bool = False

    @property
    def size(self) -> int:
        """Halves held."""
        return len(self.callees) + len(self.others) + len(self.copies)

    def wait(self, search: Search, missing: Missing) -> None:
        """Keep a search until the missing span comes."""
        onward = Search(search.half, missing.span, missing.depth, missing.window, missing.local)
        self.waiting.setdefault(missing.span, []).append(onward)
        self.unsettled[identity(search.half)] = onward

    def woken(self, half: Half) -> list[Search]:
        """The searches that a half which has come sets going again, each once."""
        searches = self.waiting.pop(half.span, [])
        if half.kind is Kind.CLIENT and half.span in self.callees:
            shared = self.unsettled.get(identity(self.callees[half.span]))
            searches = searches if shared is None else [*searches, shared]
        return [search for search in searches if self.unsettled.pop(identity(search.half), None) is not None]

    def insert(self, half: Half) -> bool:
        """Hold a half; False where it is there already."""
        if half.link:
            return self.copies.setdefault((half.span, half.parent), half) is half
        slot = self.callees if half.kind in CALLEES else self.others
        return slot.setdefault(half.span, half) is half

    def parent(self, span: bytes) -> Half | None:
        """The span with this id as a parent: of a shared pair, the server's side."""
        return self.callees.get(span) or self.others.get(span)

    def begin(self, half: Half, window: int) -> Search:
        """The search of a half for its caller (a callee) or for the client around it (a caller)."""
        return Search(half, half.parent, 0, window)

    def caller(self, search: Search, window_of: "WindowOf") -> Found | Missing | NoCaller:
        """The client that shares a callee's id, else go up from where its search stands."""
        half = search.half
        shared = self.others.get(half.span) if half.kind is Kind.SERVER and not half.link else None
        if shared is not None and shared.kind is Kind.CLIENT:
            return Found(shared, max(search.window, window_of(shared)))
        return self.caller_above(search, window_of)

    def caller_above(self, search: Search, window_of: "WindowOf") -> Found | Missing | NoCaller:
        """Go up from where a callee's search stands."""
        half, at, local, window = search.half, search.at, search.local, search.window
        for depth in range(search.depth, DEEPEST):
            if at == NO_PARENT:
                return NoCaller.ROOT if local is None else Found(local, window)
            above = self.parent(at)
            if above is None:
                return Missing(at, depth, window, local)
            if local is not None and (above.kind in CALLEES or not same_place(above, local)):
                return Found(local, window)
            if above is half:
                return NoCaller.LOOP
            window = max(window, window_of(above))
            inside = same_place(above, half)
            if above.kind in CALLEES or above.kind in CALLERS:
                nested = inside and (above.kind in CALLEES or (half.receive and above.kind is Kind.CLIENT))
                return NoCaller.NESTED if nested else Found(above, window)
            local = local or (None if inside else above)
            at = above.parent
        return NoCaller.LOOP if local is None else Found(local, window)

    def wrapper(self, search: Search) -> Half | Missing | None:
        """Go up from where a caller's search stands to the caller of the same service around it, or None where there is none."""
        at = search.at
        for depth in range(search.depth, DEEPEST):
            above = None if at == NO_PARENT else self.parent(at)
            if above is None:
                return None if at == NO_PARENT else Missing(at, depth, search.window)
            if above.kind in CALLEES or not same_place(above, search.half):
                return None
            if above.kind in CALLERS:
                return above if above.kind is Kind.CLIENT or search.half.kind is Kind.PRODUCER else None
            at = above.parent
        return None

    def inside(self, wrapper: Half) -> Iterator[Half]:
        """The callers inside a wrapper, also inside each other; of very many some."""
        waiting = [wrapper.span]
        for _ in range(DEEPEST):
            if not waiting:
                return
            for half in self.wrapped.get(waiting.pop(), ()):
                yield half
                waiting.append(half.span)

    def counted_for(self, caller: Half, service: str) -> Counted | None:
        """Take back what a caller that a service answered was counted as before, or a wrapper around it as a call to that service."""
        if (found := self.counted.pop(caller.span, None)) is not None or not self.wrapped:
            return found
        for around in self._around(caller):
            if (found := self.counted.get(around.span)) is not None and found.service == service:
                return self.counted.pop(around.span)
        return None

    def is_wrapper(self, caller: Half) -> bool:
        """Whether callers of its service lie inside a caller."""
        inside = self.wrapped.get(caller.span)
        return inside is not None and caller in self._around(inside[0])

    def _around(self, caller: Half) -> list[Half]:
        """The callers around a caller, the nearest first, up to one whose own parents lead back to it: what is its own ancestor is
        around nobody."""
        chain = {caller.span: caller}
        above = self.wrapper(self.begin(caller, 0))
        while isinstance(above, Half) and above.span not in chain and len(chain) <= DEEPEST:
            chain[above.span] = above
            above = self.wrapper(self.begin(above, 0))
        loop = above.span if isinstance(above, Half) else None
        return list(takewhile(lambda half: half.span != loop, chain.values()))[1:]


def identity(half: Half) -> tuple[bytes, bytes, bool]:
    """What tells the halves of a trace apart: the id, the producer of a copy, and the side."""
    return half.span, half.parent if half.link else b"", half.kind in CALLEES


def same_place(one: Half, other: Half) -> bool:
    """Whether two halves are of one service in one environment."""
    return one.origin.service == other.origin.service and one.origin.environment == other.origin.environment


class WindowOf:
    """The window of a half's end."""

    __slots__ = ("_seconds", "_us")

    def __init__(self, window_ms: int) -> None:
        self._us = window_ms * 1000
        self._seconds = window_ms // 1000

    def __call__(self, half: Half) -> int:
        return half.end_us // self._us * self._seconds
