"""``ctrlplane-stream rollouts`` and ``rollout ID``: where releases are, why, and what to type next.

Both read the log of record from its last snapshot on, as a new owner of the partition would; they join no group and
write nothing.
"""

import asyncio
import shutil
import sys
from datetime import UTC, datetime
from itertools import groupby

import click
import msgspec

from ctrlplane_stream.commands.as_of_now import as_of_now, began_by, time_of_day
from ctrlplane_stream.commands.catalog_in_force import unknown_environment
from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.next_command import next_command, retry_command, stop_command
from ctrlplane_stream.commands.options import (
    BROKER_TROUBLE,
    broker_failed,
    fail,
    on_one_line,
    print_json,
    require_broker,
    takes_json,
    takes_settings,
)
from ctrlplane_stream.commands.statuses import DONE, FAILED, ends
from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.assigning import step_count
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.holds import ends_by_time, stamp
from ctrlplane_stream.decision.phases import ADOPTION, ENDED, Phase
from ctrlplane_stream.decision.standstill import Standstill
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.model.verdicts import INSTANCES, OUR_JUDGE, Verdict, VerdictStatus
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.looking import LookedAt, look
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.kafka_clients import read_to_end
from ctrlplane_stream.wire.verdicts import read_verdict

_REASONS_SHOWN = 30
_BEGINS = frozenset({"queued", "another-tool"})
"""Codes of the reasons that an attempt begins with."""
_OURS = frozenset({OUR_JUDGE, INSTANCES})
"""Who gives evidence. What others said is told as the engine took it in: on the topic lies also what it ignored."""
_DONE = "outcome:applied"
"""Code of the reason that an actuator did what it was told."""


class Why(msgspec.Struct, frozen=True):
    """One reason, and where it stands in the log."""

    partition: int
    offset: int
    at_ms: int
    code: str
    text: str


class Explanation(msgspec.Struct, frozen=True):
    """Everything there is to say of a rollout. ``next_command`` is None where nothing needs to be typed."""

    rollout: e.Rollout
    version_set: e.VersionSet | None
    reasons: tuple[Why, ...]
    verdict: Verdict | None
    next_command: str | None
    began_by: str = ""
    """Which attempt this is, where not the first, and what made it begin."""
    retry_command: str | None = None
    """What to type instead where it went back for a cause that lies outside the version; None where it did not go back."""
    stop_command: str | None = None
    """What to type to end it where it goes on by itself."""
    held: tuple[str, ...] = ()
    """Why it is held, and what becomes of it where nobody ends that."""
    standstill: Standstill | None = None
    """Why nothing of its environment goes on, where that is so: then ``next_command`` and ``stop_command`` are those of it."""


@click.command(cls=Command)
@click.argument("environment")
@click.option("--all", "everything", is_flag=True, help="Ended ones too.")
@takes_settings("kafka_", "topic_", "partitions")
@takes_json
@ends({DONE: "listed, also where there are none", FAILED: "there is no such environment, or no broker answered"})
def rollouts(settings: Settings, as_json: bool, environment: str, everything: bool) -> None:
    """List the rollouts of ENVIRONMENT: what is under way, and with --all what ended lately."""
    looked = _looked(settings, environment)
    found = [_as_of_now(looked, r) for r in all_rollouts(looked.state) if everything or r.phase not in ENDED]
    if looked.standstill is not None:
        click.echo(on_one_line(f"{looked.standstill.text}; {looked.standstill.remedy}"), err=as_json)
    if as_json:
        print_json(found)
    elif not looked.decisions:
        click.echo(f"nothing was ever decided in {environment}: is that its name in the catalog, and was anything pushed?")
    elif not found:
        click.echo(f"nothing is under way in {environment}" + ("" if everything else "; --all shows what ended"))
    else:
        _print_table(table([*reversed(found)] if everything else found, looked.state, with_times=everything))


