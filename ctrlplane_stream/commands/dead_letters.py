"""``ctrlplane-stream dead-letters list|replay``: what could not be used, and trying it again."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

from ctrlplane_stream.commands.groups import Group
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
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.dead_letters import TOPIC, DeadLetter, read_letter
from ctrlplane_stream.wire.kafka_clients import producer, read_to_end

_Result = TypeVar("_Result")
_EXCERPT_BYTES = 120
_REPLAY_HEADER = "replay-of"
_NEVER_WRITTEN_TO = ("decisions", "dependency-table", "judge-state", "pair-checkpoints")
"""They have one writer a partition. What anybody else wrote to the log of record would make its owner give it up; to the others, where
the newest of a key counts, it would undo what the owner wrote since."""


class Place(click.ParamType):
    """``PARTITION:OFFSET`` of a dead letter, as `list` prints it."""

    name = "partition:offset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """The pair of numbers; a usage error for anything else."""
        found = re.fullmatch(r"(\d+):(\d+)", str(value))
        if found is None:
            self.fail(f"{value!r} is not PARTITION:OFFSET, such as 3:17", param, ctx)
        return int(found[1]), int(found[2])


class Chosen:
    """Which letters are meant: all conditions that were given hold."""

    def __init__(self, topic: str | None, reason: str | None, places: tuple[tuple[int, int], ...]) -> None:
        self._topic, self.places = topic, places
        try:
            self._reason = re.compile(reason or "", re.IGNORECASE)
        except re.error as error:
            raise click.UsageError(f"--reason is not a regular expression: {error}") from None

    @property
    def everything(self) -> bool:
        """Whether nothing was asked for in particular."""
        return not (self._topic or self._reason.pattern or self.places)

    def __call__(self, letter: DeadLetter) -> bool:
        """Whether the letter is meant."""
        return (
            self._topic in (None, letter.topic)
            and bool(self._reason.search(letter.reason))
            and (not self.places or letter.place in self.places)
        )


def _choosing(command: Any) -> Any:
    command = click.option("--at", "places", type=Place(), multiple=True, help="Only this letter; may be repeated.")(command)
    command = click.option("--reason", metavar="REGEX", help="Only reasons that match this regular expression.")(command)
    return click.option("--topic", metavar="NAME", help="Only what came from this topic (its name without prefix).")(command)


@click.group("dead-letters", cls=Group)
def dead_letters() -> None:
    """List what could not be used, with reasons, and replay it."""


@dead_letters.command("list", short_help="Show dead letters and why they are here.")
@takes_settings("kafka_", "topic_", "partitions")
@_choosing
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most letters shown, newest last.")
@takes_json
@ends({DONE: "listed, also where there are none"})
def list_command(
    settings: Settings, topic: str | None, reason: str | None, places: tuple[tuple[int, int], ...], limit: int, as_json: bool
) -> None:
    """Show dead letters: where each was, why it is here, and how it begins. The sums are over all that were meant."""
    letters, counts = _run(settings, lambda: _listed(settings, Chosen(topic, reason, places), limit))
    if as_json:
        print_json({"letters": letters, "counts": [{"topic": t, "reason": r, "count": n} for (t, r), n in counts.most_common()]})
        return
    for letter in letters:
        click.echo(_line(letter))
    click.echo(f"dead letters: {counts.total()}")
    for (origin, why), count in counts.most_common(20):
        click.echo(f"  {count} from {origin or 'an unknown topic'}: {why[:160]}")


@dead_letters.command("replay", short_help="Write dead letters back to where they were.")
@takes_settings("kafka_", "topic_", "partitions")
@_choosing
@click.option("--all", "everything", is_flag=True, help="Every dead letter there is.")
@click.option("--dry-run", is_flag=True, help="Say what would be replayed, and write nothing.")
@takes_json
@ends({
    DONE: "those that were meant are written back, also where there are none",
    FAILED: "one that --at names is not there; the others are written back",
})  # fmt: skip
def replay_command(
    settings: Settings,
    topic: str | None,
    reason: str | None,
    places: tuple[tuple[int, int], ...],
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write dead letters back to where they were, byte for byte, to be read again by a mended build.

    Each goes to the partition that it had, with its own key and headers, and the header `replay-of` that says which
    letter it was. Events carry ids, so one that counted meanwhile counts once; spans have none and count again. A letter
    that still cannot be used becomes a new dead letter. The old one stays until its retention ends, and is skipped from then on unless --at
    names it: the new one stands for it. Of letters about the same record one is written back. What came
    from `decisions` (a notification that no webhook took, or a foreign writer's) is never written back there, and is skipped; nor is
    what came from `dependency-table`, `judge-state` and `pair-checkpoints`, where roles keep what they know.
    """
    chosen = Chosen(topic, reason, places)
    if chosen.everything and not everything:
        raise click.UsageError("say which: --topic, --reason, --at, or --all")
    did = _run(settings, lambda: _replayed(settings, chosen, dry_run))
    if as_json:
        skipped = {"skipped": did.skipped, "came_back": did.came_back, "repeated": did.repeated}
        print_json({"replayed": did.written, **skipped, "not_found": did.not_found, "dry_run": dry_run})
    else:
        click.echo("\n".join(_words(did, dry_run)))
    if did.not_found:
        narrowed = " of that topic or reason" if topic or reason else ""
        fail(f"there is no such dead letter{narrowed}: {', '.join(did.not_found)}; `dead-letters list` shows those that there are")


