"""``ctrlplane-stream demo``: the whole loop on this machine, played through."""

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import click
import msgspec
from aiokafka.errors import KafkaError
from rich.console import Console

from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import broker_failed, fail, json_option, print_json
from ctrlplane_stream.commands.statuses import DONE, FAILED, end, ends
from ctrlplane_stream.local.demo.audience import NotSeen
from ctrlplane_stream.local.demo.interruption import Interruption
from ctrlplane_stream.local.demo.play import ALL_ACTS, chosen_acts, play_demo
from ctrlplane_stream.local.demo.report import DemoReport, words
from ctrlplane_stream.local.demo.setting import LATENESS_SECONDS, PAIRING_SECONDS, WINDOW_SECONDS, demo_policy, differences
from ctrlplane_stream.local.demo.stage import LeftBehind, Stage
from ctrlplane_stream.local.demo.terminal import end_with_terminal
from ctrlplane_stream.local.kafka import MissingPart, missing_parts, open_broker
from ctrlplane_stream.local.processes import ChildFailed
from ctrlplane_stream.local.scratch import scratch_folder
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.build_id import build_id
from ctrlplane_stream.wire.kafka_clients import NoBroker

_LOAD_AGAIN_SECONDS = 3500.0
"""A load is served for an hour at most; where the demo is kept, another follows."""
_ENDING = "ending it, which takes some seconds"


@click.command(cls=Command)
@click.option(
    "--acts",
    default="short",
    show_default=True,
    metavar="NAMES",
    help=f"short, all, or some by name, separated by commas: {', '.join(act.name for act in ALL_ACTS)}.",
)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the report as JSON.")
@click.option("--logs", type=click.Path(file_okay=False, path_type=Path), help="Where to copy the logs of all parts at the end.")
@click.option("--keep", is_flag=True, help="Leave it all running after the report, until Ctrl-C, and say how to go on with it.")
@json_option("Print the report as JSON instead of words.")
@ends({DONE: "the topics say what each act promises", FAILED: "they do not, something is missing on this machine, or it was interrupted"})
def demo(acts: str, report: Path | None, logs: Path | None, keep: bool, as_json: bool) -> None:
    """Run broker, intake, worker, host and sample shop on this machine, and play acts that the engine decides.

    Ctrl-C, a closed terminal, a failure and the end leave nothing behind.
    """
    began = time.monotonic()
    interruption = Interruption()
    interruption.heed()
    end_with_terminal()
    try:
        chosen = chosen_acts(acts)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--acts") from None
    missing = missing_parts()
    if missing:
        fail("; ".join(missing))
    if report is not None and not report.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {report.absolute().parent} to write it to", param_hint="--report")
    console = Console(stderr=as_json)
    folder, usual = scratch_folder("demo"), tempfile.tempdir
    try:
        tempfile.tempdir = str(folder)  # what is being made where an interruption strikes is nobody's yet, and goes with it
        _print_policy(console)
        with open_broker() as kafka:
            at_end = _AtEnd(console, report, as_json, interruption if keep else None)
            work = play_demo(chosen, kafka, folder, console, began, at_end, build_id())
            outcome = interruption.run(work, lambda: console.print(_ENDING))
    except (ChildFailed, LeftBehind, MissingPart, NotSeen) as error:
        fail(str(error))
    except (KafkaError, NoBroker) as error:
        broker_failed(Settings(kafka_bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or "the demo's own address"), error)
    except OSError as error:
        fail(f"{error}")
    except KeyboardInterrupt:
        fail("interrupted; nothing is left running")
    finally:
        interruption.heed_no_more()
        if logs is not None:
            shutil.copytree(folder, logs, dirs_exist_ok=True)
        tempfile.tempdir = usual
        shutil.rmtree(folder, ignore_errors=True)
    end(DONE if outcome.kept else FAILED)


class _AtEnd(msgspec.Struct, frozen=True):
    """What is done with the report while everything still runs. ``keep``: it runs until that comes."""

    console: Console
    file: Path | None
    as_json: bool
    keep: Interruption | None

    async def __call__(self, report: DemoReport, stage: Stage) -> None:
        """Tell it, and stay where that was asked for."""
        self._tell(report)
        if self.keep is not None:
            await _stay(self.console, stage, self.keep)

    def _tell(self, report: DemoReport) -> None:
        if self.file is not None:
            self.file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
        if self.as_json:
            print_json(report)
        else:
            self.console.print(words(report), highlight=False, markup=False, soft_wrap=True)


async def _stay(console: Console, stage: Stage, interruption: Interruption) -> None:
    """Leave everything running until it is interrupted, which then ends the demo as its acts ended."""
    console.print(
        "\nAll of it goes on until Ctrl-C. In another terminal:",
        *stage.how_to_go_on(),
        sep="\n  ",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    enough = asyncio.Event()
    interruption.ends_by(enough.set)
    while not enough.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), _LOAD_AGAIN_SECONDS)
            break
        await stage.open_doors()
    console.print(_ENDING)


def _print_policy(console: Console) -> None:
    console.print("The demo's policy differs from the default in times only (default -> here):", highlight=False, soft_wrap=True)
    for name, (default, here) in differences(demo_policy()).items():
        if name == "steps":
            default, here = (", ".join(f"{s.weight}%: {s.min_seconds:g}-{s.max_seconds:g} s" for s in steps) for steps in (default, here))
        else:
            default, here = f"{default:g} s", f"{here:g} s"
        console.print(f"  {name.removesuffix('_seconds')}: {default} -> {here}", highlight=False, markup=False, soft_wrap=True)
    usual = Settings()
    console.print(
        f"And its telemetry: windows of {usual.window_seconds} s -> {WINDOW_SECONDS} s, waited for {usual.lateness_seconds:g} s -> "
        f"{LATENESS_SECONDS:g} s, halves of calls for {usual.pairing_seconds:g} s -> {PAIRING_SECONDS:g} s.",
        highlight=False,
        soft_wrap=True,
    )