@click.command(cls=Command)
@click.argument("rollout_id", metavar="ROLLOUT")
@takes_settings("kafka_", "topic_", "partitions")
@takes_json
@ends({DONE: "told, whatever became of it", FAILED: "there is no such rollout, or no broker answered"})
def rollout(settings: Settings, as_json: bool, rollout_id: str) -> None:
    """Say why ROLLOUT is where it is: its set, its reasons with their offsets, its evidence, and what to type next."""
    environment, slash, _ = rollout_id.partition("/")
    if not slash:
        raise click.UsageError(f"{rollout_id!r} is no rollout's id, such as production/shop-cart/2: `rollouts ENVIRONMENT` lists them")
    looked = _looked(settings, environment)
    found = looked.state.find(f"rollout/{rollout_id}", e.Rollout)
    if found is None:
        known = ", ".join(r.id for r in all_rollouts(looked.state)) or "no rollout at all"
        fail(f"{environment} has no rollout {rollout_id}; it has {known}")
    reasons = tuple(
        Why(looked.partition, offset, d.at_ms, r.code, r.text)
        for offset, d in looked.decisions
        for r in d.reasons
        if r.rollout == rollout_id
    )
    chosen = looked.state.find(f"set/{rollout_id}", e.VersionSet)
    found = _as_of_now(looked, found)
    verdict = _last_verdict(settings, rollout_id) if found.attempt == 1 or found.history else None  # not of an earlier attempt
    explanation = explained(found, looked.state, chosen, reasons, verdict, looked.standstill)
    if as_json:
        print_json(explanation)
    else:
        click.echo("\n".join(on_one_line(line) for line in words(explanation)))


def explained(
    rollout: e.Rollout,
    state: State,
    chosen: e.VersionSet | None,
    reasons: tuple[Why, ...],
    verdict: Verdict | None,
    standstill: Standstill | None = None,
) -> Explanation:
    """What there is to say, with what to type next."""
    following, began = next_command(rollout, state), began_by(state, rollout)
    stop = stop_command(rollout) if following is None else None
    draft = Draft.as_of(state)
    held = tuple(_held(hold, ends_by_time(draft, rollout, hold)) for hold in rollout.holds)
    if standstill is not None:
        typed = (standstill.skip_command, began, None, standstill.abort_command)
        return Explanation(rollout, chosen, reasons, verdict, *typed, held, standstill)
    return Explanation(rollout, chosen, reasons, verdict, following, began, retry_command(rollout), stop, held)


def _as_of_now(looked: LookedAt, rollout: e.Rollout) -> e.Rollout:
    """As it is now, which is that it waits for a parked fact where its environment does."""
    if looked.standstill is None or rollout.phase in ENDED:
        return as_of_now(looked.state, rollout)
    return msgspec.structs.replace(rollout, waiting_for=looked.standstill.text)


def _held(hold: e.Hold, ends: bool) -> str:
    then = "it goes back where nobody has ended this by" if ends else "people are told again at"
    return f"{hold.text} ({then} {stamp(hold.deadline_ms, ':%S')})"


def all_rollouts(state: State) -> list[e.Rollout]:
    """Every rollout that the state holds, in the order of their beginning."""
    index = state.find("index", e.Index) or e.Index()
    found = (state.find(f"rollout/{name}", e.Rollout) for name in (*index.ended, *index.rollouts))
    return sorted((r for r in found if r is not None), key=lambda r: (r.began_ms, r.id))


