"""The host's HTTP interface: the requests of ``actuators/host_api.py``, each a few lines over ``Host``."""

from typing import TypeVar

import msgspec
from aiohttp import web

from ctrlplane_stream.actuators.host_api import Answer, BreakGlass, HandEdit, Taking
from ctrlplane_stream.actuators.ledger import Refusal
from ctrlplane_stream.local.host.host import Host
from ctrlplane_stream.local.host.room import Room
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.wire.json_words import WrongJson, read_json

_Word = TypeVar("_Word")
_TARGET = "/targets/{environment}/{service}"


class HostApi:
    """Handlers over one host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def application(self) -> web.Application:
        """The routes, as an aiohttp application."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/routes", self._routes),
                web.get("/counts", self._counts),
                web.put("/routes/{environment}/{service}", self._reserve),
                web.get(_TARGET, self._observe),
                web.put(_TARGET, self._take),
                web.get(f"{_TARGET}/pids", self._pids),
                web.post(f"{_TARGET}/hand-edit", self._edit),
                web.post(f"{_TARGET}/release", self._release),
                web.post(f"{_TARGET}/break-glass", self._break_glass),
            ]
        )
        return app

    async def _healthz(self, request: web.Request) -> web.Response:
        return _json("ok")

    async def _routes(self, request: web.Request) -> web.Response:
        return _json(self._host.routes())

    async def _counts(self, request: web.Request) -> web.Response:
        return _json(self._host.counts())

    async def _reserve(self, request: web.Request) -> web.Response:
        await _body(request, dict[str, str])
        return _json(await self._host.reserve(_target(request)))

    async def _observe(self, request: web.Request) -> web.Response:
        return _json(self._host.observe(_target(request)))

    async def _pids(self, request: web.Request) -> web.Response:
        room = self._host.room(_target(request))
        return _json(room.pids() if room is not None else {})

    async def _take(self, request: web.Request) -> web.Response:
        taking, target = await _body(request, Taking), _target(request)
        if taking.command.target != target:
            raise _bad(f"the command is for {taking.command.target}, the path for {target}")
        refusal = await self._host.take(taking)
        observed = self._host.observe(target)
        if refusal is not None:
            return _json(Answer(refusal.reason, refusal.in_place, observed), 409)
        return _json(Answer("taken", observed=observed))

    async def _edit(self, request: web.Request) -> web.Response:
        wish = await _body(request, HandEdit)
        return self._by_hand(request, self._room(request).edit(wish))

    async def _release(self, request: web.Request) -> web.Response:
        await _body(request, dict[str, str])
        return self._by_hand(request, self._room(request).release())

    async def _break_glass(self, request: web.Request) -> web.Response:
        wish = await _body(request, BreakGlass)
        return self._by_hand(request, self._room(request).break_glass(wish))

    def _room(self, request: web.Request) -> Room:
        room = self._host.room(_target(request))
        if room is None:
            body = msgspec.json.encode(Answer(f"there is nothing of {_target(request)} here"))
            raise web.HTTPNotFound(body=body, content_type="application/json")
        return room

    def _by_hand(self, request: web.Request, refusal: Refusal | None) -> web.Response:
        if refusal is not None:
            return _json(Answer(refusal.reason), 409)
        return _json(self._host.observe(_target(request)))


def _target(request: web.Request) -> Target:
    return Target(request.match_info["environment"], request.match_info["service"])


async def _body(request: web.Request, word: type[_Word]) -> _Word:
    if request.content_type != "application/json":
        raise _bad("the body must be application/json")
    try:
        return read_json(await request.read() or b"{}", word)
    except WrongJson as error:
        raise _bad(str(error)) from error


def _bad(reason: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(body=msgspec.json.encode(Answer(reason)), content_type="application/json")


def _json(word: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(word), status=status, content_type="application/json")
