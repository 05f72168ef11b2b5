"""A bare repository on disk that declares the target's version, and the actuator that commits to it beside the cluster."""

import os
import subprocess
import tempfile
from pathlib import Path

from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.placement import Field, GitPlace, Repository, Weights, Writes
from ctrlplane_stream.actuators.gitops.with_cluster import WithCluster
from ctrlplane_stream.actuators.gitops.yaml_text import Locator
from ctrlplane_stream.actuators.port import Actuator

_FILE, _FIELD = "versions.yaml", "cart"
_QUIET = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_{what}": said for who in ("AUTHOR", "COMMITTER") for what, said in (("NAME", "Alice"), ("EMAIL", "alice@example.org"))},
}


class Declared:
    """The repository, from construction until ``remove``; it needs ``git``."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ctrlplane-sweep-")
        self._path = Path(self._folder.name) / "origin.git"
        self._clones = 0
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self._path)], check=True, env={**os.environ, **_QUIET})
        blob = self._git("hash-object", "-w", "--stdin", given=f"{_FIELD}: none # yet\n")
        tree = self._git("mktree", given=f"100644 blob {blob}\t{_FILE}\n")
        self._git("update-ref", "refs/heads/main", self._git("commit-tree", tree, "-m", "Begin"))

    def beside(self, cluster: Actuator) -> WithCluster:
        """A worker's actuator, with a clone of its own."""
        place = GitPlace(Repository(f"file://{self._path}"), (Field(_FILE, Locator(_FIELD), Writes.DIGEST),), Weights.CLUSTER)
        self._clones += 1
        return WithCluster(GitOps(lambda _: place, Path(self._folder.name) / f"clones-{self._clones}"), cluster)

    def text(self) -> str:
        """What is declared."""
        return self._git("show", f"main:{_FILE}")

    def remove(self) -> None:
        """Delete it and every clone."""
        self._folder.cleanup()

    def _git(self, *arguments: str, given: str | None = None) -> str:
        command = ["git", "-C", str(self._path), *arguments]
        done = subprocess.run(command, check=True, input=given, capture_output=True, text=True, env={**os.environ, **_QUIET})
        return done.stdout.strip()
