"""What we hold of a repository: a bare clone of one branch in a scratch folder, and commits made on it without a work tree.

Nothing in it is worth keeping: a folder that is damaged is thrown away and fetched anew. A commit lives here only until
it is pushed; one that never was is never looked at again, since everything starts from the head that was fetched.
"""

import contextlib
import fcntl
import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_ISREG
from typing import IO

from dulwich.errors import NotGitRepository, NotTreeError
from dulwich.object_store import tree_lookup_path
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, SubmoduleEncountered, Tree
from dulwich.repo import Repo

from ctrlplane_stream.actuators.gitops.remote import Remote
from ctrlplane_stream.actuators.gitops.yaml_text import FieldTrouble
from ctrlplane_stream.actuators.port import WorldUnreachable

_POINTER = b"version https://git-lfs.github.com/spec/"
_PACKS = 200
"""Fetches that brought something, after which the clone is made anew."""


class Clone:
    """A bare clone of one branch. Synchronous, and for one thread at a time."""

    def __init__(self, remote: Remote, folder: Path) -> None:
        self.remote = remote
        self._path, self._lock = _own_folder(folder, f"{remote.repository.url} {remote.repository.branch}")
        self.repo = self._open()
        self._head: ObjectID | None = None
        self._fetched: float | None = None

    def head(self, max_age_seconds: float = 0.0) -> ObjectID:
        """The branch's head, asked for again where what is held is older than this. Raises WorldUnreachable."""
        if self._head is None or self._fetched is None or time.monotonic() - self._fetched > max_age_seconds:
            self._head, self._fetched = self._fetch(), time.monotonic()
        if self._head is None:
            repository = self.remote.repository
            raise WorldUnreachable(f"{repository.url} has no branch {repository.branch}: make it, or correct the placement file")
        return self._head

    def text(self, commit: ObjectID, file: str) -> str:
        """A file's text at a commit. Raises FieldTrouble where there is none, or it is no UTF-8, or elsewhere (Git LFS)."""
        found = self.blob_id(commit, file)
        if found is None:
            raise FieldTrouble("is not there: add it, or correct the placement file")
        blob = self.repo[found]
        assert isinstance(blob, Blob)
        if blob.data.startswith(_POINTER):
            raise FieldTrouble("is kept in Git LFS, and is a pointer here: take it out (`git lfs untrack`, and add it again)")
        try:
            return blob.data.decode()
        except UnicodeDecodeError as error:
            raise FieldTrouble(f"is no UTF-8 text: {error}") from error

    def blob_id(self, commit: ObjectID, file: str) -> ObjectID | None:
        """The id of a file's content at a commit, or None where there is none. Raises FieldTrouble for a folder or beyond a file."""
        try:
            return self._entry(commit, file)[1]
        except KeyError:
            return None

    def files(self, commit: ObjectID) -> Iterator[str]:
        """The paths of all files at a commit, in the order of the tree."""
        for entry in self.repo.object_store.iter_tree_contents(self.commit(commit).tree):
            if entry.path is not None and entry.mode is not None and S_ISREG(entry.mode):
                yield entry.path.decode(errors="replace")

    def commit(self, on: ObjectID) -> Commit:
        """The commit of that id."""
        found = self.repo[on]
        assert isinstance(found, Commit)
        return found

    def push(self, on: ObjectID, files: Mapping[str, str], message: str) -> ObjectID:
        """Commit new contents of existing files on top of ``on`` and push it. Raises BranchMoved, PushRefused, WorldUnreachable."""
        made, objects = self.make(on, files, message)
        self.remote.push(on, made, objects)
        self._head, self._fetched = made, time.monotonic()
        for each in objects:
            self.repo.object_store.add_object(each)
        return made

    def make(self, on: ObjectID, files: Mapping[str, str], message: str) -> tuple[ObjectID, list[ShaFile]]:
        """A commit on top of ``on``, kept nowhere yet: its id, and the objects that are new with it."""
        tree, objects = self.commit(on).tree, list[ShaFile]()
        for file, text in sorted(files.items()):
            blob = Blob.from_string(text.encode())
            mode, _ = self._entry(on, file)
            tree = self._with_blob(tree, file.encode().split(b"/"), mode, blob, objects)
        made = Commit()
        made.tree, made.parents = tree, [on]
        made.author = made.committer = self.remote.repository.author.encode()
        made.author_time = made.commit_time = int(time.time())
        made.author_timezone = made.commit_timezone = 0
        made.encoding, made.message = b"UTF-8", message.encode()
        return made.id, [made, *objects]

    def begin_anew(self) -> None:
        """Throw the clone away, damaged or grown: the next look fetches everything again."""
        self.repo.close()
        shutil.rmtree(self._path)
        self.repo, self._head = self._open(), None

    def close(self) -> None:
        """Let the folder go, so that another process may use it."""
        self.repo.close()
        self._lock.close()

    def _with_blob(self, tree_id: ObjectID, steps: list[bytes], mode: int, blob: Blob, made: list[ShaFile]) -> ObjectID:
        """The id of a tree in which a path has another blob; new objects are added to ``made``, where earlier ones are found too."""
        tree = next((each for each in made if each.id == tree_id), None) or self.repo[tree_id]
        assert isinstance(tree, Tree)
        tree = tree.copy()
        assert isinstance(tree, Tree)
        if len(steps) == 1:
            made.append(blob)
            tree[steps[0]] = (mode, blob.id)
        else:
            below_mode, below = tree[steps[0]]
            tree[steps[0]] = (below_mode, self._with_blob(below, steps[1:], mode, blob, made))
        made.append(tree)
        return tree.id

    def _entry(self, commit: ObjectID, file: str) -> tuple[int, ObjectID]:
        try:
            mode, found = tree_lookup_path(self.repo.__getitem__, self.commit(commit).tree, file.encode())
        except (NotTreeError, SubmoduleEncountered) as error:
            raise FieldTrouble(
                "lies beyond what is no folder: a file, a link or a submodule; name it by the way that Git has it"
            ) from error
        if not S_ISREG(mode):
            raise FieldTrouble("is no file: name the file itself, not a folder or a link to it")
        return mode, found

    def _fetch(self) -> ObjectID | None:
        if len(self.repo.object_store.packs) > _PACKS:  # one a fetch: anew is cheaper than a collector of garbage
            self.begin_anew()
        return self.remote.fetch(self.repo)

    def _open(self) -> Repo:
        if (self._path / "HEAD").exists():
            with contextlib.suppress(NotGitRepository, ValueError):
                return Repo(str(self._path))
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.mkdir(parents=True)
        return Repo.init_bare(str(self._path))


def _own_folder(folder: Path, name: str) -> tuple[Path, IO[bytes]]:
    """A folder for the clone that no other process works in now, with the lock that says so."""
    folder.mkdir(parents=True, exist_ok=True)
    base = hashlib.sha256(name.encode()).hexdigest()[:16]
    number = 0
    while True:
        path = folder / (f"{base}.git" if number == 0 else f"{base}-{number}.git")
        lock = path.with_suffix(".lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            number += 1
        else:
            return path, lock
