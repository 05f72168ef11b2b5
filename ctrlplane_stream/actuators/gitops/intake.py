"""From a command to a commit: what may be taken, what a field is to hold, and how the commit says it. Pure.

A commit moves all or nothing. A partial weight rounds down: the candidate gets nothing until it is given everything, so
there is never a lease to keep. Where nothing was ever stable and the first version is taken back, the fields get what
was there before us.
"""

from collections.abc import Mapping

import msgspec

from ctrlplane_stream.actuators.gitops.memory import Memory, one_line, without_configuration
from ctrlplane_stream.actuators.gitops.placement import Weights
from ctrlplane_stream.actuators.gitops.sight import GitSight, rendered
from ctrlplane_stream.actuators.ledger import Ledger, Refusal, take
from ctrlplane_stream.actuators.wanted import is_abort
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.world import Capacity, Cursor, TargetWanted


class Change(msgspec.Struct, frozen=True):
    """What a commit is to say: the fields that get another value, the memory, who serves, and the words for people."""

    values: dict[str, str]
    memory: Memory
    serving: str | None
    subject: str
    story: tuple[str, ...]


def whole(goal: Mapping[str, int], stable: str | None) -> dict[str, int]:
    """The goal as a commit can reach it: one version has all the traffic, or none has any."""
    if not any(goal.values()):
        return dict(goal)
    all_of_it = next((label for label, weight in goal.items() if weight == 100), None)
    heaviest = max(goal, key=lambda label: (goal[label], label))
    chosen = all_of_it or (stable if stable in goal else None) or heaviest
    return {label: 100 if label == chosen else 0 for label in goal}


def rounding(wanted: TargetWanted) -> str | None:
    """What a commit makes of partial weights, in words; None where it reaches them."""
    goal = wanted.weights
    off = [f"{label} gets {got}% instead of {goal[label]}%" for label, got in whole(goal, wanted.stable).items() if got != goal[label]]
    return "a commit moves all of the traffic or none: " + ", ".join(off) if off else None


def change_by(sight: GitSight, command: Command, cursor: Cursor, now: float) -> Change | Refusal:
    """What to commit for a command, or why it is refused."""
    wanted = without_configuration(command.wanted)
    taken = take(sight.ledger(), msgspec.structs.replace(command, wanted=wanted), cursor, now)
    if isinstance(taken, Refusal):
        return taken
    if (refusal := _unfit(sight, command) or _unwritable(sight, command)) is not None:
        return refusal
    ledger = msgspec.structs.replace(taken, goal=_declared(sight, taken), lease_until=None)
    change = change_to(sight, ledger, command.verb.value, _story(command), partly=is_abort(command))
    if isinstance(change, Change) and sight.place.weights is Weights.CLUSTER and _declared_already(sight, change):
        return Refusal("declared already", in_place=True)
    if sight.place.weights is Weights.COMMIT and command.verb is Verb.ADOPT and isinstance(change, Change) and change.values:
        there = "; ".join(f"{field} is {sight.values[field] or 'empty'}" for field in sorted(change.values))
        return Refusal(f"nothing to adopt: {there}, which is not {wanted.stable or 'that version'}")
    return change


def change_to(
    sight: GitSight, ledger: Ledger, what: str, story: tuple[str, ...], *, as_is: bool = False, partly: bool = False
) -> Change | Refusal:
    """What to commit so that the ledger's goal is declared, or why that cannot be. ``as_is``: the fields are right as they are; ``partly``:
    those that can be read are better than none."""
    listed = ledger.wanted.versions if ledger.wanted is not None else ()
    memory = sight.memory or Memory()
    serving = _all_of(ledger.goal)
    partly = partly and bool(sight.values)
    if sight.trouble and serving != _all_of(memory.ledger.weights) and not partly:
        return _troubled(sight)
    version = next((each for each in listed if each.label == serving), None)
    before = memory.before | {name: value for name, value in sight.values.items() if name not in memory.before}
    there = [field for field in sight.place.fields if str(field) in sight.values]
    right = {str(f): rendered(f, version, listed) if version is not None else before[str(f)] for f in there}
    right = dict(sight.values) if as_is else right
    changed = {name: value for name, value in right.items() if sight.values[name] != value}
    written = {name: value for name, value in memory.written.items() if not (partly and name in sight.trouble)}
    kept = Memory(msgspec.structs.replace(ledger, weights=ledger.goal), written | right, before)
    return Change(changed, kept, serving, _subject(_stood(sight), serving, bool(changed), what), story)


