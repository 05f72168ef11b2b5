"""A real OpenTelemetry Collector on loopback, built once from pinned Go modules.

For the tests and for measuring against; users run the Collector that they have. ``collector_source/`` is a main of a
few components with its ``go.mod`` and ``go.sum``: Go fetches exactly those modules. Building takes minutes of two cores,
once; the binary (40 MB) is cached, and a running Collector holds about 40 MB.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from ctrlplane_stream.local.cache import Long, cache_folder, cached
from ctrlplane_stream.local.kafka import MissingPart
from ctrlplane_stream.local.processes import ChildFailed, ChildProcess, accepts, free_port
from ctrlplane_stream.local.scratch import scratch_folder

COLLECTOR_VERSION = "0.155.0"
_SOURCE = Path(__file__).parent / "collector_source"
_READY_SECONDS = 30.0
_LONG = Long("an OpenTelemetry Collector from its Go modules", 5)


def missing_parts(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What the Collector lacks on this machine, one line each with its remedy; empty where it can start."""
    if (_place(environ) / "otelcol").exists() or shutil.which("go", path=environ.get("PATH")):
        return []
    return ["go is missing: install Go 1.25 or newer to build the OpenTelemetry Collector"]


def collector_binary(environ: Mapping[str, str] = os.environ) -> Path:
    """The Collector's binary, built on first use; raises MissingPart, or ChildFailed with the compiler's words."""
    missing = missing_parts(environ)
    if missing:
        raise MissingPart("; ".join(missing))
    recipe = b"".join((_SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    return cached(_place(environ), recipe, lambda folder: _build(folder, environ), _LONG) / "otelcol"


class Collector:
    """A Collector from ``with`` to its end, with a configuration file and what its ``${env:…}`` stand for.

    ``OTLP_GRPC_ENDPOINT`` and ``OTLP_HTTP_ENDPOINT`` are set to free loopback ports, which the configuration's receivers
    are expected to use (``ports``: those of a Collector that this one replaces); it is ready when both take connections. Its
    own metrics are off.
    """

    def __init__(
        self, configuration: Path, environ: Mapping[str, str] = os.environ, *, ports: tuple[int, int] | None = None, **variables: str
    ) -> None:
        self.grpc_port, self.http_port = ports or (free_port(), free_port())
        self._binary = collector_binary(environ)
        self._configuration = configuration
        self._folder = scratch_folder("collector")
        self._environ = {
            **environ,
            "OTLP_GRPC_ENDPOINT": f"127.0.0.1:{self.grpc_port}",
            "OTLP_HTTP_ENDPOINT": f"127.0.0.1:{self.http_port}",
            **variables,
        }
        self._process: ChildProcess | None = None

    @property
    def http_endpoint(self) -> str:
        """Where OTLP/HTTP is taken: the URL without ``/v1/traces``."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def pid(self) -> int:
        """Its process id while it runs, to measure it."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        """What the Collector wrote."""
        return self._folder / "collector.log"

    def stop(self) -> None:
        """An orderly stop, which sends what is still queued."""
        if self._process is not None:
            self._process.stop(grace_seconds=15.0)
            self._process = None

    def __enter__(self) -> Self:
        command = [str(self._binary), "--config", str(self._configuration), "--set=service.telemetry.metrics.level=none"]
        self._process = ChildProcess("the Collector", command, log=self.log, environ=self._environ)
        try:
            self._process.wait_ready(lambda: accepts(self.grpc_port) and accepts(self.http_port), _READY_SECONDS)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _place(environ: Mapping[str, str]) -> Path:
    return cache_folder(environ) / "collector" / COLLECTOR_VERSION


def _build(folder: Path, environ: Mapping[str, str]) -> None:
    command = ["go", "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", str(folder / "otelcol"), "."]
    quiet = {**environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    done = subprocess.run(command, cwd=_SOURCE, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise ChildFailed(f"building the OpenTelemetry Collector failed with status {done.returncode}:\n{done.stdout[-3000:]}")
