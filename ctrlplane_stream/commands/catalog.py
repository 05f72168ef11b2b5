"""``ctrlplane-stream catalog apply|diff|check``: the catalog of a file against the one in force."""

import asyncio
import difflib
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from ctrlplane_stream.actuators.named import known_actuators
from ctrlplane_stream.commands.catalog_changes import changes
from ctrlplane_stream.commands.options import (
    BROKER_TROUBLE,
    EXIT_DIFFERENT,
    broker_failed,
    fail,
    print_json,
    require_broker,
    takes_json,
    takes_settings,
)
from ctrlplane_stream.commands.publishing import report, send, takes_wait, who_am_i
from ctrlplane_stream.model.catalog import Catalog
from ctrlplane_stream.model.policy import doubts
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.catalog_file import CatalogRecord, Problem, catalog_hash, read_catalog_file, read_catalog_record
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.kafka_clients import read_to_end

KEY = "catalog"
"""The one key of the compacted topic ``catalog``."""

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def catalog() -> None:
    """Compare and apply the catalog."""


@catalog.command("check")
@_file
@takes_json
def check_command(as_json: bool, file: Path) -> None:
    """Check a file; every mistake is listed with its line. Needs no broker. Exit status 1: there are mistakes."""
    checked = read_catalog_file(file.read_text())
    if as_json:
        mistakes = () if isinstance(checked, Catalog) else checked
        print_json({"valid": not mistakes, "hash": catalog_hash(checked) if isinstance(checked, Catalog) else None, "mistakes": mistakes})
    found = checked if isinstance(checked, Catalog) else _refuse(file, checked)
    for name in sorted(_actuators(found) - set(known_actuators())):
        click.echo(f"note: no actuator is called {name} on this machine; the worker must have the package that brings it", err=True)
    for name, policy in found.policies.items():
        for doubt in doubts(policy):
            click.echo(f"note: policy {name}: {doubt}", err=True)
    if not as_json:
        click.echo(f"{file} is a valid catalog of {len(found.services)} services in {len(found.environments)} environments")


@catalog.command("diff")
@_file
@takes_settings("kafka_", "topic_")
@takes_json
@click.pass_context
def diff_command(context: click.Context, settings: Settings, as_json: bool, file: Path) -> None:
    """Show what `apply` would change. Exit status 0: nothing; 3: something."""
    wanted, current = _read(file), in_force(settings)
    old = _lines(current.catalog) if current else []
    lines = list(difflib.unified_diff(old, _lines(wanted), "in force", str(file), lineterm=""))
    if as_json:
        print_json({"same": not lines, "hash": catalog_hash(wanted), "in_force": current.hash if current else None, "diff": lines})
    else:
        click.echo("\n".join(lines) or "the file is what is in force")
    if lines:
        context.exit(EXIT_DIFFERENT)


@catalog.command("apply")
@_file
@click.option("--based-on", help="The hash that the file was made from; refused where another is in force by now.")
@click.option("--why", default="", help="The reason; it stays in the log.")
@takes_wait
@takes_settings("kafka_", "topic_", "partitions")
@takes_json
def apply_command(settings: Settings, as_json: bool, file: Path, based_on: str | None, why: str, wait_seconds: float) -> None:
    """Put the file's catalog into force.

    Says what it changes and what the engine makes of it. Exit status 0: the broker has it, and nobody refused it within --wait seconds;
    1: refused, with the reason.
    """
    wanted, current = _read(file), in_force(settings)
    now = current.hash if current else None
    if based_on is not None and based_on != now:
        fail(f"the catalog in force is {now}, not {based_on}: somebody changed it; look at `catalog diff` and apply again")
    if current is not None and current.hash == catalog_hash(wanted):
        if as_json:
            print_json({"what": f"catalog {now[:12] if now else ''}", "same": True})
        else:
            click.echo("nothing to do: the file is what is in force")
        return
    value = msgspec.json.encode(CatalogRecord(wanted, catalog_hash(wanted), now, who_am_i(), why))
    if not as_json:
        click.echo("\n".join(changes(current.catalog if current else None, wanted)))
    told = send(settings, "catalog", value, f"catalog {catalog_hash(wanted)[:12]}", key=KEY, wait=wait_seconds)
    report(told, as_json, waited=wait_seconds)


def _read(file: Path) -> Catalog:
    found = read_catalog_file(file.read_text())
    return found if isinstance(found, Catalog) else _refuse(file, found)


def _refuse(file: Path, mistakes: tuple[Problem, ...]) -> NoReturn:
    count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    fail(f"{file} has {count}:\n" + "\n".join(str(problem) for problem in mistakes))


def _actuators(of: Catalog) -> frozenset[str]:
    named = [here.actuator for service in of.services.values() for here in service.environments.values() if here.actuator]
    return frozenset([*named, *(place.actuator for place in of.environments.values())])


def in_force(settings: Settings) -> CatalogRecord | None:
    """The newest catalog on its topic, None before the first; ends the command where no broker answers."""
    require_broker(settings)
    try:
        return asyncio.run(_last(settings))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)


async def _last(settings: Settings) -> CatalogRecord | None:
    last = None
    async for record in read_to_end(settings, "catalog"):
        found = read_catalog_record(record.value)
        if not isinstance(found, Unreadable):
            last = found
    return last


def _lines(of: Catalog) -> list[str]:
    return msgspec.json.format(msgspec.json.encode(of, order="sorted"), indent=2).decode().splitlines()
