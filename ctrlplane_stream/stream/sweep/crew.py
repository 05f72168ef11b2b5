"""The workers of one trial: processes that start at once, die where they are told to, and are started again."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import msgspec

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.sweep.child import Orders, run_child
from ctrlplane_stream.stream.sweep.plans import Boundary

_POLL_SECONDS = 0.1


def children() -> ForkServerContext:
    """Processes that start at once: forked from a clean one that has imported everything and runs no loop."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ctrlplane_stream.stream.roles.engine", "ctrlplane_stream.stream.sweep.child"])
    return context


def end_children() -> None:
    """End the process that workers are forked from; the next trial starts another."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


class Crew:
    """Workers by name. ``kills`` of the plan are handed out in order, one to each worker that is started to die."""

    def __init__(self, settings: Settings, kills: Sequence[tuple[Boundary, int]]) -> None:
        self.starts = 0
        self.build = Orders()
        """What a worker is told that is to live on; another build after an upgrade."""
        self._settings = settings
        self._kills = list(kills)
        self._dying: dict[str, Orders] = {}
        self._context = children()
        self._children: dict[str, ForkServerProcess] = {}

    def start(self, name: str, *, kill: bool = False, orders: Orders | None = None) -> None:
        """Start a worker: with the next kill of the plan, with orders of its own, or to live on."""
        orders = orders or self.build
        if kill and self._kills:
            boundary, nth = self._kills.pop(0)
            orders = msgspec.structs.replace(orders, boundary=boundary, nth=nth)
            self._dying[name] = orders
        settings = msgspec.structs.replace(self._settings, instance=name)
        child = self._context.Process(target=run_child, args=(settings, orders), daemon=False)
        child.start()
        self._children[name] = child
        self.starts += 1

    def kill(self, name: str) -> None:
        """Kill a worker at once, wherever it is."""
        child = self._children[name]
        child.kill()
        child.join()

    async def keep_alive(self, seconds: float) -> None:
        """Let time pass; start again who has died, with the next kill of the plan."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for name, child in self._children.items():
                if child.exitcode is not None:
                    self._dying.pop(name, None)
                    self.start(name, kill=True)
                    break
            await asyncio.sleep(_POLL_SECONDS)

    @property
    def to_die(self) -> int:
        """How many kills of the plan have not happened yet."""
        return len(self._kills) + len(self._dying)

    def try_again(self) -> None:
        """Kill whoever has not died at its boundary yet, and start it again with the same orders."""
        for name, orders in list(self._dying.items()):
            self.kill(name)
            self.start(name, orders=orders)
            self._dying[name] = orders

    def forget_kills(self) -> None:
        """Whoever is started from now on lives on."""
        self._kills.clear()

    def send_to_sleep(self, name: str, boundary: Boundary, nth: int) -> None:
        """Start a worker that falls asleep at a boundary."""
        self.start(name, orders=msgspec.structs.replace(self.build, boundary=boundary, nth=nth, sleeps=True))

    def sleeps(self, name: str) -> bool:
        """Whether a worker was stopped, and neither works nor is dead."""
        return Path(f"/proc/{self._pid(name)}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def wake(self, name: str) -> None:
        """Let a sleeping worker go on where it was."""
        os.kill(self._pid(name), signal.SIGCONT)

    def end(self) -> None:
        """Leave no child behind."""
        for child in self._children.values():
            child.kill()
            child.join()

    def _pid(self, name: str) -> int:
        return self._children[name].pid or 0
