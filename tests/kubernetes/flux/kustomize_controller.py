"""Flux's kustomize-controller, built from its Go module, on our control plane; and a source for it, as source-controller would tell it.

The source is an archive on loopback and what a GitRepository's status says of it: which commit, where, and its digest. Everything
from there on, fetching, building and applying it to the cluster, is Flux's own.
"""

import contextlib
import hashlib
import http.server
import io
import os
import subprocess
import tarfile
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import yaml

from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.local.cache import cache_folder, cached
from ctrlplane_stream.local.control_plane.lab import Lab
from ctrlplane_stream.local.processes import ChildProcess, free_port

MODULE = "github.com/fluxcd/kustomize-controller"
_SOURCE = Path(__file__).parent
_READY_SECONDS = 60.0
_KINDS = {"GitRepository": "gitrepositories", "OCIRepository": "ocirepositories", "Bucket": "buckets"}


def place() -> Path:
    """Where the controller is, or will be once it was built."""
    return cache_folder() / "flux" / hashlib.sha256(_recipe()).hexdigest()[:16]


def is_built() -> bool:
    """Whether it is there; building it takes minutes."""
    return (place() / ".recipe").exists()


def build() -> Path:
    """The folder with the program and its definition of Kustomizations, built on first use."""
    return cached(place(), _recipe(), _build)


def _recipe() -> bytes:
    return b"".join((_SOURCE / name).read_bytes() for name in ("go.mod", "go.sum"))


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("go.mod", "go.sum"):
            (Path(scratch) / name).write_bytes((_SOURCE / name).read_bytes())
        environ = {**os.environ, "CGO_ENABLED": "0"}
        go = partial(subprocess.run, cwd=scratch, env=environ, check=True, capture_output=True, text=True)
        go(
            [
                "go",
                "build",
                "-mod=mod",
                "-buildvcs=false",
                "-trimpath",
                "-ldflags",
                "-s -w",
                "-o",
                str(folder / "kustomize-controller"),
                MODULE,
            ]
        )
        module = go(["go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", MODULE]).stdout.strip()
        definition = Path(module) / "config" / "crd" / "bases" / "kustomize.toolkit.fluxcd.io_kustomizations.yaml"
        (folder / "kustomizations.yaml").write_bytes(definition.read_bytes())


@contextlib.contextmanager
def controller(lab: Lab, folder: Path) -> Iterator[None]:
    """The controller at work on the cluster, with an administrator's token, as it is installed by default."""
    health = free_port()
    command = [
        str(build() / "kustomize-controller"),
        "--watch-all-namespaces",
        f"--metrics-addr=127.0.0.1:{free_port()}",
        f"--health-addr=127.0.0.1:{health}",
    ]
    environ = {**os.environ, "KUBECONFIG": str(lab.plane.kubeconfig(lab.plane.admin_token, "flux"))}
    with ChildProcess("kustomize-controller", command, log=folder / "kustomize-controller.log", environ=environ) as child:
        child.wait_ready(lambda: _is_up(f"http://127.0.0.1:{health}/readyz"), _READY_SECONDS)
        yield


def kustomizations() -> list[Manifest]:
    """The definition of Kustomizations that comes with the controller."""
    return list(yaml.safe_load_all((build() / "kustomizations.yaml").read_text()))


def definitions() -> list[Manifest]:
    """The kinds of sources that the controller watches, without a schema."""
    return [_definition(kind, plural) for kind, plural in _KINDS.items()]


class Source:
    """A repository's head, served on loopback from ``with`` to its end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        handler = partial(_Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Source":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def commit(self, files: Mapping[str, str]) -> Manifest:
        """Make these files the head; the artifact that a GitRepository's status then names."""
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode="w:gz") as archive:
            for name, text in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        packed = written.getvalue()
        digest = hashlib.sha256(packed).hexdigest()
        name = f"{digest[:12]}.tar.gz"
        (self._folder / name).write_bytes(packed)
        return {
            "path": name,
            "url": f"http://127.0.0.1:{self._server.server_port}/{name}",
            "revision": f"main@sha1:{digest[:40]}",
            "digest": f"sha256:{digest}",
            "lastUpdateTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "size": len(packed),
        }


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _is_up(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2.0) as answer:
        return bool(answer.status == 200)
    return False


def _definition(kind: str, plural: str) -> Manifest:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.source.toolkit.fluxcd.io"},
        "spec": {
            "group": "source.toolkit.fluxcd.io",
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


if __name__ == "__main__":
    print(build())