def _words(did: "Replayed", dry_run: bool) -> list[str]:
    lines = [f"dead letters {'that would be replayed' if dry_run else 'replayed'}: {did.written}"]
    if did.skipped:
        lines.append(f"skipped {did.skipped} that came from {', '.join(_NEVER_WRITTEN_TO)} or do not say where from")
    if did.repeated:
        lines.append(f"skipped {did.repeated} about records of which another letter is here, too")
    if did.came_back:
        lines.append(f"skipped {did.came_back} that were replayed before and came back: the newer letters stand for them")
    return lines


def _run(settings: Settings, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    require_broker(settings)
    try:
        return asyncio.run(work())
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)


async def _letters(settings: Settings, chosen: Chosen) -> AsyncIterator[DeadLetter]:
    async for record in read_to_end(settings, TOPIC):
        letter = read_letter(record.partition, record.offset, record.value, record.headers)
        if chosen(letter):
            yield letter


async def _listed(settings: Settings, chosen: Chosen, limit: int) -> tuple[list[DeadLetter], Counter[tuple[str, str]]]:
    """The newest letters in order of time, and how many there are by topic and reason; holds no more than it shows."""
    newest: list[DeadLetter] = []
    counts: Counter[tuple[str, str]] = Counter()
    async for letter in _letters(settings, chosen):
        counts[letter.topic, letter.reason] += 1
        newest.append(letter)
        if len(newest) >= 2 * limit:
            newest = sorted(newest, key=_age)[-limit:]
    return sorted(newest, key=_age)[-limit:], counts


class Replayed(msgspec.Struct, frozen=True):
    """How many were written back and acknowledged, how many cannot be (no origin, or one that is not ours to write to), how many
    came back before, so that newer letters stand for them, how many are about a record of which another was written back, and which were
    named and are not there."""

    written: int
    skipped: int
    came_back: int
    repeated: int
    not_found: tuple[str, ...]


async def _came_back(settings: Settings) -> frozenset[bytes]:
    """The places of letters that were replayed and could not be used again."""
    found: set[bytes] = set()
    async for letter in _letters(settings, Chosen(None, None, ())):
        found.update(value for name, value in letter.headers if name == _REPLAY_HEADER)
    return frozenset(found)


async def _replayed(settings: Settings, chosen: Chosen, dry_run: bool) -> Replayed:
    written = skipped = came_back = repeated = 0
    records: set[tuple[str, tuple[int, int]]] = set()
    before = frozenset[bytes]() if chosen.places else await _came_back(settings)
    missing = dict.fromkeys(chosen.places)
    async with producer(settings) as client:
        async for letter in _letters(settings, chosen):
            missing.pop(letter.place, None)
            if not letter.readable or letter.topic in _NEVER_WRITTEN_TO:
                skipped += 1
                continue
            if (letter.topic, letter.origin) in records:
                repeated += 1
                continue
            records.add((letter.topic, letter.origin))
            name = _named(letter.place).encode()
            if name in before:
                came_back += 1
                continue
            if not dry_run:
                headers = [*letter.headers, (_REPLAY_HEADER, name)]
                await client.send_and_wait(
                    settings.topic(letter.topic), letter.value, key=letter.key, partition=letter.origin[0], headers=headers
                )
            written += 1
    return Replayed(written, skipped, came_back, repeated, tuple(map(_named, missing)))


def _named(place: tuple[int, int]) -> str:
    return f"{place[0]}:{place[1]}"


def _age(letter: DeadLetter) -> tuple[int, tuple[int, int]]:
    return letter.at_ms, letter.place


def _line(letter: DeadLetter) -> str:
    at = datetime.fromtimestamp(letter.at_ms / 1000, UTC).isoformat(sep=" ", timespec="seconds") if letter.at_ms else "no time"
    excerpt = repr(letter.value[:_EXCERPT_BYTES])[2:-1] if letter.value is not None else "(no value)"
    place, origin, reason = _named(letter.place), _named(letter.origin), on_one_line(letter.reason)
    return f"{place}  {at}  {letter.topic}[{origin}]  {reason}\n    {counted(len(letter.value or b''), 'byte')}: {excerpt}"
