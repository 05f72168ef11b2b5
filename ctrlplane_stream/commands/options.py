"""Flags for settings, and what every command has in common: ``--json`` and one line for what went wrong.

Exit status of all commands: 0 done or as it should be, 1 refused or failed (the last line of standard error says why and
what to do), 2 called in a wrong way, 3 done, and what was looked at is not as it should be. ``judge`` tells more of the last: 3 to 5.
"""

import functools
import os
from collections.abc import Callable
from typing import Any, NoReturn

import click
import msgspec
from aiokafka.errors import KafkaConnectionError, KafkaError

from ctrlplane_stream.settings import SETTINGS, Setting, Settings, SettingsError, load
from ctrlplane_stream.wire.kafka_clients import NoBroker

EXIT_DIFFERENT = 3

PORT = click.IntRange(0, 65535)
"""A TCP port, 0 for one that is free: a larger number would be taken for another port, and not refused."""

Command = Callable[..., Any]


def takes_settings(*prefixes: str) -> Callable[[Command], Command]:
    """Give a command a flag for each setting whose name begins so, and pass it ``settings`` from environment and flags.

    Secrets have no flag, because process lists show flags: they come from the environment alone.
    """
    chosen = [s for s in SETTINGS if s.name.startswith(prefixes) and not s.secret]

    def decorate(command: Command) -> Command:
        def run(**arguments: Any) -> Any:
            flags = {s.name: arguments.pop(s.name) for s in chosen}
            try:
                return command(settings=load(os.environ, flags), **arguments)
            except SettingsError as error:
                raise click.UsageError(str(error)) from None

        decorated: Command = functools.wraps(command)(run)
        for setting in reversed(chosen):
            decorated = _option(setting)(decorated)
        return decorated

    return decorate


def takes_json(command: Command) -> Command:
    """Give a command ``--json``, passed as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")(command)


def print_json(value: object) -> None:
    """One JSON document on standard output, indented, keys in their order."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def fail(reason: str) -> NoReturn:
    """End the command with status 1 and the reason on standard error."""
    raise click.ClickException(reason)


def require_broker(settings: Settings) -> None:
    """End the command where no broker is named."""
    if not settings.kafka_bootstrap_servers:
        fail("no broker is named: set KAFKA_BOOTSTRAP_SERVERS or --kafka-bootstrap-servers to host:port")


BROKER_TROUBLE = (KafkaError, NoBroker, OSError)
"""What a command must expect of a broker."""


def broker_failed(settings: Settings, error: Exception) -> NoReturn:
    """End the command in one line that says what to do; ``error`` is one of BROKER_TROUBLE."""
    if isinstance(error, NoBroker):
        fail(str(error))
    if isinstance(error, KafkaConnectionError | OSError):
        where = settings.kafka_bootstrap_servers
        fail(f"no broker answers at {where}: see that it runs, and that address, protocol and credentials are right; `doctor` looks closer")
    fail(f"{settings.kafka_bootstrap_servers}: {error or type(error).__name__}")


def _option(setting: Setting) -> Callable[[Command], Command]:
    flag = f"--{setting.name.replace('_', '-')}"
    if isinstance(setting.default, bool):
        flag = f"{flag}/--no-{flag[2:]}"
    unit = f" ({setting.unit})" if setting.unit else ""
    shown = "" if setting.default == "" else f"; {_shown(setting.default)}"
    help_text = f"{setting.what}{unit}. [${setting.variable}{shown}]"
    return click.option(flag, setting.name, default=None, help=help_text)


def _shown(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)
