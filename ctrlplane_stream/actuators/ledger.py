"""What a target remembers of us, and the rules by which that changes: pure, shared by every world that we keep ourselves.

A ledger is the compare-and-set cell of "Effectively once", point 5. Commands change it through ``take``; people through
``edit``, ``release`` and ``break_glass``; time through ``expire``; the readiness of instances through ``move``
(``shifting.py``). Every rule returns a new ledger or a ``Refusal``; nothing here knows a clock, a process or a file.
"""

from collections.abc import Mapping

import msgspec

from ctrlplane_stream.actuators.wanted import problems
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.world import Cursor, TargetWanted

_THEN = "; then "
_EDITS_NAMED = 5
RELEASED_LEASE_SECONDS = 300.0
"""The lease of a partial weight that no command named one for, as of one that an operator hands back: the policy's default."""


class Refusal(msgspec.Struct, frozen=True):
    """Why something was not taken, and what to do. ``in_place``: this very cursor was taken before."""

    reason: str
    in_place: bool = False


class Ledger(msgspec.Struct, frozen=True):
    """The memory of one target, kept in the target itself.

    ``goal`` are the weights to be reached, ``weights`` those in force, both in percent by label: they differ only while
    a version that is to gain is not ready for it. ``lease_until`` is in seconds since 1970: of weights that are not whole, or on their
    way. The three last fields are what happened other than by our command, each in words, until a command agrees with it.
    """

    wanted: TargetWanted | None = None
    cursor: Cursor | None = None
    goal: dict[str, int] = {}
    weights: dict[str, int] = {}
    lease_until: float | None = None
    lease_expired: bool = False
    edited: str | None = None
    broken_glass: str | None = None


def take(
    ledger: Ledger, command: Command, cursor: Cursor, now: float, seen: Mapping[str, int] | None = None, *, settled: bool = True
) -> Ledger | Refusal:
    """The ledger after a command, or why it is refused; ``now`` in seconds since 1970, ``seen`` the weights in force where those that were
    given away count until they are gone, ``settled`` whether no instance has to come or go for what is wanted: where weight is a share of
    instances, one that is not ready has none and takes its own once it is.

    Refused are: what is malformed, a cursor that is not greater, a target edited by hand (unless ``over_edit`` names
    that edit), a change of an immutable version, and after an expired lease or a broken glass anything that would
    raise a weight: whoever decided it did not know. A command that agrees with the stable weights takes note of it.
    """
    refusal = _misfit(ledger, command) or _stale(ledger, cursor) or _overruled(ledger, command)
    if refusal is not None:
        return refusal
    wanted = command.wanted
    taken = Ledger(wanted=wanted, cursor=cursor, goal=wanted.weights, weights=ledger.weights)
    in_force = taken if seen is None else msgspec.structs.replace(taken, weights=dict(seen))
    return msgspec.structs.replace(taken, lease_until=_lease(ledger, in_force, now, settled=settled))


def _lease(before: Ledger, taken: Ledger, now: float, *, settled: bool) -> float | None:
    """Until when weights stand that are not whole or not there yet. A command that names no lease keeps the one that runs: it is about
    what is in force, which no wish ends."""
    if settled and is_whole(taken):
        return None
    named = taken.wanted.lease_seconds if taken.wanted is not None else None
    if named is not None:
        return now + named
    if not _is_partial(taken.weights):
        return None if settled else before.lease_until
    return before.lease_until if before.lease_until is not None else now + RELEASED_LEASE_SECONDS


def is_whole(ledger: Ledger) -> bool:
    """Whether one version has all of the traffic, or none has any, and that is what was wanted: nothing is left to be judged."""
    given, wanted = ({label: weight for label, weight in each.items() if weight} for each in (ledger.weights, ledger.goal))
    return given == wanted and not _is_partial(given)


def _is_partial(weights: Mapping[str, int]) -> bool:
    return any(0 < weight < 100 for weight in weights.values())


def expire(ledger: Ledger, now: float, *, settled: bool = True) -> Ledger:
    """The ledger, with the weights that are in force, with its lease honoured: unchanged; or without it, since the weights are whole by
    now and ``settled``; or on its way to stable because nobody renewed in time."""
    if ledger.lease_until is None or now < ledger.lease_until:
        return ledger
    if settled and is_whole(ledger):
        return msgspec.structs.replace(ledger, lease_until=None)
    return msgspec.structs.replace(ledger, goal=fallback(ledger), lease_until=None, lease_expired=True)


