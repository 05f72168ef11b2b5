"""``graph``: the dependency graph of recorded traces or of what a worker sees, on the console or as a document, a picture or a
comparison."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import click

from ctrlplane_stream.commands.catalog_in_force import unknown_environment
from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import BROKER_TROUBLE, Finite, broker_failed, fail, json_option, require_broker, takes_settings
from ctrlplane_stream.commands.statuses import DONE, FAILED, ends
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.model.windows import WindowPart
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.telemetry.graph_document import (
    GraphDocument,
    as_dot,
    as_json,
    as_mermaid,
    as_text,
    difference,
    difference_json,
    difference_text,
    document_of,
    document_of_windows,
)
from ctrlplane_stream.telemetry.offline import Progress, Recording, windows_of, windows_of_both
from ctrlplane_stream.wire.kafka_clients import partition_of, read_since
from ctrlplane_stream.wire.windows import read_window

FORMS: dict[str, Callable[[GraphDocument], str]] = {"text": as_text, "json": as_json, "dot": as_dot, "mermaid": as_mermaid}
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(cls=Command)
@click.option(
    "--from",
    "recordings",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="A recording of OTLP, as FILE; may be repeated, and all are taken together.",
)
@click.argument("more", type=_FILE, nargs=-1, metavar="[FILE]...")
@click.option("--environment", metavar="NAME", help="Only the edges of this environment. [all that are recorded, taken together]")
@click.option("--live", metavar="ENVIRONMENT", help="Instead of a recording, what the worker has seen of this environment lately.")
@click.option(
    "--minutes",
    type=Finite(0, min_open=True),
    metavar="MINUTES",
    default=10.0,
    show_default=True,
    help="With --live: how far back.",
)
@json_option("Print the graph, or the difference, as JSON.", "json")
@click.option("--dot", is_flag=True, help="Print the graph for Graphviz.")
@click.option("--mermaid", is_flag=True, help="Print the graph as a Mermaid flowchart.")
@click.option("--progress", is_flag=True, help="Say on standard error how far reading has come.")
@click.option("--diff", type=_FILE, nargs=2, metavar="A B", help="Say which edges appeared, vanished or changed from A to B.")
@takes_settings("kafka_", "topic_", "partitions")
@ends({DONE: "printed", FAILED: "no span is in the recordings, no telemetry came, or no broker answered"})
def graph(
    settings: Settings, recordings: tuple[Path, ...], more: tuple[Path, ...], environment: str | None, live: str | None, minutes: float,
    json: bool, dot: bool, mermaid: bool, progress: bool, diff: tuple[Path, Path] | None,
) -> None:  # fmt: skip
    """Print which services call which, from recorded traces or from a running worker.

    Recordings are what the Collector's file exporter writes: JSON lines or length-prefixed protobuf, plain, gzip or zstd;
    or a single request. What a file holds is told by its content.
    """
    form = _form(json=json, dot=dot, mermaid=mermaid)
    if diff and (recordings or more or form in {"dot", "mermaid"}):
        raise click.UsageError("--diff A B compares two recordings by itself, in words or as --json: leave out --from, --dot and --mermaid")
    if diff:
        both = windows_of_both((diff[0],), (diff[1],), told=_reporter(diff) if progress else None)
        for path, recording in zip(diff, both, strict=True):
            _check((path,), recording, environment)
        found = difference(*(document_of(recording, environment) for recording in both))
        click.echo(difference_json(found) if form == "json" else difference_text(found))
        return
    files = (*recordings, *more)
    if live is not None and files:
        raise click.UsageError("--live tells what a worker has seen, and a recording is another thing: ask for one of them")
    if live is not None and environment is not None:
        raise click.UsageError("--live names its environment itself: leave out --environment")
    if live is not None:
        click.echo(FORMS[form](_live(settings, live, minutes)))
        return
    if not files:
        raise click.UsageError("name a recording, two with --diff A B, or an environment with --live")
    recording = windows_of(files, told=_reporter(files) if progress else None)
    _check(files, recording, environment)
    click.echo(FORMS[form](document_of(recording, environment)))


def _form(**asked: bool) -> str:
    """The one form that was asked for, in words where none was; a usage error where there are several."""
    forms = [name for name, wanted in asked.items() if wanted]
    if len(forms) > 1:
        raise click.UsageError(f"{' and '.join(f'--{name}' for name in forms)} are different forms: ask for one")
    return forms[0] if forms else "text"


def _live(settings: Settings, environment: str, minutes: float) -> GraphDocument:
    """The graph of the windows that began within so many minutes; ends the command with status 1 where there are none."""
    require_broker(settings)
    try:
        parts = asyncio.run(_windows(settings, environment, time.time() - minutes * 60))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)
    if not parts:
        wrong = unknown_environment(settings, environment) or "does a worker of the role spans run? `ctrlplane-stream doctor` looks closer"
        fail(f"no telemetry of {environment} within the last {minutes:g} minutes: {wrong}")
    return document_of_windows(parts)


async def _windows(settings: Settings, environment: str, since: float) -> list[WindowPart]:
    """Each part once: whoever goes on with a partition from its checkpoint writes again what was written since that."""
    found: dict[tuple[int, tuple[int, ...]], WindowPart] = {}
    place = partition_of(environment, settings.partitions)
    async for record in read_since(settings, "telemetry-windows", place, round(since * 1000)):
        window = read_window(record.value)
        if isinstance(window, WindowPart) and window.environment == environment and window.window >= since:
            found.setdefault((window.partition, window.name), window)
    return [*found.values()]


def _check(paths: tuple[Path, ...], recording: Recording, environment: str | None) -> None:
    """Say what could not be read, and that environments are taken together; ends the command with status 1 where there are no spans, or
    none of the environment."""
    for bad in recording.unreadable:
        click.echo(f"{bad.path}: record {bad.number} left out: {bad.reason}", err=True)
    if recording.unreadable and not recording.spans:
        raise click.ClickException("nothing readable: expected OTLP traces as JSON lines, length-prefixed protobuf, or a single request")
    if not recording.spans:
        files = ", ".join(str(path) for path in paths)
        raise click.ClickException(f"no spans in {files}: expected OTLP traces, and empty files hold none")
    known = sorted({part.environment for part in recording.parts})
    if environment is not None and environment not in known:
        raise click.ClickException(f"nothing of {environment} is recorded, only of {' and '.join(known)}")
    if environment is None and len(known) > 1:
        click.echo(f"taken together: the environments {' and '.join(known)}; --environment NAME shows one", err=True)


def _reporter(paths: tuple[Path, ...]) -> Callable[[Progress], None]:
    sizes = {path: max(1, path.stat().st_size) for path in paths}
    told: dict[Path, int] = {}

    def report(progress: Progress) -> None:
        percent = min(100, progress.position * 100 // sizes[progress.path])
        if told.get(progress.path) != percent:
            told[progress.path] = percent
            click.echo(f"{progress.path}: {percent}%, {counted(progress.spans, 'span')} so far", err=True)

    return report
