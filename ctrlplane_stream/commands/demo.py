"""``ctrlplane-stream demo``: the whole loop on this machine, played through."""

import asyncio
import shutil
import signal
import sys
import time
from pathlib import Path

import click
import msgspec
from rich.console import Console

from ctrlplane_stream.commands.options import fail
from ctrlplane_stream.local.demo.audience import NotSeen
from ctrlplane_stream.local.demo.play import chosen_acts, play_demo
from ctrlplane_stream.local.demo.report import words
from ctrlplane_stream.local.demo.setting import demo_policy, differences
from ctrlplane_stream.local.kafka import missing_parts, open_broker
from ctrlplane_stream.local.processes import ChildFailed
from ctrlplane_stream.local.scratch import scratch_folder


@click.command()
@click.option("--acts", default="short", show_default=True, help="short, all, or names separated by commas.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the report as JSON.")
@click.option("--logs", type=click.Path(file_okay=False, path_type=Path), help="Where to copy the logs of all parts at the end.")
def demo(acts: str, report: Path | None, logs: Path | None) -> None:
    """Run broker, intake, worker, host and sample shop on this machine, and play acts that the engine decides.

    Exit status 0 only if the topics say what each act promises. Ctrl-C, a failure and the end leave nothing behind.
    """
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        chosen = chosen_acts(acts)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--acts") from None
    missing = missing_parts()
    if missing:
        fail("; ".join(missing))
    console = Console()
    _print_policy(console)
    folder = scratch_folder("demo")
    try:
        with open_broker() as kafka:
            outcome = asyncio.run(play_demo(chosen, kafka, folder, console, began))
    except (ChildFailed, NotSeen) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted; nothing is left running")
    finally:
        if logs is not None:
            shutil.copytree(folder, logs, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    if report is not None:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=2))
    console.print(words(outcome), highlight=False, markup=False, soft_wrap=True)
    sys.exit(0 if outcome.kept else 1)


def _print_policy(console: Console) -> None:
    console.print("The demo's policy differs from the default in times only:", highlight=False)
    for name, (default, here) in differences(demo_policy()).items():
        if name == "steps":
            default, here = (", ".join(f"{s.weight}%: {s.min_seconds:g}-{s.max_seconds:g} s" for s in steps) for steps in (default, here))
        console.print(f"  {name}: {default} -> {here}", highlight=False, markup=False)