def edit(ledger: Ledger, weights: Mapping[str, int], note: str) -> Ledger | Refusal:
    """The ledger with weights wanted by a person. They stand until released: no lease runs.

    ``note`` says who, when and why; it is the edit's name, so it must be unique. One over another names both.
    """
    known = set(ledger.goal)
    unknown = sorted(set(weights) - known)
    if unknown:
        return Refusal(f"no version {', '.join(unknown)} here: there are {', '.join(sorted(known)) or 'none'}")
    if sum(weights.values()) != 100 or min(weights.values()) < 0:
        return Refusal(f"weights must lie in 0..100 and sum to 100, not to {sum(weights.values())}")
    goal = dict.fromkeys(ledger.goal, 0) | dict(weights)
    return msgspec.structs.replace(ledger, goal=goal, lease_until=None, edited=and_then(ledger.edited, note))


def and_then(edited: str | None, note: str) -> str:
    """The name of an edit over another that nobody has answered yet: both, of very many the last ones."""
    return note if edited is None else _THEN.join([*edited.split(_THEN), note][-_EDITS_NAMED:])


def release(ledger: Ledger, now: float) -> Ledger | Refusal:
    """The ledger handed back to the engine with the weights that it has; a partial weight is on a lease again."""
    if ledger.edited is None:
        return Refusal("nothing to release: the target was not edited by hand")
    named = ledger.wanted.lease_seconds if ledger.wanted is not None else None
    partial = _is_partial(ledger.goal) or _is_partial(ledger.weights)
    until = now + (named or RELEASED_LEASE_SECONDS) if partial else None
    return msgspec.structs.replace(ledger, edited=None, lease_until=until)


def break_glass(ledger: Ledger, note: str) -> Ledger | Refusal:
    """The ledger on its stable weights, at once and whatever is ready; ``note`` says who, when and why."""
    if ledger.wanted is None:
        return Refusal("there is nothing of this target here")
    goal = fallback(ledger)
    return msgspec.structs.replace(ledger, goal=goal, weights=goal, lease_until=None, edited=None, broken_glass=note)


def fallback(ledger: Ledger) -> dict[str, int]:
    """The weights to which the target goes without us: all to stable, or 0 for all where nothing was ever stable."""
    stable = ledger.wanted.stable if ledger.wanted is not None else None
    return {label: 100 if label == stable else 0 for label in ledger.goal}


def _misfit(ledger: Ledger, command: Command) -> Refusal | None:
    """What is wrong with the command by itself or against the versions that are there."""
    found = problems(command)
    if found:
        return Refusal("; ".join(found))
    before = {version.label: version for version in ledger.wanted.versions} if ledger.wanted is not None else {}
    for version in command.wanted.versions:
        was = before.get(version.label)
        if was is not None and was.made_from != version.made_from:
            text = f"{version.label} is {was.artifact} with its configuration and template already"
            return Refusal(f"{text}: versions are immutable, give it a new label")
    gone = [label for label, weight in ledger.weights.items() if weight > 0 and label not in {v.label for v in command.wanted.versions}]
    if gone:
        return Refusal(f"{', '.join(gone)} still takes traffic and is not listed: shift it to weight 0 before it is deleted")
    return None


def _stale(ledger: Ledger, cursor: Cursor) -> Refusal | None:
    if ledger.cursor is None or cursor > ledger.cursor:
        return None
    if cursor == ledger.cursor:
        return Refusal("this very command is in place already", in_place=True)
    return Refusal(f"stale: the target is at {words(ledger.cursor)}, the command at {words(cursor)}")


def _overruled(ledger: Ledger, command: Command) -> Refusal | None:
    """Whether the command would go over something that it does not know of."""
    if ledger.edited is not None and command.over_edit != ledger.edited:
        return Refusal(f"edited by hand: {ledger.edited}; resume through `control`, or release the edit on the target")
    if not ledger.lease_expired and ledger.broken_glass is None:
        return None
    safe = fallback(ledger)
    raised = [v.label for v in command.wanted.versions if v.weight > safe.get(v.label, 0)]
    if not raised:
        return None
    what = "the lease ran out" if ledger.broken_glass is None else f"glass was broken: {ledger.broken_glass}"
    return Refusal(f"{what}, and the target went to stable; {', '.join(raised)} must be commanded to weight 0 before it may rise again")


def words(cursor: Cursor) -> str:
    """A cursor as people read it."""
    return f"epoch {cursor.epoch}, sequence {cursor.sequence}"
