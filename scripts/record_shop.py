"""Record the sample shop as the Collector's file exporter would: ``examples/recordings/shop-stable.jsonl.zst`` and ``shop-candidate…``.

``python scripts/record_shop.py [--seconds 30] [--rate 2] [FOLDER]`` (needs what ``make demo`` needs; some two minutes). All eleven services
run as processes with the ordinary SDK under a seeded load; for the candidate's recording pricing is version ``#2``, of which three requests
in ten fail. What their exporters send becomes one line of OTLP/JSON a request, in the order in which it came, packed with zstd. The
same shop and the same load, but never the same bytes: times are real.
"""

import argparse
import asyncio
import gzip
import json
import os
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

sys.path.insert(0, str(Path(__file__).parent.parent))

from ctrlplane_stream.local.intake import otlp_json
from ctrlplane_stream.local.kafka import EmbeddedKafka
from ctrlplane_stream.local.processes import ChildProcess, free_port
from ctrlplane_stream.local.shop.images import Behaviour, digest
from ctrlplane_stream.local.shop.orders_topic import create_orders_topic
from ctrlplane_stream.local.shop.topology import ENTRIES, SERVICES
from ctrlplane_stream.settings import Settings

_FOLDER = Path(__file__).parent.parent / "examples" / "recordings"
_CHANGED = "shop/pricing"
_READY_SECONDS = 90.0


class Recorder(BaseHTTPRequestHandler):
    """Takes OTLP/HTTP and keeps each request as a line."""

    lines: ClassVar[list[bytes]] = []
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_POST(self) -> None:
        """One export."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        line = otlp_json.encode(ExportTraceServiceRequest.FromString(body))
        with self.lock:
            self.lines.append(line)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def recorder() -> Iterator[str]:
    """The URL of a recorder that has nothing yet."""
    Recorder.lines = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def record(kafka: str, folder: Path, prefix: str, changed: Behaviour | None, seconds: float, rate: float) -> list[bytes]:
    """The lines of one run of the whole shop; with ``changed`` that behaviour as version #2 of one service."""
    asyncio.run(create_orders_topic(Settings(kafka_bootstrap_servers=kafka, topic_prefix=prefix)))
    ports = {service.name: free_port() for service in SERVICES}
    with recorder() as endpoint, ExitStack() as stack:
        environ = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "CTRLPLANE_TOPIC_PREFIX": prefix,
            "CTRLPLANE_ROUTES": json.dumps({name: f"http://127.0.0.1:{port}" for name, port in ports.items()}),
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "2000",
        }
        shop = []
        for name, port in ports.items():
            is_new = changed is not None and name == _CHANGED
            behaviour = changed if changed is not None and is_new else Behaviour.HEALTHY
            told = {"SERVICE": name, "PORT": str(port), "DIGEST": digest(name, behaviour), "CTRLPLANE_VERSION": "#2" if is_new else "#1"}
            command = [sys.executable, "-m", "ctrlplane_stream.local.shop.service"]
            child = ChildProcess(name, command, log=folder / f"{prefix}{port}.log", environ={**environ, **told})
            stack.callback(child.kill)
            shop.append((child, port))
        for child, port in shop:
            child.wait_ready(partial(_is_healthy, port), _READY_SECONDS)
        _load(folder, ports, seconds, rate)
        time.sleep(2.0)  # the consumer takes the last orders; what it would take later is left out of the recording
        for child, _ in shop:
            child.stop(30.0)
        return Recorder.lines


def _load(folder: Path, ports: dict[str, int], seconds: float, rate: float) -> None:
    entries = [flag for e in ENTRIES for flag in ("--entry", f"{e.service}={rate:g}@http://127.0.0.1:{ports[e.service]}")]
    command = [sys.executable, "-m", "ctrlplane_stream.local.load", *entries, "--seconds", f"{seconds:g}", "--out", os.devnull]
    with ChildProcess("load", command, log=folder / "load.log") as load:
        if load.wait(seconds + 60) != 0:
            raise SystemExit(load.log_tail())


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main() -> None:
    """Record both."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seconds", type=float, default=30.0)
    asked.add_argument("--rate", type=float, default=2.0, help="requests a second at each entry")
    asked.add_argument("folder", nargs="?", type=Path, default=_FOLDER)
    told = asked.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    with EmbeddedKafka(heap_megabytes=256) as kafka, tempfile.TemporaryDirectory() as logs:
        for name, changed in (("stable", None), ("candidate", Behaviour.ERRORS)):
            lines = record(kafka.bootstrap, Path(logs), f"{name}-", changed, told.seconds, told.rate)
            packed = zstandard.ZstdCompressor(level=22).compress(b"\n".join([*lines, b""]))
            file = told.folder / f"shop-{name}.jsonl.zst"
            file.write_bytes(packed)
            print(f"{file}: {len(lines)} requests, {len(packed)} bytes")


if __name__ == "__main__":
    main()
