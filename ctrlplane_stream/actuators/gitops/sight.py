"""Everything of one target at one head of its branch, and what that means: who serves, what somebody else changed. Pure but for reading."""

import msgspec
from dulwich.objects import ObjectID

from ctrlplane_stream.actuators.gitops.clone import Clone
from ctrlplane_stream.actuators.gitops.history import History, who_changed
from ctrlplane_stream.actuators.gitops.memory import Memory
from ctrlplane_stream.actuators.gitops.placement import Field, GitPlace, Weights, Writes
from ctrlplane_stream.actuators.gitops.yaml_text import FieldTrouble, value_at
from ctrlplane_stream.actuators.ledger import Ledger, and_then
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import WantedVersion


class GitSight(msgspec.Struct, frozen=True):
    """What was seen at ``head``: the values of the target's fields, and in words what cannot be read."""

    target: Target
    place: GitPlace
    head: ObjectID
    memory: Memory | None
    values: dict[str, str]
    trouble: dict[str, str]
    edited: str | None

    @property
    def listed(self) -> tuple[WantedVersion, ...]:
        """The versions of the last command."""
        wanted = self.memory.ledger.wanted if self.memory is not None else None
        return wanted.versions if wanted is not None else ()

    @property
    def serving(self) -> str | None:
        """The version that every field names that can be read; None where there is none such. Of several that only what was refused made
        alike, the one that was last said to have all of the traffic."""
        there = [(field, self.values[str(field)]) for field in self.place.fields if str(field) in self.values]
        fitting = [v.label for v in self.listed if there and all(value == rendered(f, v, self.listed) for f, value in there)]
        goal = self.memory.ledger.goal if self.memory is not None else {}
        return max(fitting, key=lambda label: goal.get(label, 0)) if fitting else None

    def ledger(self) -> Ledger:
        """The ledger with what the repository says by now: the weights in force where commits move them, and an edit by somebody else."""
        if self.memory is None:
            return Ledger()
        kept, serving = self.memory.ledger, self.serving
        weights = {version.label: 100 if version.label == serving else 0 for version in self.listed}
        if self.place.weights is Weights.CLUSTER:
            weights = {}
        edited = kept.edited if self.edited is None else and_then(kept.edited, self.edited)
        return msgspec.structs.replace(kept, weights=weights, edited=edited)


def rendered(field: Field, version: WantedVersion, listed: tuple[WantedVersion, ...]) -> str:
    """What the field holds while ``version`` serves, of those that are listed."""
    match field.write:
        case Writes.DIGEST:
            return version.artifact.digest
        case Writes.IMAGE:
            return str(version.artifact)
        case Writes.LABEL:
            return version.label
        case Writes.VERSIONS:
            return " ".join(f"{each.label}={each.artifact.digest}" for each in listed)


def read_git_sight(clone: Clone, history: History, target: Target, place: GitPlace, max_age_seconds: float = 0.0) -> GitSight:
    """The target as its branch has it. Raises WorldUnreachable and MemoryUnreadable."""
    head = clone.head(max_age_seconds)
    memory = history.memory(target, head)
    values, trouble = dict[str, str](), dict[str, str]()
    for field in place.fields:
        try:
            values[str(field)] = value_at(clone.text(head, field.file), field.where)
        except FieldTrouble as error:
            trouble[str(field)] = f"{field.file} {error}"
    return GitSight(target, place, head, memory, values, trouble, _edited(clone, head, place, memory, values, trouble))


def _edited(
    clone: Clone, head: ObjectID, place: GitPlace, memory: Memory | None, values: dict[str, str], trouble: dict[str, str]
) -> str | None:
    """What somebody else made of our fields, in words that no other edit has; None where all is as we left it."""
    changed = []
    for field in place.fields:
        left = memory.written.get(str(field)) if memory is not None else None
        if left is not None and values.get(str(field)) != left:
            now = trouble.get(str(field)) or f"{field} is {values[str(field)] or 'empty'} instead of {left}"
            changed.append(f"{who_changed(clone, head, field)}: {now}")
    return "; ".join(dict.fromkeys(changed)) or None
