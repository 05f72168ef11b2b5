"""The intake as a process: both protocols on their ports, one batcher, one topic, and an orderly end."""

import asyncio
from collections.abc import Callable

import grpc.aio
import msgspec
from aiohttp import web

from ctrlplane_stream.ending import ending_signals
from ctrlplane_stream.local.intake.batcher import Batcher
from ctrlplane_stream.local.intake.grpc_server import GrpcFront
from ctrlplane_stream.local.intake.http_server import HttpFront
from ctrlplane_stream.local.intake.kafka_sink import Encoding, open_sink
from ctrlplane_stream.local.intake.metrics import Metrics
from ctrlplane_stream.local.intake.receiver import Limits, Receiver
from ctrlplane_stream.settings import Settings

_GRACE_SECONDS = 10.0


class Address(msgspec.Struct, frozen=True):
    """Where to listen; a port of 0 takes a free one. The default ports are OTLP's own."""

    host: str = "127.0.0.1"
    http_port: int = 4318
    grpc_port: int = 4317


class PortTaken(RuntimeError):
    """A port cannot be had; the text names it, and the flag that takes another."""


async def serve(
    settings: Settings, address: Address, topic: str, encoding: Encoding, limits: Limits, ready: Callable[[Address], None]
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; ``ready`` is called with the ports once both protocols are served.

    Then no new connection is taken, what is in hand is written without waiting for company and answered, and only
    then do we leave. Raises NoTopic, PortTaken.
    """
    leave = asyncio.Event()
    for number in ending_signals():
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    metrics = Metrics()
    async with open_sink(settings, topic, encoding, metrics) as sink:
        batcher = Batcher(sink, limits.batch)
        receiver = Receiver(batcher, limits, metrics)
        await _serve(receiver, batcher, address, ready, leave)


async def _serve(receiver: Receiver, batcher: Batcher, address: Address, ready: Callable[[Address], None], leave: asyncio.Event) -> None:
    http, rpc = HttpFront(receiver), GrpcFront(receiver).server()
    runner = http.runner()
    try:
        http_port = await _start_http(runner, address)
        grpc_port = await _bind_grpc(rpc, address)
        await rpc.start()
        ready(Address(address.host, http_port, grpc_port))
        await leave.wait()
    finally:
        http.leave()
        batcher.hurry()
        await asyncio.gather(runner.cleanup(), rpc.stop(_GRACE_SECONDS))
        await batcher.finish()


async def _start_http(runner: web.AppRunner, address: Address) -> int:
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host, address.http_port).start()
    except OSError as error:
        raise _taken(address.host, address.http_port, "HTTP", error) from error
    port: int = runner.addresses[0][1]
    return port


async def _bind_grpc(server: grpc.aio.Server, address: Address) -> int:
    """Asked of the system before: of gRPC we would hear no reason, and its own log would stand among what we say."""
    try:
        (await asyncio.get_running_loop().create_server(asyncio.Protocol, address.host, address.grpc_port)).close()
        port: int = server.add_insecure_port(f"{address.host}:{address.grpc_port}")
    except (OSError, RuntimeError) as error:
        raise _taken(address.host, address.grpc_port, "gRPC", error) from error
    return port


def _taken(host: str, port: int, protocol: str, error: OSError | RuntimeError) -> PortTaken:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return PortTaken(f"cannot listen on {host}:{port} for OTLP/{protocol}: {why}; give another --{protocol.lower()}-port")
