"""``ctrlplane-stream host``: a machine room of local processes, for those who have no cluster at hand."""

import os
import shlex
from pathlib import Path

import click

from ctrlplane_stream.actuators.host_api import DEFAULT_PORT
from ctrlplane_stream.actuators.ledger_file import LedgerUnreadable
from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import PORT, Finite, fail, print_json, takes_json
from ctrlplane_stream.commands.statuses import DONE, FAILED, ends
from ctrlplane_stream.local.host.daemon import FolderTaken, run
from ctrlplane_stream.local.host.settings import SHOP_SERVICE, HostSettings


def _state_folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "ctrlplane-stream" / "host"


@click.command(cls=Command)
@click.option("--port", type=PORT, default=DEFAULT_PORT, show_default=True, help="Port on 127.0.0.1; 0 takes a free one and prints it.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FOLDER",
    help="Where it keeps what it was told, and the logs of instances. [~/.local/state/ctrlplane-stream/host]",
)
@click.option("--program", default=None, metavar="COMMAND", help="Command line of an instance. [the sample shop's service]")
@click.option(
    "--full",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Instances that carry all traffic of a service behind a router.",
)
@click.option(
    "--consumer-instances",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    metavar="N",
    help="Instances of a consumer of messages, of all its versions together.",
)
@click.option(
    "--job-seconds",
    type=Finite(0),
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    help="Between the starts of two runs of a job.",
)
@click.option("--otlp-endpoint", default=None, metavar="URL", help="Where instances send telemetry. [$OTEL_EXPORTER_OTLP_ENDPOINT]")
@takes_json
@ends({DONE: "told to end", FAILED: "its folder or its port is taken or cannot be used"})
def host(
    port: int,
    folder: Path | None,
    program: str | None,
    full: int,
    consumer_instances: int,
    job_seconds: float,
    otlp_endpoint: str | None,
    as_json: bool,
) -> None:
    """Run services as local processes behind weighted routers, until SIGTERM.

    It is a world for the process actuator: it keeps its state in a folder, goes on with it when started again, honours
    leases by itself and takes every process along when it ends. Loopback only.
    """
    settings = HostSettings(
        folder=(folder or _state_folder()).absolute(),
        program=tuple(shlex.split(program)) if program else SHOP_SERVICE,
        port=port,
        full=full,
        consumer_instances=consumer_instances,
        job_seconds=job_seconds,
        otlp_endpoint=otlp_endpoint,
    )
    try:
        run(settings, lambda bound: _ready(f"http://127.0.0.1:{bound}", as_json))
    except (FolderTaken, LedgerUnreadable) as error:
        fail(str(error))
    except OSError as error:
        if error.filename is not None:
            fail(f"cannot keep its state: {error.filename}: {error.strerror}; give another --folder")
        fail(f"cannot serve on 127.0.0.1:{port}: {error}; give another --port")


def _ready(url: str, as_json: bool) -> None:
    if as_json:
        print_json({"url": url})
    else:
        click.echo(f"serving on {url}")
