"""Which commits are ours, read from a branch's history once and then only from what is new; and who changed a field since."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from dulwich.graph import can_fast_forward
from dulwich.objects import Commit, ObjectID
from dulwich.walk import ORDER_TOPO

from ctrlplane_stream.actuators.gitops.clone import Clone
from ctrlplane_stream.actuators.gitops.memory import Memory, Standing, read_memory, standings_of
from ctrlplane_stream.actuators.gitops.placement import Field
from ctrlplane_stream.actuators.gitops.yaml_text import FieldTrouble, value_at
from ctrlplane_stream.model.identity import Target

log = logging.getLogger(__name__)
_LOOKED_THROUGH = 500
"""Commits that are looked through for whoever changed a field; an older change is told by the oldest of these."""


class Kept(msgspec.Struct, frozen=True):
    """The last commit of ours for a target: that which stands highest, and of equal ones the latest."""

    stands: Standing
    commit: str
    text: str


class History:
    """The last commit of ours for each target of a branch."""

    def __init__(self, clone: Clone) -> None:
        self._clone = clone
        self._kept: dict[Target, Kept] = {}
        self._through: ObjectID | None = None

    def memory(self, target: Target, head: ObjectID) -> Memory | None:
        """What the target remembers at ``head``, or None where no commit of ours is for it. Raises MemoryUnreadable."""
        self._read_to(head)
        kept = self._kept.get(target)
        return None if kept is None else read_memory(kept.text, kept.commit, target)

    def _read_to(self, head: ObjectID) -> None:
        if head == self._through:
            return
        repo = self._clone.repo
        known = self._through
        if known is not None and not (known in repo.object_store and can_fast_forward(repo, known, head)):
            log.warning("%s was rewritten: what we did in commits that are gone is forgotten", self._clone.remote.repository.url)
            self._kept, known = {}, None
        new: dict[Target, Kept] = {}
        for entry in repo.get_walker(include=[head], exclude=[known] if known is not None else [], order=ORDER_TOPO):
            text = entry.commit.message.decode(errors="replace")
            for target, stands in standings_of(text).items() if b"Ctrlplane-Target: " in entry.commit.message else ():
                if target not in new or new[target].stands < stands:
                    new[target] = Kept(stands, entry.commit.id.decode(), text)
        self._kept |= {target: kept for target, kept in new.items() if target not in self._kept or self._kept[target].stands <= kept.stands}
        self._through = head


def who_changed(clone: Clone, head: ObjectID, field: Field) -> str:
    """Who left the field as it is at ``head``, when, and in which commit: the same words until somebody changes it again."""
    found = clone.commit(head)
    for commit in _where_same(clone, head, field):
        found = commit
    # Whoever picks a commit of ours anew leaves us as its author, and is its committer.
    ours = found.author == clone.remote.repository.author.encode()
    who = (found.committer if ours else found.author).decode(errors="replace").partition(" <")[0]
    when = datetime.fromtimestamp(found.commit_time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{who} at {when} (commit {found.id.decode()[:12]})"


def _where_same(clone: Clone, head: ObjectID, field: Field) -> Iterator[Commit]:
    """The head and its first parents, as far as the field is as it is at the head."""
    last = clone.commit(head)
    now, blob = _value(clone, head, field), _blob(clone, head, field)
    for _ in range(_LOOKED_THROUGH):
        yield last
        if not last.parents:
            return
        before = last.parents[0]
        if _blob(clone, before, field) != blob and _value(clone, before, field) != now:
            return
        last = clone.commit(before)


def _blob(clone: Clone, commit: ObjectID, field: Field) -> ObjectID | None:
    try:
        return clone.blob_id(commit, field.file)
    except FieldTrouble:
        return None


def _value(clone: Clone, commit: ObjectID, field: Field) -> str | None:
    try:
        return value_at(clone.text(commit, field.file), field.where)
    except FieldTrouble:
        return None
