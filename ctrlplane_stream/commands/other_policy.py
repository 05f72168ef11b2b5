"""``replay --policy FILE``: reads the recording from the topics, has it decided under the other policy, and tells the difference."""

import asyncio
from collections import Counter, defaultdict
from pathlib import Path

import click
import msgspec

from ctrlplane_stream.commands.options import BROKER_TROUBLE, broker_failed, fail, print_json, text_of
from ctrlplane_stream.commands.policy_differences import policy_differences
from ctrlplane_stream.decision.phases import ENDED
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.model.decisions import Decided, Lane, Parked
from ctrlplane_stream.model.facts import CatalogApplied, FactRecord
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.model.windows import WindowRecord
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.simulation.backtest import OPEN, Backtest, Compared, Ending, Outcome, Recording, rollouts_of, taken
from ctrlplane_stream.stream.deciding import SKIPPED, read_fact
from ctrlplane_stream.stream.decision_log import Fence, admitted
from ctrlplane_stream.stream.judging import Timing
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.wire.catalog_file import read_policy_file
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.kafka_clients import partition_of
from ctrlplane_stream.wire.windows import read_window


class Told(msgspec.Struct, frozen=True):
    """What ``--json`` prints of an environment. ``telemetry_from_ms`` is where the recorded windows begin (None: there are none).

    ``differences``: of each service that was or would have been moved, in which fields the other policy is not the last recorded one.
    """

    environment: str
    facts: int
    telemetry_from_ms: int | None
    rollouts: tuple[Compared, ...]
    differences: dict[str, tuple[str, ...]] = {}


def show_other_policy(settings: Settings, environment: str | None, file: Path, as_json: bool) -> None:
    """Print each rollout as it was and as it would have been under the policy in the file."""
    policy = read_policy_file(text_of(file))
    if not isinstance(policy, Policy):
        fail(f"{file}:\n" + "\n".join(str(problem) for problem in policy))
    try:
        recordings = asyncio.run(_recordings(settings, environment))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)
    if not recordings:
        fail(f"nothing was recorded of {environment}" if environment else "no fact was recorded yet")
    timing = Timing(settings.partitions, settings.window_seconds, settings.lateness_seconds)
    told = [_told(recording, policy, timing) for recording in recordings]
    if as_json:
        print_json(told)
    else:
        click.echo("\n".join(line for one in told for line in words(one)))


def _told(recording: Recording, policy: Policy, timing: Timing) -> Told:
    begins = min((at for at, _, _ in recording.windows), default=None)
    compared = Backtest(recording, policy, timing).run()
    moved, had = sorted({service for one in compared for service in one.changed}), _policies(recording)
    differences = {service: policy_differences(had[service], policy) for service in moved if service in had}
    return Told(recording.environment, len(recording.facts), begins, compared, differences)


def _policies(recording: Recording) -> dict[str, Policy]:
    """The last recorded policy of each service."""
    catalogs = (fact.catalog for _, fact in recording.facts if isinstance(fact, CatalogApplied))
    return {entry.service: entry.policy for catalog in catalogs for entry in catalog.services}


def words(told: Told) -> list[str]:
    """One environment for a person."""
    lines = [f"{told.environment}: {counted(len(told.rollouts), 'rollout')} in {counted(told.facts, 'fact')}"]
    if told.telemetry_from_ms is None:
        lines.append("  no telemetry is recorded: nothing can be judged")
    for differences in dict.fromkeys(told.differences.values()):
        of = ", ".join(service for service, its in told.differences.items() if its == differences)
        lines.append(f"  where this policy is another than that of {of}:" if differences else f"  this policy is that of {of}")
        lines += [f"    {line}" for line in differences]
    for one in told.rollouts:
        lines.append(f"  {', '.join(f'{service} {change}' for service, change in one.changed.items())}")
        lines.append(f"    as decided:  {_words(one.recorded)}")
        advised = one.outcome is Outcome.ADVISED
        lines.append(f"    this policy: {'left out: another tool moved it, and we only advised' if advised else _words(one.other)}")
    count = Counter(one.outcome for one in told.rollouts)
    lines.append(
        f"{count[Outcome.OTHERWISE]} of {len(told.rollouts)} would have ended otherwise, {count[Outcome.SAME]} alike"
        + (f"; {count[Outcome.UNDECIDED]} had not ended on both sides when the recording does" if count[Outcome.UNDECIDED] else "")
        + (f"; {count[Outcome.ADVISED]} left out" if count[Outcome.ADVISED] else "")
    )
    return lines


def _words(ending: Ending | None) -> str:
    if ending is None:
        return "no such rollout"
    because = f"; {ending.because}" if ending.because else ""
    reached = f"{counted(ending.requests, 'request')} reached it"
    still = "" if ending.phase in (*ENDED, OPEN) else "still "
    return f"{still}{ending.phase} after {ending.seconds:.0f} s, up to {ending.highest}%, {reached}{because}"


class _Undecided(msgspec.Struct):
    """What of an environment's facts its engine has not decided: what a person had it skip, and what waits at one that it cannot decide."""

    skipped: set[int] = set()
    parked: int | None = None

    def hear(self, record: Decided | Parked) -> None:
        """Take in the next record that counts."""
        if isinstance(record, Parked):
            self.parked = record.fact_offset
            return
        if record.lane is Lane.TURN and record.fact_offset == self.parked:
            self.parked = None
        if any(reason.code == SKIPPED for reason in record.reasons):
            self.skipped.add(record.fact_offset)

    def has(self, offset: int) -> bool:
        """Whether the fact at this offset is one."""
        return offset in self.skipped or (self.parked is not None and offset >= self.parked)


async def _recordings(settings: Settings, environment: str | None) -> list[Recording]:
    """Every environment that the facts name, or the one that was asked for, in order of name."""
    reader = KafkaLogReader(settings)
    partitions = [partition_of(environment, settings.partitions)] if environment else range(settings.partitions)
    try:
        found = [recording for partition in partitions for recording in await _of_partition(reader, partition)]
    finally:
        await reader.close()
    return sorted((r for r in found if environment in (None, r.environment)), key=lambda r: r.environment)


async def _of_partition(reader: KafkaLogReader, partition: int) -> list[Recording]:
    facts: dict[str, list[tuple[int, int, FactRecord]]] = {}
    windows: dict[str, list[tuple[int, int, WindowRecord]]] = {}
    deltas: dict[str, list[dict[str, msgspec.Raw]]] = {}
    undecided: defaultdict[str, _Undecided] = defaultdict(_Undecided)
    async for found in reader.read("facts", partition, 0):
        fact = read_fact(found.value)
        if not isinstance(fact, Unreadable):
            facts.setdefault(fact.environment, []).append((found.at_ms, found.offset, fact))
    async for found in reader.read("telemetry-windows", partition, 0):
        window = read_window(found.value)
        if not isinstance(window, Unreadable):
            windows.setdefault(window.environment, []).append((found.at_ms, found.offset, window))
    end = await reader.end("decisions", partition)
    async for _, _, record in admitted(reader, partition, 0, end, Fence()):
        undecided[record.environment].hear(record)
        if isinstance(record, Decided):
            deltas.setdefault(record.environment, []).append(record.delta)
    return [
        Recording(
            name,
            taken((at_ms, fact) for at_ms, offset, fact in log if not undecided[name].has(offset)),
            tuple(windows.get(name, ())),
            rollouts_of(deltas.get(name, ())),
        )
        for name, log in sorted(facts.items())
    ]
