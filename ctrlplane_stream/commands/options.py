"""Flags for settings, and what every command has in common: ``--json`` and one line for what went wrong.

With ``--json`` standard output is one JSON document whatever happens: what the command tells, or ``{"error": …, "status": …}`` where it
failed before it had anything to tell. Standard error has the words for people either way. How commands end: ``statuses``.
"""

import asyncio
import functools
import math
import os
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, NodeNotReadyError

from ctrlplane_stream.commands.groups import SettingOption
from ctrlplane_stream.settings import SETTINGS, Setting, Settings, SettingsError, flag, load
from ctrlplane_stream.wire.kafka_clients import NoBroker

_MOST_SHOWN = 2_000
_JSON_WANTED, _JSON_PRINTED = "ctrlplane_stream.json_wanted", "ctrlplane_stream.json_printed"
"""Keys of click's meta, which a command and the groups above it share."""

PORT = click.IntRange(0, 65535)
"""A TCP port, 0 for one that is free: a larger number would be taken for another port, and not refused."""

Command = Callable[..., Any]


class Finite(click.FloatRange):
    """A number in a range; ``nan`` is in none, and is taken by the one of click."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Raises click.BadParameter."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is no finite number", param, ctx)
        return found


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
    return json_option("Print JSON instead of words.")(command)


def json_option(text: str, name: str = "as_json") -> Callable[[Command], Command]:
    """``--json`` with a help of its own, passed as ``name``; read before all others, so that what is wrong with them is told in JSON."""

    def note(context: click.Context, _: click.Parameter, wanted: bool) -> bool:
        context.meta[_JSON_WANTED] = wanted
        return wanted

    return click.option("--json", name, is_flag=True, is_eager=True, callback=note, help=text)


def print_json(value: object) -> None:
    """One JSON document on standard output, indented, keys in their order."""
    if (context := click.get_current_context(silent=True)) is not None:
        context.meta[_JSON_PRINTED] = True
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def on_one_line(text: str) -> str:
    """What others said, as a line of a terminal: nothing in it moves the cursor or begins a line, and what is very long is cut."""
    shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}… ({len(text)} characters; --json has all)"
    return shown if shown.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)


def fail(reason: str) -> NoReturn:
    """End the command with status 1 and the reason on standard error, and with --json in JSON besides: ``tell_in_json``."""
    raise click.ClickException(reason)


def text_of(file: Path) -> str:
    """The text of a file that a person wrote; ends the command where it is none that we can read."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        fail(f"{file} is not UTF-8 at byte {error.start}: save it as UTF-8")


def tell_in_json(error: click.ClickException, typed: Sequence[str]) -> None:
    """Print why a command failed as the one JSON document that was asked for; nothing where it was not, or where one was printed."""
    meta = click.get_current_context().meta
    if (meta.get(_JSON_WANTED) or "--json" in typed) and not meta.get(_JSON_PRINTED):
        print_json({"error": error.format_message(), "status": error.exit_code})


def require_broker(settings: Settings) -> None:
    """End the command where no broker is named."""
    if not settings.kafka_bootstrap_servers:
        fail("no broker is named: set KAFKA_BOOTSTRAP_SERVERS or --kafka-bootstrap-servers to host:port")


BROKER_TROUBLE = (KafkaError, NoBroker, OSError, asyncio.CancelledError)
"""What a command must expect of a broker; the last is what the client ends with where the broker goes away while it is being read."""

_AWAY = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, OSError, asyncio.CancelledError)


def broker_failed(settings: Settings, error: BaseException) -> NoReturn:
    """End the command in one line that says what to do; ``error`` is one of BROKER_TROUBLE."""
    if isinstance(error, NoBroker):
        fail(str(error))
    if isinstance(error, _AWAY):
        where = settings.kafka_bootstrap_servers
        fail(f"no broker answers at {where}: see that it runs, and that address, protocol and credentials are right; `doctor` looks closer")
    fail(f"{settings.kafka_bootstrap_servers}: {error or type(error).__name__}")


def _option(setting: Setting) -> Callable[[Command], Command]:
    named = flag(setting.name)
    if isinstance(setting.default, bool):
        named = f"{named}/--no-{named[2:]}"
    unit = f" ({setting.unit})" if setting.unit else ""
    shown = "" if setting.default == "" else f"; {_shown(setting.default)}"
    help_text = f"{setting.what}{unit}. [${setting.variable}{shown}]"
    return click.option(named, setting.name, cls=SettingOption, default=None, metavar=_kind(setting), help=help_text)


def _kind(setting: Setting) -> str | None:
    """What stands for the value in the help; None for a switch, which has none."""
    if isinstance(setting.default, bool):
        return None
    if isinstance(setting.default, StrEnum):
        return f"[{'|'.join(type(setting.default))}]"
    if isinstance(setting.default, int | float):
        return "N"
    return setting.unit.split(",")[0].upper() if setting.unit.startswith(("path", "URL")) else "TEXT"


def _shown(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)
