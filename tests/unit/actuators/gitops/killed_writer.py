"""A writer that is killed around its push: killed_writer.py REPOSITORY FOLDER "before the push"|"after the push"."""

import os
import signal
import sys
from pathlib import Path

from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.placement import GitPlace, Repository, Weights
from ctrlplane_stream.actuators.gitops.remote import Remote
from ctrlplane_stream.model.world import Cursor
from tests.unit.actuators.gitops.scene import DIGEST, command, run, version, wanted

repository, folder, at = sys.argv[1:]
undisturbed = Remote.push


def push(remote: Remote, *arguments: object) -> None:
    if at == "after the push":
        undisturbed(remote, *arguments)  # type: ignore[arg-type]
    os.kill(os.getpid(), signal.SIGKILL)


Remote.push = push  # type: ignore[method-assign]
place = GitPlace(Repository(f"file://{repository}"), (DIGEST,), Weights.COMMIT)
run(GitOps(lambda target: place, Path(folder)).apply(command(wanted(version(1, 0), version(2, 100)), 3), Cursor(1, 3)))
