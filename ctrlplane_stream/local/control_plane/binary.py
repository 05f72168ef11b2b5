"""One binary that is the whole control plane and kubectl, built once from ``go.mod``, ``go.sum`` and ``main.go`` into the cache.

Cold it takes about 10 minutes of two cores and 4 GB of Go's build cache; 148 MB remain. The Gateway API's CRDs are
taken from the same modules and lie beside it in ``crds/``.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ctrlplane_stream.local.cache import Long, cache_folder, cached
from ctrlplane_stream.local.processes import ChildFailed

KUBERNETES_VERSION = "1.37.2"
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
_LONG = Long("a Kubernetes control plane from its Go modules", 11)
_SOURCE = Path(__file__).parent
_FILES = ("go.mod", "go.sum", "main.go", "gateway_api.go")
_GATEWAY_API = "sigs.k8s.io/gateway-api"
_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


def missing_parts(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What the control plane lacks on this machine, one line each with its remedy; empty where it can start."""
    path, missing = environ.get("PATH"), []
    if shutil.which("openssl", path=path) is None:
        missing.append("openssl is missing: apt-get install openssl")
    if shutil.which("go", path=path) is None and not (_place(environ) / ".recipe").exists():
        missing.append("go is missing: install Go 1.26 or newer, which builds the control plane once")
    return missing


def control_plane_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder with the programs of ``PARTS`` and ``crds/``, built on first use. Raises ChildFailed with the build's last words."""
    return cached(_place(environ), _recipe(), lambda folder: _build(folder, environ), _LONG)


def _recipe() -> bytes:
    return b"".join((_SOURCE / name).read_bytes() for name in _FILES)


def _place(environ: Mapping[str, str]) -> Path:
    return cache_folder(environ) / "kubernetes" / hashlib.sha256(_recipe()).hexdigest()[:16]


def _build(folder: Path, environ: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for name in _FILES:
            shutil.copy(_SOURCE / name, scratch)
        go_environ = {**environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false"}
        program = folder / "control-plane"
        _go(["build", "-trimpath", "-ldflags", _link_flags(), "-o", str(program), "."], Path(scratch), go_environ)
        modules = _go(["list", "-m", "-f", "{{.Dir}}", _GATEWAY_API], Path(scratch), go_environ).strip()
        if not modules:
            modules = _go(["mod", "download", "-json", _GATEWAY_API], Path(scratch), go_environ).split('"Dir": "')[1].split('"')[0]
        _copy_definitions(Path(modules) / "config" / "crd" / "standard", folder / "crds")
    for part in PARTS:
        (folder / part).symlink_to("control-plane")


def _copy_definitions(source: Path, destination: Path) -> None:
    """Copies, writable by us: the module cache is read-only."""
    destination.mkdir()
    for path in sorted(source.glob("*.yaml")):
        (destination / path.name).write_bytes(path.read_bytes())


def _link_flags() -> str:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    values = {"gitVersion": f"v{KUBERNETES_VERSION}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    stamps = [f"-X {package}.{key}={value}" for package in _VERSION_PACKAGES for key, value in values.items()]
    return " ".join(["-s", "-w", *stamps])


def _go(arguments: list[str], folder: Path, environ: Mapping[str, str]) -> str:
    command = ["nice", "-n", "10", "go", *arguments]
    nothing = subprocess.DEVNULL
    done = subprocess.run(command, cwd=folder, env=dict(environ), stdin=nothing, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ChildFailed(f"building the control plane: go {arguments[0]} failed with status {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
