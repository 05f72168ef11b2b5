"""The machine room: every target with its room, every service with its router, and what of it is on disk."""

import asyncio
import os
from collections.abc import Callable

import msgspec

from ctrlplane_stream.actuators.host_api import Taking
from ctrlplane_stream.actuators.ledger import Ledger, Refusal
from ctrlplane_stream.actuators.ledger_file import LedgerFolder, read_file
from ctrlplane_stream.local.host.instance import Instance
from ctrlplane_stream.local.host.room import Room
from ctrlplane_stream.local.host.router import Router
from ctrlplane_stream.local.host.settings import HostSettings
from ctrlplane_stream.local.host.surroundings import Role
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.world import TargetObserved


class Host:
    """Services as processes. ``start`` goes on with whatever the folder remembers; ``stop`` ends every process."""

    def __init__(self, settings: HostSettings) -> None:
        self._settings = settings
        self._ledgers = LedgerFolder(settings.folder / "targets")
        self._rooms: dict[Target, Room] = {}
        self._routers: dict[Target, Router] = {}

    async def start(self) -> None:
        """Open routers on their former ports, then the rooms: an instance is told all routes when it starts."""
        for target, port in self._former_ports().items():
            await self._open_router(target, port)
        for target, ledger in self._ledgers.load().items():
            if ledger.wanted is not None:
                await self._open_room(target, ledger.wanted.kind, ledger)

    async def stop(self) -> None:
        """End every process and every router."""
        await asyncio.gather(*(router.stop() for router in self._routers.values()))
        await asyncio.gather(*(room.close() for room in self._rooms.values()))

    def room(self, target: Target) -> Room | None:
        """The room of a target, or None where it was never commanded."""
        return self._rooms.get(target)

    def observe(self, target: Target) -> TargetObserved:
        """The target as it is; empty where there is nothing of it."""
        room = self._rooms.get(target)
        return TargetObserved(target, ()) if room is None else room.observe()

    async def take(self, taking: Taking) -> Refusal | None:
        """Take a command, or say why not."""
        command = taking.command
        room = self._rooms.get(command.target) or await self._open_room(command.target, command.wanted.kind, Ledger())
        return room.take(taking)

    async def reserve(self, target: Target) -> str:
        """The URL of the target's router, opened now where there is none."""
        return (await self._open_router(target)).url

    def routes(self) -> dict[str, dict[str, str]]:
        """Environment → service → URL of its router."""
        found: dict[str, dict[str, str]] = {}
        for target, router in sorted(self._routers.items()):
            found.setdefault(target.environment, {})[target.service] = router.url
        return found

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Target → version label → ``passed`` or the status that the router answered itself → requests."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for target, router in sorted(self._routers.items()):
            for (label, status), count in sorted(router.counts.items()):
                found.setdefault(str(target), {}).setdefault(label, {})[str(status) if status else "passed"] = count
        return found

    async def _open_room(self, target: Target, kind: ServiceKind, ledger: Ledger) -> Room:
        router = await self._open_router(target) if kind is not ServiceKind.JOB else None
        if target not in self._rooms:
            self._rooms[target] = Room(
                target,
                kind,
                ledger,
                router=router,
                routes=lambda: self.routes().get(target.environment, {}),
                settings=self._settings,
                save=self._ledgers.save,
                recruit=self._recruit,
            )
        return self._rooms[target]

    async def _open_router(self, target: Target, port: int = 0) -> Router:
        if target not in self._routers:
            router = Router(target.service, response_seconds=self._settings.response_seconds)
            await router.start(port)
            if target in self._routers:
                await router.stop()
            else:
                self._routers[target] = router
                self._keep_ports()
        return self._routers[target]

    def _recruit(self, role: Role, changed: Callable[[], None]) -> Instance:
        return Instance(role, self._settings, lambda: (self.routes().get(role.target.environment, {}), os.environ), changed)

    def _former_ports(self) -> dict[Target, int]:
        path = self._settings.folder / "ports.json"
        if not path.exists():
            return {}
        return dict(read_file(path, list[tuple[Target, int]], "the ports of all routers"))

    def _keep_ports(self) -> None:
        path = self._settings.folder / "ports.json"
        scratch = path.with_suffix(".tmp")
        scratch.write_bytes(msgspec.json.encode([(target, router.port) for target, router in sorted(self._routers.items())]))
        scratch.replace(path)
