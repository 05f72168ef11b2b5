"""A transport in which one thing goes wrong, at one request, and whose watches lag."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from ctrlplane_stream.actuators.kubernetes.transport import Expired, HttpTransport, Reply, Request
from ctrlplane_stream.local.control_plane.sweep.plans import Fault, Plan
from ctrlplane_stream.local.control_plane.sweep.writes import Tally

Disturb = Callable[[Fault, Request], Awaitable[None]]
"""Does what concerns more than the request: touches its object, restarts the server, lets time jump."""


_DEAF_SECONDS = 0.5
_LOOK_SECONDS = 0.05


class Killed(BaseException):
    """The actuator is dead: nothing catches this but the one who plays."""


class FaultyTransport:
    """Requests over ``inner``; the plan's fault strikes once, at its request, counted over all that share ``tally``."""

    def __init__(self, inner: HttpTransport, plan: Plan, tally: Tally, disturb: Disturb) -> None:
        self._inner = inner
        self._plan = plan
        self._tally = tally
        self._disturb = disturb
        self._earlier: dict[str, Reply] = {}
        self._stale_until = -1
        self._throttled = 0
        self._deaf_until: float | None = None
        self.dead = False
        self.asleep = asyncio.Event()
        self.wake = asyncio.Event()

    async def send(self, request: Request) -> Reply:
        """See ``Transport``."""
        number, reads = self._tally.requests, request.method == "GET"
        if self.dead:
            raise Killed
        spot = self._tally.note(request)
        strikes = spot == self._plan.spot if self._plan.spot is not None else number == self._plan.at
        if strikes:
            await self._before(request, number)
        if self._throttled and not reads:
            self._throttled -= 1
            return Reply(429, b'{"message": "too many requests"}')
        reply = await self._read(request, number) if reads else await self._inner.send(request)
        if strikes:
            self._after()
        return reply

    async def lines(self, request: Request) -> AsyncIterator[bytes]:
        """See ``Transport``."""
        if self.dead:
            raise Killed
        if not self._hears():
            raise ConnectionResetError("nothing is heard")
        begun, coming = self._deaf_until, _Late(self._inner.lines(request), self._plan.lag_seconds)
        try:
            while (line := await self._heard(coming, begun)) is not None:
                if self._hears():
                    yield line
        finally:
            coming.close()

    async def close(self) -> None:
        """See ``Transport``."""
        await self._inner.close()

    def _hears(self) -> bool:
        return self._deaf_until is None or time.monotonic() > self._deaf_until

    async def _heard(self, coming: "_Late", begun: float | None) -> bytes | None:
        """The next line, None at the end; raises Expired after a time in which nothing was heard. ``begun``: until when when it began."""
        line = asyncio.ensure_future(coming.line())
        try:
            while not line.done():
                await asyncio.wait({line}, timeout=_LOOK_SECONDS)
                if begun != self._deaf_until and self._hears():
                    raise Expired("too old resource version")
            return line.result()
        finally:
            line.cancel()

    async def _before(self, request: Request, number: int) -> None:
        match self._plan.fault:
            case Fault.KILLED_BEFORE:
                self.dead = True
                raise Killed
            case Fault.ZOMBIE:
                self.asleep.set()
                await self.wake.wait()
            case Fault.STALE_READS:
                self._stale_until = number + 12 * self._plan.length
            case Fault.MISSED_EVENTS:
                self._deaf_until = time.monotonic() + _DEAF_SECONDS * self._plan.length
            case Fault.THROTTLED:
                self._throttled = self._plan.length
            case Fault.CONFLICT | Fault.RESTART | Fault.LEASE_EXPIRED:
                await self._disturb(self._plan.fault, request)
            case _:
                pass

    def _after(self) -> None:
        if self._plan.fault is Fault.KILLED_AFTER:
            self.dead = True
            raise Killed
        if self._plan.fault is Fault.LOST_ANSWER:
            raise ConnectionResetError("the answer was lost")

    async def _read(self, request: Request, number: int) -> Reply:
        """What the server says now, or said when the reads went stale."""
        chosen = {name: value for name, value in request.query.items() if not name.startswith("resourceVersion")}
        key = f"{request.path}?{chosen}"
        if number < self._stale_until and key in self._earlier:
            return self._earlier[key]
        reply = await self._inner.send(request)
        self._earlier[key] = reply
        return reply


class _Late:
    """Lines, each so much later than it came, however many came meanwhile: a cache that lags behind."""

    def __init__(self, lines: AsyncIterator[bytes], seconds: float) -> None:
        self._seconds = seconds
        self._queue: asyncio.Queue[tuple[float, bytes | Exception | None]] = asyncio.Queue()
        self._hearing = asyncio.create_task(self._hear(lines))

    async def line(self) -> bytes | None:
        """The next line, None at the end; raises what ended them."""
        due, line = await self._queue.get()
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if isinstance(line, Exception):
            raise line
        return line

    def close(self) -> None:
        """Hear no more."""
        self._hearing.cancel()

    async def _hear(self, lines: AsyncIterator[bytes]) -> None:
        end: Exception | None = None
        try:
            async for line in lines:
                self._queue.put_nowait((time.monotonic() + self._seconds, line))
        except Exception as error:
            end = error
        self._queue.put_nowait((time.monotonic() + self._seconds, end))
