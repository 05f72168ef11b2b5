"""What a command must be in itself before any world looks at it: the rules of invariant 1 on paper."""

from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.world import Capacity, TargetWanted


def problems(command: Command) -> tuple[str, ...]:
    """What is wrong with the command's wanted state, each a sentence; empty where it can be carried out."""
    wanted = command.wanted
    found = []
    if wanted.target != command.target:
        found.append(f"the command is for {command.target}, its wanted state for {wanted.target}")
    return (*found, *_of_versions(wanted), *_of_weights(wanted))


def is_partial(wanted: TargetWanted) -> bool:
    """Whether any weight lies strictly between 0 and 100, so that somebody must be judging."""
    return any(0 < version.weight < 100 for version in wanted.versions)


def retreats(wanted: TargetWanted) -> bool:
    """Whether all traffic goes to the stable version (or none anywhere): what an abort wants, and what is always safe."""
    return all(version.weight == (100 if version.label == wanted.stable else 0) for version in wanted.versions)


def is_abort(command: Command) -> bool:
    """Whether the command moves traffic, and all of it back: such a one goes before everything else."""
    return command.verb is Verb.SHIFT and retreats(command.wanted)


def _of_versions(wanted: TargetWanted) -> list[str]:
    labels = [version.label for version in wanted.versions]
    found = [f"{label} is listed twice" for label in sorted({x for x in labels if labels.count(x) > 1})]
    if wanted.stable is not None and wanted.stable not in labels:
        found.append(f"stable {wanted.stable} is not among the versions")
    found += [
        f"{version.label} is to be parked with weight {version.weight}: make before break"
        for version in wanted.versions
        if version.capacity is Capacity.PARKED and version.weight > 0
    ]
    return found


def _of_weights(wanted: TargetWanted) -> list[str]:
    found = [f"{v.label} has weight {v.weight}: it must lie in 0..100" for v in wanted.versions if not 0 <= v.weight <= 100]
    total = sum(version.weight for version in wanted.versions)
    if total not in (0, 100):
        found.append(f"weights sum to {total}: they must sum to 100, or to 0 where nothing was ever stable")
    if total == 0 and wanted.stable is not None:
        found.append(f"weights sum to 0 although {wanted.stable} is stable: somebody must serve")
    if is_partial(wanted) and wanted.lease_seconds is None:
        found.append("a weight between 0 and 100 needs lease_seconds: nobody may be judging")
    return found