def words(of: Explanation) -> list[str]:
    """The explanation as lines for a person."""
    found = of.rollout
    climbs = found.phase not in (*ENDED, *ADOPTION)
    lines = [f"{found.id} is {found.phase_word}" + (f", step {found.step + 1} of {len(found.steps)}" if climbs else "")]
    lines += [f"  {of.began_by}"] if _is_told_apart(found) else []
    lines += [f"  {u.service}: {u.stable or 'nothing'} -> {u.candidate}, now {_weights(found, u.service)}" for u in found.units]
    lines += [f"  another tool moves it; we would {found.advice.word}: {found.advice.text}"] if found.advice is not None else []
    lines += [f"  {of.standstill.text}"] if of.standstill is not None else []
    lines += [f"  held: {said}" for said in of.held]
    lines += [f"  stopped because {found.stopped_because}"] if found.stopped_because else []
    lines += [f"  now: {found.waiting_for}"] if of.standstill is None and _waits(found) else []
    if of.version_set is not None:
        adopted = found.cause == "adoption"
        lines += [f"  {said}" for said in of.version_set.explanation] if adopted else []
        lines += [] if adopted else [f"watched (confidence {of.version_set.confidence}):"]
        lines += [f"  {g.guard.service or 'entry points'}, {g.guard.role}: {g.why}" for g in of.version_set.guards]
    lines.append("decided [partition/offset]:")
    lines += _history(_of_this_attempt(of))[-_REASONS_SHOWN:]
    if of.verdict is not None:
        lines.append(f"last verdict of {of.verdict.judge}, on step {of.verdict.step + 1}: {of.verdict.status}, {of.verdict.reason}")
        lines += _evidence(of.verdict)
    outside = [heard for name, heard in sorted(found.heard.items()) if name not in _OURS]
    lines += [f"last verdict of {heard.judge}, on step {heard.step + 1}: {heard.status}, {heard.reason}" for heard in outside]
    if of.standstill is not None:
        return [*lines, f"next: {of.standstill.remedy}"]
    if of.next_command is None:
        lines.append("next: nothing to type, it goes on by itself" + (" once what holds it is mended" if found.holds else ""))
        return [*lines, *([f"  to end it before: {of.stop_command}"] if of.stop_command is not None else [])]
    if of.retry_command is None:
        return [*lines, f"next: {of.next_command}"]
    return [*lines, f"next, once it is mended: {of.next_command}", f"  or, where the cause lay outside the version: {of.retry_command}"]


def _is_told_apart(rollout: e.Rollout) -> bool:
    """Whether it could be taken for an earlier one: its id is that of the first rollout to that version."""
    return rollout.attempt > 1 or rollout.cause in ("revert", "retry")


def _waits(rollout: e.Rollout) -> bool:
    """Whether there is something to say of what it waits for that its holds and advice do not say."""
    said = rollout.holds and rollout.waiting_for in (rollout.holds[0].text, f"held: {rollout.holds[0].text}")
    return bool(rollout.waiting_for) and not said and rollout.advice is None and rollout.phase not in ENDED


def _of_this_attempt(of: Explanation) -> tuple[Why, ...]:
    """The reasons since it was last begun; --json has those of earlier attempts too."""
    begun = [at for at, why in enumerate(of.reasons) if why.code in _BEGINS]
    return of.reasons[begun[-1] :] if begun and of.rollout.attempt > 1 else of.reasons


def _weights(rollout: e.Rollout, service: str) -> str:
    weights = rollout.weights.get(service, {})
    return ", ".join(f"{label} at {weight}%" for label, weight in sorted(weights.items())) or "at no weight"


def _history(reasons: tuple[Why, ...]) -> list[str]:
    """A line a reason; of verdicts of one kind in a row only the last, with how many there were: one comes every window.

    Leases that were renewed as they always are say nothing: --json has them.
    """
    lines = []
    telling = (why for why in reasons if not (why.code == _DONE and f" {Verb.RENEW} " in why.text))
    for code, run in groupby(telling, key=lambda why: why.code if why.code.startswith("verdict:") else why):
        several = list(run)
        last, count = several[-1], f"×{len(several)} " if isinstance(code, str) and len(several) > 1 else ""
        lines.append(f"  {time_of_day(last.at_ms)} [{last.partition}/{last.offset}] {count}{last.text}")
    return lines


