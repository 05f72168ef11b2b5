"""``ctrlplane-stream catalog show|check|diff|apply``: the catalog in force, and that of a file against it."""

import difflib
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from ctrlplane_stream.actuators.named import known_actuators
from ctrlplane_stream.commands.catalog_changes import changes, differences
from ctrlplane_stream.commands.catalog_in_force import in_force, take_off_needless
from ctrlplane_stream.commands.groups import Group
from ctrlplane_stream.commands.options import (
    fail,
    print_json,
    takes_json,
    takes_settings,
    text_of,
)
from ctrlplane_stream.commands.publishing import new_id, report, send, takes_wait, who_am_i
from ctrlplane_stream.commands.statuses import DIFFERENT, DONE, FAILED, end, ends
from ctrlplane_stream.model.catalog import Catalog
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.model.policy import doubts
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.catalog_file import CatalogRecord, Problem, catalog_hash, read_catalog_file, write_catalog_file
from ctrlplane_stream.wire.editions import LINE, TOPIC

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group(cls=Group)
def catalog() -> None:
    """Show, compare and apply the catalog: which services and environments there are, and how they are rolled out."""


class Shown(msgspec.Struct, frozen=True):
    """What ``catalog show --json`` prints: the catalog in force with all defaults, who applied it, why, and when the broker got it."""

    hash: str
    who: str
    why: str
    at_ms: int
    based_on: str | None
    catalog: Catalog


