"""``ctrlplane-stream worker``: the stream processor, one role of it or all."""

import socket

import click
import msgspec

from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import fail, json_option, require_broker, takes_settings
from ctrlplane_stream.commands.statuses import DONE, FAILED, end, ends
from ctrlplane_stream.settings import LogFormat, Settings

ALL = "all"
ROLE_FAILED = 70
"""As `stream.worker` ends a role that failed, which is imported with the role."""
_ROLES = ("engine", "spans", "judge", "actuate", "project")


@click.command(cls=Command)
@click.option(
    "--role",
    type=click.Choice([*_ROLES, ALL]),
    default=ALL,
    show_default=True,
    help="Which role to run; all: a child each. spans reads traces, judge judges, engine decides, actuate acts, project shows.",
)
@takes_settings("")
@json_option("Log as JSON, a line an object, whatever the settings say.")
@ends({DONE: "told to end", FAILED: "it cannot begin: no broker is named, or a port is taken", ROLE_FAILED: "it is to be started again"})
def worker(settings: Settings, role: str, as_json: bool) -> None:
    """Run the stream processor until SIGTERM or Ctrl-C, which finish the event in hand.

    Each role has its own consumer group and scales apart: start as many workers of it as are wanted, up to the number
    of partitions. With `all` a
    child that fails is started again.
    """
    require_broker(settings)
    if as_json:
        settings = msgspec.structs.replace(settings, log_format=LogFormat.JSON)
    from ctrlplane_stream.stream.logs import set_up_logs

    set_up_logs(settings, role)
    try:
        end(_all(settings) if role == ALL else _one(settings, role))
    except OSError as error:
        fail(f"{role}: {error}")


def _all(settings: Settings) -> int:
    from ctrlplane_stream.stream.metrics import port_trouble
    from ctrlplane_stream.stream.supervisor import forked, supervise

    for number in range(len(_ROLES) if settings.metrics_port else 0):
        with socket.socket() as free:  # a role that found its port taken would be started again without end
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                free.bind(("127.0.0.1", settings.metrics_port + number))
            except OSError as error:
                raise port_trouble(settings.metrics_port + number, error) from error
    return supervise(_ROLES, forked(settings))


def _one(settings: Settings, role: str) -> int:
    from ctrlplane_stream.stream.worker import run_role

    return run_role(settings, role)