def numbered(change: Change, sight: GitSight) -> Change:
    """The change as one by a person's verb: one more since the last command, whose cursor it keeps."""
    before = sight.memory.by_hand if sight.memory is not None else 0
    return msgspec.structs.replace(change, memory=msgspec.structs.replace(change.memory, by_hand=before + 1))


def _all_of(weights: Mapping[str, int]) -> str | None:
    """The version that has all of the traffic, or None."""
    return next((label for label, weight in weights.items() if weight == 100), None)


def _troubled(sight: GitSight) -> Refusal:
    return Refusal("; ".join(dict.fromkeys(trouble for _, trouble in sorted(sight.trouble.items()))))


def _unwritable(sight: GitSight, command: Command) -> Refusal | None:
    """That a field cannot be read, where that is to show something new: what changes no field needs none."""
    return _troubled(sight) if sight.trouble and _brings(sight, command) else None


def _brings(sight: GitSight, command: Command) -> bool:
    """Whether the command brings a version that is not declared yet. An abort does not, nor does parking what a release was refused for."""
    known = {version.label for version in sight.listed}
    return any(v.label not in known and v.capacity is not Capacity.PARKED for v in command.wanted.versions) and not is_abort(command)


def _declared_already(sight: GitSight, change: Change) -> bool:
    """Whether the last commit declares the same versions and the same stable one: weights in between are the cluster's business."""
    wanted = change.memory.ledger.wanted
    before = sight.memory.ledger.wanted if sight.memory is not None else None
    if wanted is None or before is None or change.values or sight.edited is not None:
        return False
    return _versions(wanted) == _versions(before) and wanted.stable == before.stable


def _versions(wanted: TargetWanted) -> dict[str, str]:
    return {version.label: str(version.artifact) for version in wanted.versions}


def _declared(sight: GitSight, ledger: Ledger) -> dict[str, int]:
    """The weights that the fields are to show: those of the command in whole, or by a cluster's side the stable version."""
    stable = ledger.wanted.stable if ledger.wanted is not None else None
    if sight.place.weights is Weights.CLUSTER:
        return {label: 100 if label == stable else 0 for label in ledger.goal}
    return whole(ledger.goal, stable)


def _unfit(sight: GitSight, command: Command) -> Refusal | None:
    """What a commit cannot carry out, of a command that brings something new."""
    if sight.place.weights is Weights.CLUSTER or not _brings(sight, command):
        return None
    if command.wanted.kind is ServiceKind.JOB:
        return Refusal("a commit switches services and consumers, no jobs: name an actuator in the catalog that starts runs")
    if command.wanted.in_place:
        return Refusal(
            "a commit exchanges all instances or none: leave in_place (and surge_percent below 100) out of the policy and "
            "let the cluster exchange them"
        )
    listed = command.wanted.versions
    shown: dict[tuple[str, ...], str] = {}
    for version in listed:
        said = tuple(rendered(field, version, listed) for field in sight.place.fields)
        other = shown.setdefault(said, version.label)
        if other != version.label:
            return Refusal(
                f"{version.label} differs from {other} in its configuration or its template only, which no field shows: "
                "keep both in the repository, and out of the catalog, or add a field that writes the label"
            )
    return None


def _subject(before: str | None, after: str | None, changed: bool, what: str) -> str:
    if not changed:
        return f"{what}, {after or 'what was there before us'} stays"
    if before is not None and before == after:
        return f"{what}, {after} goes on, with other versions declared beside it"
    return f"{after or 'back to what was there before us'} instead of {before or 'what was there'}"


def _stood(sight: GitSight) -> str | None:
    """What a commit of ours is instead of: the version that serves, else what we last declared, unless somebody wrote over that."""
    if sight.serving is not None or sight.memory is None:
        return sight.serving
    return _all_of(sight.memory.ledger.goal) if sight.edited is None else "what somebody wrote there"


def _story(command: Command) -> tuple[str, ...]:
    wanted = command.wanted
    versions = ", ".join(f"{v.label}{' (stable)' if v.label == wanted.stable else ''} at {v.weight}%" for v in wanted.versions)
    rounded = rounding(wanted)
    return (
        _sentence(f"Why: {command.because or 'no reason given'}"),
        _sentence(f"Version set: {command.version_set}") if command.version_set else "",
        _sentence(f"{command.target.service}: {versions or 'no version'}"),
        _sentence(f"Rollout: {command.rollout}") if command.rollout is not None else "",
        _sentence(f"Granularity: {rounded}") if rounded is not None else "",
    )


def _sentence(text: str) -> str:
    """On one line, with one full stop."""
    return one_line(text).removesuffix(".") + "."