@catalog.command("show")
@takes_settings("kafka_", "topic_", "partitions")
@takes_json
@ends({DONE: "shown", FAILED: "none is applied yet, or no broker answered"})
def show_command(settings: Settings, as_json: bool) -> None:
    """Show the catalog in force, and who applied it.

    What is printed is a file that `diff` and `apply` take, with its hash, who applied it, when and why above it. It leaves out what is so
    by default; --json has everything.
    """
    if (current := in_force(settings)) is None:
        fail("no catalog is applied yet: `ctrlplane-stream catalog apply FILE`")
    of = current.record
    if as_json:
        print_json(Shown(of.hash, of.who, of.why, current.at_ms, of.based_on, of.catalog))
        return
    at = datetime.fromtimestamp(current.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    click.echo(f"# catalog {of.hash}\n# applied by {of.who} at {at} UTC{f': {of.why}' if of.why else ''}")
    click.echo(write_catalog_file(of.catalog), nl=False)


@catalog.command("check")
@_file
@takes_json
@ends({DONE: "the file is a valid catalog", FAILED: "it has mistakes, each told with its line"})
def check_command(as_json: bool, file: Path) -> None:
    """Check a file; every mistake is listed with its line. Needs no broker.

    A template that it names (`template: cart.yaml`) lies beside it.
    """
    checked = _read_beside(file)
    if as_json:
        mistakes = () if isinstance(checked, Catalog) else checked
        print_json({"valid": not mistakes, "hash": catalog_hash(checked) if isinstance(checked, Catalog) else None, "mistakes": mistakes})
    found = checked if isinstance(checked, Catalog) else _refuse(file, checked)
    for name in sorted(_actuators(found) - set(known_actuators())):
        click.echo(f"note: no actuator is called {name} on this machine; the worker must have the package that brings it", err=True)
    for name, policy in found.policies.items():
        for doubt in doubts(policy):
            click.echo(f"note: policy {name}: {doubt}", err=True)
    for name, service in sorted(found.services.items()):
        for place in sorted(service.environments):
            source, named = found.source(name, place), found.environments[place].promote_from
            if source is not None and source != named:
                click.echo(f"note: {name} comes to {place} once it has baked in {source}, since {named} does not run it", err=True)
    if not as_json:
        services, environments = counted(len(found.services), "service"), counted(len(found.environments), "environment")
        click.echo(f"{file} is a valid catalog of {services} in {environments}")


@catalog.command("diff")
@_file
@takes_settings("kafka_", "topic_", "partitions")
@takes_json
@ends({DONE: "nothing: the file is what is in force", FAILED: "the file has mistakes, or no broker answered", DIFFERENT: "something"})
def diff_command(settings: Settings, as_json: bool, file: Path) -> None:
    """Show what `apply` would change, field by field.

    Each by its place in the file: what is in force, and what would be; a template by the digest of the file beside it. --json has both
    catalogs whole, line by line.
    """
    wanted, current = _read(file), in_force(settings)
    old = _lines(current.record.catalog) if current else []
    lines = list(difflib.unified_diff(old, _lines(wanted), "in force", str(file), lineterm=""))
    if as_json:
        print_json({"same": not lines, "hash": catalog_hash(wanted), "in_force": current.record.hash if current else None, "diff": lines})
    else:
        click.echo("\n".join(differences(current.record.catalog if current else None, wanted)) or "the file is what is in force")
    if lines:
        end(DIFFERENT)


@catalog.command("apply")
@_file
@click.option(
    "--based-on",
    metavar="HASH",
    help="The hash of the catalog that the file was made from (`catalog show` has it): refused where another is in force.",
)
@click.option("--why", metavar="REASON", default="", help="The reason; it stays in the log.")
@takes_wait
@takes_settings("kafka_", "topic_", "partitions")
@takes_json
@ends({
    DONE: "it is in force already, or the broker has it and nobody refused it within --wait seconds",
    FAILED: "refused: the file has mistakes, it is not based on what is in force, or the engine cannot take it",
})  # fmt: skip
def apply_command(settings: Settings, as_json: bool, file: Path, based_on: str | None, why: str, wait_seconds: float) -> None:
    """Put the file's catalog into force.

    Says what it changes and what the engine makes of it. A template that the file names (`template: cart.yaml`) lies beside it, and is
    published by its digest, cart.yaml@sha256:HEX: a changed one is a new version.
    """
    wanted, current = _read(file), in_force(settings)
    now = current.record.hash if current else None
    if based_on is not None and based_on != now:
        fail(f"the catalog in force is {now}, not {based_on}: somebody changed it; look at `catalog diff` and apply again")
    if now == catalog_hash(wanted):
        if as_json:
            print_json({"what": f"catalog {now[:12]}", "same": True})
        else:
            click.echo("nothing to do: the file is what is in force")
        return
    value = msgspec.json.encode(CatalogRecord(wanted, catalog_hash(wanted), now, who_am_i(), why))
    if not as_json:
        click.echo("\n".join(changes(current.record.catalog if current else None, wanted)))
    told = send(settings, TOPIC, value, f"catalog {catalog_hash(wanted)[:12]}", key=new_id(), beside=LINE, wait=wait_seconds)
    take_off_needless(settings)
    report(told, as_json, waited=wait_seconds)


def _read(file: Path) -> Catalog:
    found = _read_beside(file)
    return found if isinstance(found, Catalog) else _refuse(file, found)


def _read_beside(file: Path) -> Catalog | tuple[Problem, ...]:
    """What the file holds, with the templates that lie beside it."""

    def contents_of(name: str) -> bytes | None:
        beside = file.parent / name
        return beside.read_bytes() if beside.is_file() else None

    return read_catalog_file(text_of(file), contents_of)


def _refuse(file: Path, mistakes: tuple[Problem, ...]) -> NoReturn:
    fail(f"{file} has {counted(len(mistakes), 'mistake')}:\n" + "\n".join(str(problem) for problem in mistakes))


def _actuators(of: Catalog) -> frozenset[str]:
    named = [here.actuator for service in of.services.values() for here in service.environments.values() if here.actuator]
    return frozenset([*named, *(place.actuator for place in of.environments.values())])


def _lines(of: Catalog) -> list[str]:
    return msgspec.json.format(msgspec.json.encode(of, order="sorted"), indent=2).decode().splitlines()