def _evidence(verdict: Verdict) -> list[str]:
    """What speaks for harm, the strongest first; the rest is counted. --json has all of it."""
    measured = [m for m in verdict.metrics if m.missing is None]
    telling = sorted((m for m in measured if m.e_value > 1.0 or m.status is VerdictStatus.FAIL), key=lambda m: -m.e_value / m.threshold)
    lines = [
        f"  {m.name} of {m.guard or 'entry points'} ({m.comparison}): candidate {_number(m.candidate.value)}, stable "
        f"{_number(m.stable.value)}, e-value {m.e_value:.3g} of {m.threshold:.3g}: {m.status}"
        for m in telling
    ]
    quiet = len(measured) - len(telling)
    return [*lines, f"  {counted(quiet, 'other comparison shows', 'other comparisons show')} no harm"] if quiet else lines


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def table(found: list[e.Rollout], state: State, *, with_times: bool = False) -> list[tuple[str, ...]]:
    """A row a rollout below one of headings; the last cell is the longest. ``with_times``: when each began and ended."""
    rows: list[tuple[str, ...]] = [("rollout", "phase", "step", *(("began (UTC)", "ended (UTC)") if with_times else ()), "changed", "why")]
    for r in found:
        times = (_date(r.began_ms), _date(r.ended_ms) if r.ended_ms is not None else "") if with_times else ()
        changed = ", ".join(f"{u.service} {u.candidate}" for u in r.units)
        attempt = f" ({began_by(state, r)})" if _is_told_apart(r) else ""
        rows.append(
            (r.id, f"{r.phase_word}{', held' if r.held else ''}", f"{r.step + 1}/{len(r.steps)}", *times, changed + attempt, _why(r))
        )
    return rows


def _print_table(rows: list[tuple[str, ...]]) -> None:
    """On a terminal cut at its width, elsewhere whole."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    most = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        line = on_one_line("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))
        click.echo(line if most is None or len(line) <= most else line[: most - 1] + "…")


def _why(rollout: e.Rollout) -> str:
    """In one sentence why it is where it is."""
    if rollout.advice is not None:
        return f"would {rollout.advice.word}: {rollout.advice.text}"
    if rollout.holds:
        return rollout.holds[-1].text
    if rollout.stopped_because:
        return rollout.stopped_because
    if rollout.phase is Phase.COMPLETED and rollout.cause != "adoption":
        if rollout.forced:
            return f"forced past its gates{_last_failure(rollout)}"
        unproven = len(frozenset(rollout.unproven))
        return f"baked, unproven in {unproven} of {step_count(rollout)} steps" if unproven else "baked"
    waits = rollout.waiting_for if rollout.phase not in ENDED else None
    return waits or (rollout.history[-1].reason if rollout.history else "")


def _last_failure(rollout: e.Rollout) -> str:
    """What the last of them said against it, where that is a FAIL."""
    last = rollout.history[-1] if rollout.history else None
    return f", the last of which failed: {last.reason}" if last is not None and last.status is VerdictStatus.FAIL else ""


def _looked(settings: Settings, environment: str) -> LookedAt:
    require_broker(settings)
    try:
        looked = asyncio.run(look(settings, environment))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)
    if not looked.decisions and (wrong := unknown_environment(settings, environment)) is not None:
        fail(wrong)
    return looked


def _last_verdict(settings: Settings, rollout_id: str) -> Verdict | None:
    try:
        return asyncio.run(last_evidence(settings, rollout_id))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)


async def last_evidence(settings: Settings, rollout_id: str) -> Verdict | None:
    """Of our own judge and of what instances told, which lie on one partition in the order in which they were said."""
    last = None
    async for record in read_to_end(settings, "health-verdicts"):
        found = read_verdict(record.value)
        if not isinstance(found, Unreadable) and found.rollout == rollout_id and found.judge in _OURS:
            last = found
    return last


def _date(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
