"""Flux's kustomize-controller, built from its Go module, on our control plane; and a source for it, as source-controller would tell it.

The source is an archive on loopback and what a GitRepository's status says of it: which commit, where, and its digest. Everything
from there on, fetching, building and applying it to the cluster, is Flux's own.
"""

import contextlib
import hashlib
import http.server
import io
import os
import tarfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.local.control_plane.lab import Lab
from ctrlplane_stream.local.processes import ChildProcess, free_port
from tests.kubernetes.from_modules import FromModules

MODULE = "github.com/fluxcd/kustomize-controller"
_DEFINITIONS = {"kustomizations.yaml": "config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"}
PROGRAM = FromModules("flux", "kustomize-controller", Path(__file__).parent, MODULE, MODULE, _DEFINITIONS, 4)
_READY_SECONDS = 60.0
_KINDS = {"GitRepository": "gitrepositories", "OCIRepository": "ocirepositories", "Bucket": "buckets"}


@contextlib.contextmanager
def controller(lab: Lab, folder: Path) -> Iterator[None]:
    """The controller at work on the cluster, with an administrator's token, as it is installed by default."""
    health = free_port()
    command = [
        str(PROGRAM.build()),
        "--watch-all-namespaces",
        f"--metrics-addr=127.0.0.1:{free_port()}",
        f"--health-addr=127.0.0.1:{health}",
    ]
    environ = {**os.environ, "KUBECONFIG": str(lab.plane.kubeconfig(lab.plane.admin_token, "flux"))}
    with ChildProcess("kustomize-controller", command, log=folder / "kustomize-controller.log", environ=environ) as child:
        child.wait_ready(lambda: _is_up(f"http://127.0.0.1:{health}/readyz"), _READY_SECONDS)
        yield


def definitions() -> list[Manifest]:
    """Its own kind, and the kinds of sources that it watches, without a schema."""
    return [*PROGRAM.kinds(), *(_definition(kind, plural) for kind, plural in _KINDS.items())]


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
    PROGRAM.build()
