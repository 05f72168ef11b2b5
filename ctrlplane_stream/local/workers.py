"""Workers as child processes, told by its environment what the settings say: for tests, measurements and whoever embeds one."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ctrlplane_stream.local.processes import ChildFailed, ChildProcess
from ctrlplane_stream.settings import Settings


def start_worker(settings: Settings, role: str, log: Path, environ: Mapping[str, str] | None = None) -> ChildProcess:
    """A worker of this role, as a user starts it: it runs from now on and may take seconds until it has its partitions.

    ``environ`` comes on top of our own environment and of what the settings say.
    """
    command = [sys.executable, "-m", "ctrlplane_stream", "worker", "--role", role]
    name = f"{role} {settings.instance}".strip()
    return ChildProcess(name, command, log=log, environ={**os.environ, **settings.variables(), **(environ or {})})


class Workers:
    """Workers by name, each a static member, as a supervisor would keep them; they can be killed."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.children: dict[str, ChildProcess] = {}

    def start(self, settings: Settings, role: str, name: str) -> ChildProcess:
        """Start a worker of this name."""
        told = msgspec.structs.replace(settings, instance=name)
        child = self.children[name] = start_worker(told, role, self._logs / f"{role}-{name}.log")
        return child

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.children.pop(name).kill()

    def check(self) -> None:
        """Raises ChildFailed, with its last lines, where one has ended by itself."""
        for name, child in self.children.items():
            if not child.running:
                raise ChildFailed(f"worker {name} ended with status {child.returncode}\n{child.log_tail()}")

    def tails(self) -> str:
        """The last lines of all."""
        return "\n".join(child.log_tail() for child in self.children.values())
