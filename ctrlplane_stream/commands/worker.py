"""``ctrlplane-stream worker``: the stream processor, one role of it or all."""

import os
import sys

import click

from ctrlplane_stream.commands.options import fail, require_broker, takes_settings
from ctrlplane_stream.settings import Settings, variable

ALL = "all"
_ROLES = ("spans", "judge", "engine", "actuate", "project")


@click.command()
@click.option("--role", type=click.Choice([*_ROLES, ALL]), default=ALL, show_default=True, help="Which role to run; all: one child each.")
@click.option("--follow", type=int, default=None, hidden=True, help="End when this is no longer the parent process.")
@takes_settings("")
def worker(settings: Settings, role: str, follow: int | None) -> None:
    """Run the stream processor until SIGTERM or Ctrl-C, which finish the event in hand.

    Each role has its own consumer group and scales apart: start as many workers of it as are wanted, up to the number
    of partitions. A child that fails is started again. Exit status 70: this role failed and is to be started again.
    """
    require_broker(settings)
    if role == ALL:
        sys.exit(_all(settings))
    from ctrlplane_stream.stream.logs import set_up_logs
    from ctrlplane_stream.stream.worker import run_role

    set_up_logs(settings, role)
    try:
        status = run_role(settings, role, follow)
    except OSError as error:
        fail(f"{role}: {error}")
    sys.exit(status)


def _all(settings: Settings) -> int:
    from ctrlplane_stream.stream.logs import set_up_logs
    from ctrlplane_stream.stream.supervisor import start_with, supervise

    set_up_logs(settings, ALL)
    return supervise(_ROLES, start_with(_environ(settings), settings.metrics_port))


def _environ(settings: Settings) -> dict[str, str]:
    """Our environment with every setting spelt out, so that children see the flags that we were given."""
    told = {variable(name): _text(getattr(settings, name)) for name in settings.__struct_fields__}
    return {**os.environ, **told}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
