"""The processes of the demo: how each is started, when it is ready, and that none outlives us.

Every part is the ordinary command that a user would run, on loopback and on free ports.
"""

import http.client
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ctrlplane_stream.local.demo.setting import LATENESS_SECONDS, PAIRING_SECONDS, WINDOW_SECONDS
from ctrlplane_stream.local.processes import ChildProcess, free_port

_START_SECONDS = 40.0


class Parts:
    """Ports, folder and environment of everything that the demo runs, and the children by name.

    ``told`` is what anybody else must be told to reach it. ``shared``: the broker is somebody else's, so topics and groups get a
    prefix of this demo's own, and the ways to reach it (``KAFKA_…``) are taken over. Nothing else of the program's settings is:
    a demo must not write to the Redis of an installation, nor take its port.
    """

    def __init__(
        self, folder: Path, bootstrap: str, partitions: int, *, shared: bool = False, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.folder = folder
        self.host_port, self.intake_http_port, self.intake_grpc_port = free_port(), free_port(), free_port()
        self.told = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "CTRLPLANE_PARTITIONS": str(partitions),
            "CTRLPLANE_WINDOW_SECONDS": str(WINDOW_SECONDS),
            "CTRLPLANE_LATENESS_SECONDS": str(LATENESS_SECONDS),
            "CTRLPLANE_PAIRING_SECONDS": str(PAIRING_SECONDS),
            "CTRLPLANE_HOST_URL": self.host_url,
            **({"CTRLPLANE_TOPIC_PREFIX": f"ctrlplane-demo-{os.getpid()}-"} if shared else {}),
        }
        foreign = ("CTRLPLANE_",) if shared else ("CTRLPLANE_", "KAFKA_")
        kept = {name: value for name, value in environ.items() if not name.startswith(foreign)}
        self.environ = {**kept, **self.told, "CTRLPLANE_INSTANCE": "demo"}
        self._children: dict[str, ChildProcess] = {}

    @property
    def host_url(self) -> str:
        """Where the process host answers."""
        return f"http://127.0.0.1:{self.host_port}"

    @property
    def otlp_endpoint(self) -> str:
        """Where the shop sends its spans."""
        return f"http://127.0.0.1:{self.intake_http_port}"

    def start(
        self, name: str, arguments: Sequence[str], module: str = "ctrlplane_stream", extra: Mapping[str, str] | None = None
    ) -> ChildProcess:
        """Start `python -m module arguments…` under a name; a running child of that name is ended first."""
        self.stop(name)
        command = [sys.executable, "-m", module, *arguments]
        child = ChildProcess(name, command, log=self.folder / f"{name}.log", environ={**self.environ, **(extra or {})})
        self._children[name] = child
        return child

    def start_host(self) -> None:
        """The process host, ready."""
        arguments = ["host", "--folder", str(self.folder / "host"), "--port", str(self.host_port), "--otlp-endpoint", self.otlp_endpoint]
        self.start("host", arguments).wait_ready(lambda: _healthy(self.host_port), _START_SECONDS)

    def start_intake(self) -> None:
        """The OTLP intake, ready."""
        arguments = ["intake", "--http-port", str(self.intake_http_port), "--grpc-port", str(self.intake_grpc_port)]
        self.start("intake", arguments).wait_ready(lambda: _healthy(self.intake_http_port), _START_SECONDS)

    def start_worker(self) -> None:
        """All roles of the worker; what it does is seen on the topics."""
        self.start("worker", ["worker", "--role", "all"])

    def start_load(self, entries: Mapping[str, tuple[float, str]], seconds: float, out: Path) -> None:
        """The load generator: entry to (requests a second, URL)."""
        given = [flag for name, (rate, url) in entries.items() for flag in ("--entry", f"{name}={rate:g}@{url}")]
        self.start("load", [*given, "--seconds", f"{seconds:g}", "--out", str(out)], module="ctrlplane_stream.local.load")

    def stop(self, name: str) -> None:
        """End a part in an orderly way; nothing happens where it does not run."""
        child = self._children.pop(name, None)
        if child is not None:
            child.stop()

    def kill(self, name: str) -> None:
        """End a part and its children with SIGKILL."""
        child = self._children.pop(name, None)
        if child is not None:
            child.kill()

    def stop_all(self) -> None:
        """End everything, the load first and the host last."""
        order = ("load", "worker", "intake", "host")
        for name in (*order, *(n for n in list(self._children) if n not in order)):
            self.stop(name)

    def troubles(self) -> list[str]:
        """A line for each part that ended by itself, with its last words; a load that was served to its end is none."""
        ended = [(name, child) for name, child in self._children.items() if not child.running]
        return [f"{name} ended with status {c.returncode}: {c.log_tail(3)}" for name, c in ended if name != "load" or c.returncode]


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
