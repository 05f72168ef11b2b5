"""A real Apache Kafka on loopback: one KRaft node from pinned jars, as a child process in a temporary folder.

The jars come from ``broker/pom.xml`` by Maven, once, into the cache (92 jars, 54 MB); a class path of jars is all that
a broker needs. It formats in about 1 s, serves in about 2 s more, and holds about 350 MB. ``KAFKA_BOOTSTRAP_SERVERS``
names a broker of one's own instead. Topics are never created by use: ``topics apply`` makes them.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from ctrlplane_stream.local.cache import cache_folder, cached
from ctrlplane_stream.local.processes import ChildFailed, ChildProcess, accepts, free_port
from ctrlplane_stream.local.scratch import scratch_folder
from ctrlplane_stream.settings import load
from ctrlplane_stream.wire.kafka_access import client_options

KAFKA_VERSION = "4.1.0"
_POM = Path(__file__).parent / "broker" / "pom.xml"
_CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAQ"
_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
_START_SECONDS = 240.0
"""One that ends is known at once; one with an eighth of a core, beside other brokers, took more than 90 s to register anew."""
_START_ATTEMPTS = 3
_RUN_SECONDS = 1200.0
"""For what is run to its end; fetching the jars over a slow line is the longest."""

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=8
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.dedupe.buffer.size=16777216
message.max.bytes=16777216
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
"""


class MissingPart(RuntimeError):
    """Something this machine must have is absent; the text is one line with the remedy."""


