"""What a target remembers of us, in the message of a commit: the ledger, what was written where, what was there before.

The last commit of ours for a target, found by its trailers, is the target's cell of compare-and-set: a new one is pushed
only onto the head that was looked at, so of two writers one finds that the branch has moved, and looks again. People
read the message; we read the trailers::

    shop/cart in production: #2 instead of #1

    Because the step passed.
    Rollout production/shop-cart/2, versions #1 (stable) and #2.

    Ctrlplane-Target: production:shop/cart
    Ctrlplane-Cursor: 3.118
    Ctrlplane-Version: #2 registry.example/shop/cart@sha256:… serving
    Ctrlplane-Memory: {…}
"""

import hashlib
import re

import msgspec

from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Cursor, TargetWanted, WantedVersion

_TRAILER = re.compile(r"^Ctrlplane-(Target|Cursor|Memory): (.+)$", re.MULTILINE)


class MemoryUnreadable(Exception):
    """The trailers of a commit of ours cannot be read; nothing is guessed, since a lost cursor would let old commands in."""


class Memory(msgspec.Struct, frozen=True):
    """``written``: field → what our last commit left there. ``before``: field → what we found there at first."""

    ledger: Ledger = Ledger()
    written: dict[str, str] = {}
    before: dict[str, str] = {}


def without_configuration(wanted: TargetWanted) -> TargetWanted:
    """The wanted state as it is remembered: a repository has other readers, so of a configuration only its hash is kept."""
    return msgspec.structs.replace(wanted, versions=tuple(_hashed(version) for version in wanted.versions))


def _hashed(version: WantedVersion) -> WantedVersion:
    if not version.configuration or set(version.configuration) == {"sha256"}:
        return version
    digest = hashlib.sha256(msgspec.json.encode(version.configuration, order="sorted")).hexdigest()
    return msgspec.structs.replace(version, configuration={"sha256": digest})


def message(target: Target, memory: Memory, subject: str, story: str, serving: str | None) -> str:
    """A commit's whole message. ``serving`` is the version that gets the traffic."""
    cursor = memory.ledger.cursor
    wanted = memory.ledger.wanted
    trailers = [f"Ctrlplane-Target: {target}"]
    if cursor is not None:
        trailers.append(f"Ctrlplane-Cursor: {cursor.epoch}.{cursor.sequence}")
    for version in wanted.versions if wanted is not None else ():
        notes = [
            text for text, holds in (("serving", version.label == serving), ("stable", wanted and version.label == wanted.stable)) if holds
        ]
        trailers.append(" ".join([f"Ctrlplane-Version: {version.label} {version.artifact}", *notes]))
    kept = msgspec.structs.replace(memory, ledger=msgspec.structs.replace(memory.ledger, cursor=None, weights={}))
    trailers.append(f"Ctrlplane-Memory: {msgspec.json.encode(kept, order='deterministic').decode()}")
    return "\n\n".join(filter(None, [one_line(f"{target.service} in {target.environment}: {subject}"), story, "\n".join(trailers)])) + "\n"


def target_of(text: str) -> Target | None:
    """The target whose memory a commit message holds, or None where it holds none."""
    found = _trailers(text)
    if "Target" not in found or "Memory" not in found:
        return None
    environment, _, service = found["Target"].partition(":")
    return Target(environment, service)


def read_memory(text: str, commit: str) -> Memory:
    """The memory in the message of ``commit``. Raises MemoryUnreadable."""
    found = _trailers(text)
    try:
        memory = msgspec.json.decode(found["Memory"], type=Memory)
        epoch, _, sequence = found["Cursor"].partition(".")
        cursor = Cursor(int(epoch), int(sequence))
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise MemoryUnreadable(
            f"the trailers of commit {commit[:12]} cannot be read ({error}): was it written by another version of the program, or by hand?"
        ) from error
    return msgspec.structs.replace(memory, ledger=msgspec.structs.replace(memory.ledger, cursor=cursor))


def one_line(text: str) -> str:
    """The text without line breaks, so that it cannot be taken for a trailer."""
    return " ".join(text.split())


def _trailers(text: str) -> dict[str, str]:
    """Our trailers, from the last paragraph only."""
    last = text.rstrip().rpartition("\n\n")[2]
    return {match[1]: match[2] for match in _TRAILER.finditer(last)}
