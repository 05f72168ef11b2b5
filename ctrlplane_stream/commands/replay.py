"""``ctrlplane-stream replay``: derive the decisions again from ``facts`` and compare them with the log, byte for byte.

With ``--policy FILE`` instead: what another policy would have done with the same facts and telemetry.
"""

import time
from pathlib import Path

import click
import msgspec

from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import (
    BROKER_TROUBLE,
    broker_failed,
    print_json,
    require_broker,
    takes_json,
    takes_settings,
)
from ctrlplane_stream.commands.other_policy import show_other_policy
from ctrlplane_stream.commands.statuses import DIFFERENT, DONE, end, ends
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.build_id import build_id
from ctrlplane_stream.stream.replaying import Found, Problem
from ctrlplane_stream.stream.replaying_all import replay_all
from ctrlplane_stream.wire.kafka_clients import partition_of

_SHOWN = 20


class Replayed(msgspec.Struct, frozen=True):
    """What ``--json`` prints."""

    build: str
    facts: int
    decisions: int
    ignored_by_epoch: int
    parked: int
    seconds: float
    found: tuple[Found, ...]


@click.command(cls=Command)
@click.option("--environment", metavar="NAME", default=None, help="Only the partition that this environment lives on.")
@click.option(
    "--policy", "policy_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Show what this policy (YAML, as one under `policies` of a catalog) would have done instead.",
)  # fmt: skip
@takes_settings("kafka_", "topic_", "partitions", "window_", "lateness_")
@takes_json
@ends({
    DONE: "this build decides the same again, but for changes of behaviour since other builds; with --policy: it was told",
    DIFFERENT: "this build does not agree with itself, or something was lost or doubled",
})  # fmt: skip
def replay(settings: Settings, as_json: bool, environment: str | None, policy_file: Path | None) -> None:
    """Derive every decision again and compare it with what was recorded.

    Within one build they are the same, byte for byte; decisions of other builds that this one would take differently are
    shown as changes of behaviour.

    With --policy each rollout is shown as it was decided and as that policy would have decided it, judged anew from the recorded
    telemetry. Where the recorded rollout was reverted and the other would have gone on, nobody can know: it is shown as open.
    """
    require_broker(settings)
    if policy_file is not None:
        show_other_policy(settings, environment, policy_file, as_json)
        return
    partitions = [partition_of(environment, settings.partitions)] if environment else list(range(settings.partitions))
    started = time.monotonic()
    try:
        tally = replay_all(settings, partitions)
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)
    seconds = time.monotonic() - started
    told = Replayed(build_id(), tally.facts, tally.decisions, tally.ignored_by_epoch, tally.parked, round(seconds, 3), tuple(tally.found))
    if as_json:
        print_json(told)
    else:
        _print(told)
    if any(found.problem is not Problem.OTHER_BUILD for found in told.found):
        end(DIFFERENT)


def _print(told: Replayed) -> None:
    for found in told.found[:_SHOWN]:
        click.echo(f"{found.problem}: {found.environment} fact {found.fact_offset}, decision {found.decision_offset}")
        if found.recorded:
            click.echo(f"  recorded: {found.recorded[:1000]}\n  derived:  {found.derived[:1000]}")
    if len(told.found) > _SHOWN:
        click.echo(f"… and {len(told.found) - _SHOWN} more (--json shows all)")
    click.echo(
        f"build {told.build}: {counted(told.decisions, 'decision')} of {counted(told.facts, 'fact')} derived again in "
        f"{told.seconds:.1f} s, {len(told.found)} differ; {counted(told.ignored_by_epoch, 'record')} of former owners ignored, "
        f"{told.parked} parked"
    )
