"""``ctrlplane-stream worker``: the stream processor, one role of it or all."""

import sys

import click
import msgspec

from ctrlplane_stream.commands.options import fail, require_broker, takes_settings
from ctrlplane_stream.settings import LogFormat, Settings

ALL = "all"
_ROLES = ("engine", "spans", "judge", "actuate", "project")


@click.command()
@click.option("--role", type=click.Choice([*_ROLES, ALL]), default=ALL, show_default=True, help="Which role to run; all: one child each.")
@takes_settings("")
@click.option("--json", "as_json", is_flag=True, help="Log as JSON, a line an object, whatever the settings say.")
def worker(settings: Settings, role: str, as_json: bool) -> None:
    """Run the stream processor until SIGTERM or Ctrl-C, which finish the event in hand.

    Each role has its own consumer group and scales apart: start as many workers of it as are wanted, up to the number
    of partitions. A child that fails is started again. Exit status 70: this role failed and is to be started again.
    """
    require_broker(settings)
    if as_json:
        settings = msgspec.structs.replace(settings, log_format=LogFormat.JSON)
    from ctrlplane_stream.stream.logs import set_up_logs

    set_up_logs(settings, role)
    try:
        sys.exit(_all(settings) if role == ALL else _one(settings, role))
    except OSError as error:
        fail(f"{role}: {error}")


def _all(settings: Settings) -> int:
    from ctrlplane_stream.stream.supervisor import forked, supervise

    return supervise(_ROLES, forked(settings))


def _one(settings: Settings, role: str) -> int:
    from ctrlplane_stream.stream.worker import run_role

    return run_role(settings, role)
