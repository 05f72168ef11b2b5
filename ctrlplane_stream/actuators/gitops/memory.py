"""What a target remembers of us, in the message of a commit: the ledger, what was written where, what was there before.

The last commit of ours for a target, found by its trailers, is the target's cell of compare-and-set: a new one is pushed only onto
the head that was looked at, so of two writers one finds that the branch has moved, and looks again. The last is that with the greatest
cursor, and of those that people's verbs made under one cursor that with the greatest number (``Ctrlplane-By-Hand: 1``, 2 …), wherever
it lies in the history: people pick old commits anew, message and all. A commit may move
several targets of one version set; each then has trailers of its own. People read the message; we read the trailers::

    shop/cart in production: #2 instead of #1

    Why: the step passed.
    Version set: shop/cart #2 instead of #1; watched: shop/front #7.
    shop/cart: #1 (stable) at 0%, #2 at 100%.
    Rollout: production/shop-cart/2.

    Ctrlplane-Target: production:shop/cart
    Ctrlplane-Cursor: 3.118
    Ctrlplane-Version: #2 registry.example/shop/cart@sha256:… serving
    Ctrlplane-Memory: {…}
"""

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Cursor, TargetWanted, WantedVersion
from ctrlplane_stream.wire.json_words import WrongJson, read_json

_NAMED = 3
"""So many targets are named in the first line of a message; the rest are counted."""
_CURSOR = re.compile(r"(\d{1,18})\.(\d{1,18})", re.ASCII)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_TRAILER = re.compile(r"^Ctrlplane-(Target|Cursor|By-Hand|Memory): (.+)$", re.MULTILINE)


class MemoryUnreadable(Exception):
    """The trailers of a commit of ours cannot be read; nothing is guessed, since a lost cursor would let old commands in."""


class Standing(msgspec.Struct, frozen=True, order=True):
    """Where a commit of ours stands among those for its target: by the last command that was taken, and how often a person's verb has
    changed something since. No two have the same but for copies of one."""

    cursor: Cursor
    by_hand: int = 0


class Memory(msgspec.Struct, frozen=True):
    """``written``: field → what our last commit left there. ``before``: field → what we found there at first. ``by_hand``: how often a
    person's verb has changed something since the last command."""

    ledger: Ledger = Ledger()
    written: dict[str, str] = {}
    before: dict[str, str] = {}
    by_hand: int = 0


def without_configuration(wanted: TargetWanted) -> TargetWanted:
    """The wanted state as it is remembered: a repository has other readers, so of a configuration only its hash is kept."""
    return msgspec.structs.replace(wanted, versions=tuple(_hashed(version) for version in wanted.versions))


def _hashed(version: WantedVersion) -> WantedVersion:
    if not version.configuration or set(version.configuration) == {"sha256"}:
        return version
    digest = hashlib.sha256(msgspec.json.encode(version.configuration, order="sorted")).hexdigest()
    return msgspec.structs.replace(version, configuration={"sha256": digest})


class Told(msgspec.Struct, frozen=True):
    """What a commit says of one target: its memory, what changes in a few words, the lines of its story, and who gets the traffic."""

    target: Target
    memory: Memory
    subject: str
    story: tuple[str, ...]
    serving: str | None


def message(told: Sequence[Told]) -> str:
    """The whole message of a commit that moves these targets, of one environment; what they have in common is said once."""
    lines = itertools.chain.from_iterable(itertools.zip_longest(*(each.story for each in told)))
    story = "\n".join(dict.fromkeys(line for line in lines if line))
    trailers = "\n".join(itertools.chain.from_iterable(_trailers_of(each) for each in told))
    return "\n\n".join(filter(None, [one_line(_subject(told)), story, trailers])) + "\n"


def _subject(told: Sequence[Told]) -> str:
    first = told[0].target
    if len(told) == 1:
        return f"{first.service} in {first.environment}: {told[0].subject}"
    named = [f"{each.target.service} {each.subject}" for each in told[:_NAMED]]
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return f"{len(told)} services in {first.environment}: {'; '.join(named)}{more}"


def _trailers_of(told: Told) -> Iterator[str]:
    cursor, wanted = told.memory.ledger.cursor, told.memory.ledger.wanted
    yield f"Ctrlplane-Target: {told.target}"
    if cursor is not None:
        yield f"Ctrlplane-Cursor: {cursor.epoch}.{cursor.sequence}"
    if told.memory.by_hand:
        yield f"Ctrlplane-By-Hand: {told.memory.by_hand}"
    for version in wanted.versions if wanted is not None else ():
        serves, stable = version.label == told.serving, wanted is not None and version.label == wanted.stable
        notes = [text for text, holds in (("serving", serves), ("stable", stable)) if holds]
        yield " ".join([f"Ctrlplane-Version: {version.label} {version.artifact}", *notes])
    ledger = msgspec.structs.replace(told.memory.ledger, cursor=None, weights={})
    kept = msgspec.structs.replace(told.memory, ledger=ledger, by_hand=0)
    yield f"Ctrlplane-Memory: {msgspec.json.encode(kept, order='deterministic').decode()}"


def standings_of(text: str) -> dict[Target, Standing]:
    """The targets whose memory a commit message holds, each with its standing; none where it is not ours, which always has a cursor."""
    blocks = {target: trailers for target, trailers in _blocks(text).items() if "Memory" in trailers}
    found = {target: _standing(trailers) for target, trailers in blocks.items()}
    return {target: standing for target, standing in found.items() if standing is not None}


def _standing(trailers: Mapping[str, str]) -> Standing | None:
    cursor, by_hand = _CURSOR.fullmatch(trailers.get("Cursor", "")), trailers.get("By-Hand", "")
    if cursor is None:
        return None
    return Standing(Cursor(int(cursor[1]), int(cursor[2])), int(by_hand) if _NUMBER.fullmatch(by_hand) else 0)


def read_memory(text: str, commit: str, target: Target) -> Memory:
    """The memory of a target in the message of ``commit``. Raises MemoryUnreadable."""
    try:
        memory = read_json(_blocks(text)[target]["Memory"], Memory)
    except WrongJson as error:
        raise MemoryUnreadable(
            f"the trailers of commit {commit[:12]} cannot be read ({error}): was it written by another version of the program, or by hand?"
        ) from error
    stands = standings_of(text)[target]
    ledger = msgspec.structs.replace(memory.ledger, cursor=stands.cursor)
    return msgspec.structs.replace(memory, ledger=ledger, by_hand=stands.by_hand)


def one_line(text: str) -> str:
    """The text without line breaks, so that it cannot be taken for a trailer."""
    return " ".join(text.split())


def _blocks(text: str) -> dict[Target, dict[str, str]]:
    """Our trailers by target, from the last paragraph only; those of a target begin with its name."""
    found: dict[Target, dict[str, str]] = {}
    block: dict[str, str] = {}
    for match in _TRAILER.finditer(text.rstrip().rpartition("\n\n")[2]):
        if match[1] == "Target":
            environment, _, service = match[2].partition(":")
            block = found[Target(environment, service)] = {}
        block[match[1]] = match[2]
    return found
