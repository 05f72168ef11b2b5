"""``ctrlplane-stream intake``: OTLP in, the Collector's records out."""

import asyncio

import click

from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import PORT, fail, print_json, require_broker, takes_json, takes_settings
from ctrlplane_stream.commands.statuses import DONE, FAILED, ends
from ctrlplane_stream.local.intake.batcher import Size
from ctrlplane_stream.local.intake.kafka_sink import Encoding, NoTopic, batch_bytes
from ctrlplane_stream.local.intake.receiver import Limits
from ctrlplane_stream.local.intake.server import Address, PortTaken, serve
from ctrlplane_stream.settings import Settings

_MEBIBYTE = 1024 * 1024


@click.command(cls=Command)
@click.option(
    "--host",
    envvar="CTRLPLANE_INTAKE_HOST",
    default="127.0.0.1",
    show_default=True,
    show_envvar=True,
    metavar="ADDRESS",
    help="Address to listen on.",
)
@click.option(
    "--http-port",
    type=PORT,
    envvar="CTRLPLANE_INTAKE_HTTP_PORT",
    default=4318,
    show_default=True,
    show_envvar=True,
    help="OTLP/HTTP; 0: a free port.",
)
@click.option(
    "--grpc-port",
    type=PORT,
    envvar="CTRLPLANE_INTAKE_GRPC_PORT",
    default=4317,
    show_default=True,
    show_envvar=True,
    help="OTLP/gRPC; 0: a free port.",
)
@click.option(
    "--topic",
    envvar="CTRLPLANE_INTAKE_TOPIC",
    default="otlp_spans",
    show_default=True,
    show_envvar=True,
    help="Topic to write to, before the prefix.",
)
@click.option(
    "--encoding",
    envvar="CTRLPLANE_INTAKE_ENCODING",
    type=click.Choice([str(e) for e in Encoding]),
    default=str(Encoding.OTLP_PROTO),
    show_default=True,
    show_envvar=True,
    help="Form of the records, by the Collector's names.",
)
@click.option(
    "--in-flight-mebibytes",
    envvar="CTRLPLANE_INTAKE_IN_FLIGHT_MEBIBYTES",
    type=click.IntRange(min=16),
    default=64,
    show_default=True,
    show_envvar=True,
    help="Most that is held for the broker to acknowledge; beyond it senders are told to wait.",
)
@takes_settings("kafka_", "topic_prefix")
@takes_json
@ends({DONE: "told to end", FAILED: "no broker or topic is there, or a port is taken"})
def intake(
    settings: Settings, as_json: bool, host: str, http_port: int, grpc_port: int, topic: str, encoding: str, in_flight_mebibytes: int
) -> None:
    """Receive OTLP over HTTP and gRPC and write it to Kafka, for those without a Collector.

    A request is answered once the broker has acknowledged its spans. Until SIGTERM, which finishes what is in hand.
    Where it listens is printed once it does.
    """
    require_broker(settings)
    form = Encoding(encoding)
    limits = Limits(in_flight_bytes=in_flight_mebibytes * _MEBIBYTE, batch=Size(max_bytes=batch_bytes(form)))
    try:
        asyncio.run(serve(settings, Address(host, http_port, grpc_port), topic, form, limits, _print_json if as_json else _ready))
    except (NoTopic, PortTaken) as error:
        fail(str(error))


def _print_json(address: Address) -> None:
    print_json({"host": address.host, "http_port": address.http_port, "grpc_port": address.grpc_port})


def _ready(address: Address) -> None:
    click.echo(f"OTLP/HTTP on http://{address.host}:{address.http_port}/v1/traces, OTLP/gRPC on {address.host}:{address.grpc_port}")
