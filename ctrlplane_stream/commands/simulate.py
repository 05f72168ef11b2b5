"""``ctrlplane-stream simulate --seeds A..B``: play seeds against the decision core; exit 1 on any broken promise."""

import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import click
from msgspec.structs import asdict

from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import json_option
from ctrlplane_stream.commands.statuses import DONE, FAILED, end, ends
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.simulation.drawing import plan
from ctrlplane_stream.simulation.exhaustive import Broken, explore
from ctrlplane_stream.simulation.play import Outcome, Play, shrink

_SEEDS_AT_ONCE = 25
"""That a process is handed in one go."""


@click.command(cls=Command)
@click.option("--seeds", metavar="A..B", help="First and last seed, both played; one number plays one.")
@click.option("--exhaustive", is_flag=True, help="Instead of seeds, search every interleaving of a small system.")
@click.option("--transcript", is_flag=True, help="Print the whole transcript of a failing seed, not its end only.")
@json_option("Print the summary as JSON.")
@click.option("--progress", is_flag=True, help="Say on standard error how far it is.")
@click.option("--processes", metavar="N", type=click.IntRange(min=1), help="Play seeds side by side in so many processes. [one a core]")
@ends({DONE: "every promise was kept", FAILED: "one was broken, or with --exhaustive some way is never over"})
def simulate(seeds: str | None, exhaustive: bool, transcript: bool, as_json: bool, progress: bool, processes: int | None) -> None:
    """Play simulated systems, faults and operators against the decision core, checking every invariant after every fact.

    The last line is a summary. A failing seed prints the command that replays it and the acts that are left when all that do not
    matter are taken away.
    """
    if exhaustive:
        end(_search(as_json))
    if seeds is None:
        raise click.UsageError("say --seeds A..B, or --exhaustive")
    first, last = _range(seeds)
    begun = time.monotonic()
    totals = {"seeds": 0, "facts": 0, "rollouts": 0, "completed": 0, "reverted": 0, "violations": 0}
    for outcome in _outcomes(range(first, last + 1), processes or os.cpu_count() or 1):
        totals["seeds"] += 1
        for name in ("facts", "rollouts", "completed", "reverted"):
            totals[name] += getattr(outcome, name)
        if outcome.broken:
            totals["violations"] += 1
            _tell(outcome, whole=transcript)
        if progress and totals["seeds"] % 1000 == 0:
            click.echo(f"{counted(totals['seeds'], 'seed')}, {counted(totals['violations'], 'violation')}", err=True)
    seconds = time.monotonic() - begun
    click.echo(json.dumps({**totals, "seconds": round(seconds, 1)}) if as_json else _summary(totals, seconds))
    end(FAILED if totals["violations"] else DONE)


def _outcomes(seeds: range, processes: int) -> Iterator[Outcome]:
    """How each seed ended, in the order of the seeds, however many are played at a time."""
    if min(processes, len(seeds) // _SEEDS_AT_ONCE) < 2:
        yield from map(_played, seeds)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        yield from pool.map(_played, seeds, chunksize=_SEEDS_AT_ONCE)


def _played(seed: int) -> Outcome:
    return Play(plan(seed)).run()


def _search(as_json: bool) -> int:
    """Search the small system; the exit status."""
    begun = time.monotonic()
    try:
        found = explore()
    except Broken as broken:
        click.echo(str(broken))
        return 1
    for path in found.traps[:5]:
        click.echo("never over after: " + " → ".join(path))
    told = {"states": found.shapes, "transitions": found.transitions, "ended": found.ended, "traps": len(found.traps)}
    seconds = round(time.monotonic() - begun, 1)
    words = ", ".join(f"{count} {name}" for name, count in told.items())
    click.echo(json.dumps({**told, "seconds": seconds}) if as_json else f"{words}, {seconds} s")
    return 1 if found.traps else 0


def _range(seeds: str) -> tuple[int, int]:
    first, _, last = seeds.partition("..")
    try:
        found = int(first), int(last or first)
    except ValueError:
        raise click.BadParameter(f"{seeds!r} is no whole number, and not A..B, two of them", param_hint="--seeds") from None
    if found[1] < found[0]:
        raise click.BadParameter(f"{seeds!r} has no seed in it: the first is larger than the last", param_hint="--seeds")
    return found


def _tell(outcome: Outcome, *, whole: bool) -> None:
    click.echo(f"seed {outcome.seed}: {'; '.join(outcome.broken)}")
    click.echo(f"  replay: ctrlplane-stream simulate --seeds {outcome.seed} --transcript")
    kind = _kind_of(outcome.broken[0])
    small = shrink(plan(outcome.seed), lambda p: any(_kind_of(text) == kind for text in Play(p).run().broken))
    for act in small.acts:
        told = {k: v for k, v in asdict(act).items() if v not in ("", 0, None, False)}
        click.echo(f"  {json.dumps(told)}")
    rough = {k: v for k, v in asdict(small).items() if k not in ("seed", "services", "edges", "acts") and v}
    click.echo(f"  {json.dumps(rough)}")
    lines = Play(small).run().transcript.splitlines()
    click.echo("\n".join(lines if whole else lines[-8:]))


_KIND_WORDS = 14


def _kind_of(broken: str) -> str:
    """What was broken, whichever service and number it was broken of: a smaller plan must break the very same."""
    number, _, text = broken.partition(": ")
    words = text.split()[:_KIND_WORDS]
    return " ".join([number, *("*" if any(c.isdigit() for c in word) else word for word in words)])


def _summary(totals: dict[str, int], seconds: float) -> str:
    return (
        f"{counted(totals['seeds'], 'seed')}, {counted(totals['facts'], 'fact')}, {counted(totals['rollouts'], 'rollout')} "
        f"({totals['completed']} completed, {totals['reverted']} reverted), {counted(totals['violations'], 'violation')}, {seconds:.1f} s"
    )
