"""The instances of one version: as many as wanted, replaced never, drained when there are too many."""

import asyncio
from collections.abc import Callable

from ctrlplane_stream.actuators.observing import Counted
from ctrlplane_stream.ending import end_tasks
from ctrlplane_stream.local.host.backend import Backend
from ctrlplane_stream.local.host.instance import Instance


class Crew:
    """Instances that all play the same role. ``make`` builds one that is not started yet."""

    def __init__(self, make: Callable[[], Instance]) -> None:
        self._make = make
        self._instances: list[Instance] = []
        self._leaving: dict[asyncio.Task[None], Instance] = {}

    @property
    def size(self) -> int:
        """Instances that are to run: those on their way out do not count."""
        return len(self._instances)

    @property
    def leaving(self) -> bool:
        """Whether an instance is still on its way out."""
        return bool(self._leaving)

    @property
    def ready(self) -> int:
        """Instances that are ready."""
        return sum(instance.ready for instance in self._instances)

    @property
    def empty(self) -> bool:
        """Whether nothing runs any more, not even on its way out."""
        return not self._instances and not self._leaving

    def counted(self) -> Counted:
        """The crew as an observation has it."""
        failures = [instance.failure for instance in self._instances if instance.failure is not None]
        return Counted(self.size, self.ready, failures[0] if failures else None)

    def backends(self) -> list[Backend]:
        """Where requests may go."""
        return [instance.backend for instance in self._instances if instance.ready]

    def pids(self) -> list[int]:
        """Process ids of the instances that run."""
        return [instance.pid for instance in self._instances if instance.pid is not None]

    def grow(self, size: int) -> None:
        """Start instances until there are so many."""
        while self.size < size:
            instance = self._make()
            self._instances.append(instance)
            instance.start()

    def shrink(self, size: int) -> None:
        """Let the youngest go, drained, until so many are left. Steer traffic away first."""
        while self.size > size:
            instance = self._instances.pop()
            task = asyncio.create_task(instance.stop())
            self._leaving[task] = instance
            task.add_done_callback(self._leaving.pop)

    async def end(self) -> None:
        """End all instances at once, without waiting for requests."""
        instances = [*self._instances, *self._leaving.values()]
        self._instances = []
        await end_tasks(self._leaving)
        await asyncio.gather(*(instance.end() for instance in instances))