def missing_parts(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What the embedded broker lacks on this machine, one line each with its remedy; empty where it can start."""
    if environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return []
    otherwise = "or name a broker in KAFKA_BOOTSTRAP_SERVERS"
    path, missing = environ.get("PATH"), []
    if shutil.which("java", path=path) is None:
        missing.append(f"java is missing: install Java 17 (Debian: apt-get install openjdk-17-jre-headless), {otherwise}")
    if shutil.which("mvn", path=path) is None and not (_place(environ) / ".recipe").exists():
        missing.append(f"mvn is missing: install Maven (Debian: apt-get install maven), {otherwise}")
    return missing


def broker_jars(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the broker's jars, fetched by Maven on first use; raises MissingPart."""
    missing = missing_parts({**environ, "KAFKA_BOOTSTRAP_SERVERS": ""})
    if missing:
        raise MissingPart("; ".join(missing))
    return cached(_place(environ), _POM.read_bytes(), _fetch_jars)


class EmbeddedKafka:
    """A broker from ``with`` to its end, or from ``start`` to ``stop``; its data goes with it.

    ``restart`` keeps port and data, as does ``kill`` (a crash) followed by ``start``. ``more_properties`` is appended to the
    broker's configuration, where the last of a key counts (``{port}`` and ``{controller_port}`` stand for its ports), and
    ``format_arguments`` to the formatting of its storage: for a test that needs TLS, SASL or a limit.
    """

    def __init__(
        self,
        *,
        heap_megabytes: int = 512,
        port: int | None = None,
        more_properties: str = "",
        format_arguments: Sequence[str] = (),
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._jars = broker_jars(environ)
        self._heap = heap_megabytes
        self._wanted_port = port
        self._template = _PROPERTIES + more_properties
        self._format_arguments = format_arguments
        self._folder = scratch_folder("kafka")
        self._process: ChildProcess | None = None
        self.port = 0

    @property
    def bootstrap(self) -> str:
        """``host:port``, the same across restarts."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the broker wrote."""
        return self._folder / "broker.log"

    @property
    def trouble(self) -> str | None:
        """A line with its last words where it ended by itself; None where it runs, or was told to end."""
        if self._process is None or self._process.running:
            return None
        return f"Kafka ended with status {self._process.returncode}: {self._process.log_tail(3)}"

    def start(self) -> Self:
        """Serve: returns when a metadata request was answered. Raises ChildFailed with the broker's last words."""
        if self.port:
            self._serve()
            return self
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._format(self._wanted_port or free_port())
            try:
                self._serve()
            except ChildFailed:
                if attempt == _START_ATTEMPTS or self._wanted_port or "Address already in use" not in self.log.read_text():
                    raise
            else:
                break
        return self

    def stop(self) -> None:
        """An orderly stop; the data is kept for ``start``."""
        if self._process is not None:
            self._process.stop(grace_seconds=20.0)
            self._process = None

    def kill(self) -> None:
        """A crash (SIGKILL); the data is kept for ``start``."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """An orderly stop and a start on the same port with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop answering without closing a connection (SIGSTOP), as a hung broker does."""
        if self._process is not None:
            self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after ``pause``."""
        if self._process is not None:
            self._process.signal(signal.SIGCONT)

    def close(self) -> None:
        """End the broker and remove its data. Nobody reads it again, so there is no orderly shutdown to wait for."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _format(self, port: int) -> None:
        data = self._folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        self._properties.write_text(self._template.format(port=port, controller_port=free_port(), data=data))
        storage = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(self._properties), *self._format_arguments]
        _run([*self._java(64), *storage], "formatting Kafka")
        self.port = port

    def _serve(self) -> None:
        command = [*self._java(self._heap), "kafka.Kafka", str(self._properties)]
        self._process = ChildProcess("Kafka", command, log=self.log)
        try:
            self._process.wait_ready(lambda: accepts(self.port) and _answers(self.bootstrap), _START_SECONDS)
        except ChildFailed:
            self.kill()
            raise

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _java(self, heap_megabytes: int) -> list[str]:
        return ["java", f"-Xmx{heap_megabytes}m", *_JVM, "-cp", f"{self._jars}/*"]


@dataclass(frozen=True, slots=True)
class NamedKafka:
    """A broker that somebody else runs."""

    bootstrap: str


@contextmanager
def open_broker(environ: Mapping[str, str] = os.environ) -> Iterator[EmbeddedKafka | NamedKafka]:
    """The broker to use: the one that ``KAFKA_BOOTSTRAP_SERVERS`` names, or an embedded one that ends with the ``with``.

    Raises MissingPart where none answers that is named: most often what was exported for another broker that has ended since.
    """
    named = environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if named:
        settings = load({name: value for name, value in environ.items() if name.startswith("KAFKA_")})
        if not _in_a_thread(_has_brokers(client_options(settings))):
            raise MissingPart(
                f"no broker answers at {named}, which KAFKA_BOOTSTRAP_SERVERS is set to in this shell: unset it, which gives you a "
                "broker of your own, or start that one"
            )
        yield NamedKafka(named)
        return
    with EmbeddedKafka(environ=environ) as kafka:
        yield kafka


def _place(environ: Mapping[str, str]) -> Path:
    return cache_folder(environ) / "kafka" / KAFKA_VERSION


def _fetch_jars(folder: Path) -> None:
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    _run(["mvn", "-B", "-q", "-f", str(_POM), *goal], "fetching Kafka's jars with Maven")


def _run(command: list[str], what: str) -> None:
    """Run to its end. Whoever is interrupted meanwhile, or killed, takes it along."""
    with tempfile.TemporaryDirectory(prefix="ctrlplane-run-") as folder:
        child = ChildProcess(what, command, log=Path(folder) / "said")
        try:
            status = child.wait(_RUN_SECONDS)
        finally:
            child.kill()
        if status != 0:
            raise ChildFailed(f"{what} failed with status {status}:\n{child.log_tail(40)}")


def _answers(bootstrap: str) -> bool:
    return _in_a_thread(_has_brokers({"bootstrap_servers": bootstrap}, timeout_ms=5_000))


def _in_a_thread(asked: Coroutine[None, None, bool]) -> bool:
    """The answer, had in a thread of its own, so that it works under a running event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(asked)).result()


async def _has_brokers(reached_by: Mapping[str, Any], timeout_ms: int = 15_000) -> bool:
    """Whether a metadata request is answered."""
    admin = AIOKafkaAdminClient(**reached_by, request_timeout_ms=timeout_ms)
    try:
        await admin.start()
        return bool((await admin.describe_cluster())["brokers"])
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
