"""Argo CD's application controller, built from its Go module, on our control plane; and a repository for it.

The repository is a folder that stands in for the server of repositories, and the controller's own memory stands in for Redis
(``main.go``). Making manifests of the files, comparing, ignoring and syncing is Argo CD's own.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.local.control_plane.lab import Lab
from ctrlplane_stream.local.processes import ChildProcess
from tests.kubernetes.from_modules import FromModules

_DEFINITIONS = ("application-crd.yaml", "appproject-crd.yaml", "applicationset-crd.yaml")
PROGRAM = FromModules(
    "argo-cd",
    "application-controller",
    Path(__file__).parent,
    ".",
    "github.com/argoproj/argo-cd/v3",
    {name: f"manifests/crds/{name}" for name in _DEFINITIONS},
    6,
    ("go.mod", "go.sum", "main.go"),
)
_PART = {"app.kubernetes.io/part-of": "argocd"}


class Repository:
    """A repository of which only the head is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def commit(self, revision: str, files: Mapping[str, str]) -> str:
        """Make these files the head, and call that ``revision``."""
        for name, text in files.items():
            path = self.folder / revision / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.folder / "next").write_text(revision)
        (self.folder / "next").rename(self.folder / "HEAD")
        return revision


def installed(namespace: str, settings: Mapping[str, str] | None = None) -> list[Manifest]:
    """What Argo CD finds where it is installed: its kinds, its settings (by default with nothing set), and the default project."""
    of = {"namespace": namespace, "labels": _PART}
    everywhere = {"sourceRepos": ["*"], "destinations": [{"namespace": "*", "server": "*"}]}
    return [
        *PROGRAM.kinds(),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", **of}, "data": dict(settings or {})},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "argocd-secret", **of},
            "stringData": {"server.secretkey": "not secret"},
        },
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AppProject",
            "metadata": {"name": "default", "namespace": namespace},
            "spec": everywhere,
        },
    ]


@contextlib.contextmanager
def controller(lab: Lab, namespace: str, repository: Repository, folder: Path) -> Iterator[None]:
    """The controller at work on the Applications of a namespace, with an administrator's token, as it is installed by default."""
    command = [str(PROGRAM.build()), namespace, str(repository.folder)]
    kubeconfig = str(lab.plane.kubeconfig(lab.plane.admin_token, "argo-cd"))
    environ = {**os.environ, "KUBECONFIG": kubeconfig, "ARGOCD_FAKE_IN_CLUSTER": "true"}
    with ChildProcess("application-controller", command, log=folder / "application-controller.log", environ=environ):
        yield


if __name__ == "__main__":
    PROGRAM.build()
