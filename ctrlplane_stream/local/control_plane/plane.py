"""The control plane as child processes: etcd, kube-apiserver with RBAC on, and the controllers that Deployments need.

Everything listens on 127.0.0.1 and ends with us. About 5 s to ready and 700 MB. There is no scheduler and no node: the
``kubelet`` module plays both. The set-up's token is that of ``system:masters``; whatever is tested gets a token of a
user of its own, which can do what RBAC grants it and nothing else.
"""

import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from ctrlplane_stream.local.control_plane.binary import control_plane_folder
from ctrlplane_stream.local.processes import ChildFailed, ChildProcess, free_port
from ctrlplane_stream.local.scratch import scratch_folder

_READY_SECONDS = 180.0
"""It takes about 5 s, and more than 60 were seen on two cores that thirty others wanted."""
_CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "job-controller",
    "cronjob-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "disruption-controller",
    "horizontal-pod-autoscaler-controller",
    "resourcequota-controller",
)
_START_ATTEMPTS = 3


class ControlPlane:
    """A cluster from ``with`` to its end. ``users`` are names that get a token each, without any rights.

    Without ``controllers`` it takes and tells what is applied, and nothing of it ever runs: for a second cluster, and soon there.
    """

    def __init__(self, users: tuple[str, ...] = (), environ: Mapping[str, str] = os.environ, *, controllers: bool = True) -> None:
        self._controlled = controllers
        self._programs = control_plane_folder(environ)
        self._folder = scratch_folder("kubernetes")
        self.admin_token = secrets.token_hex(16)
        self.tokens = {user: secrets.token_hex(16) for user in users}
        self._port = 0
        self._etcd: ChildProcess | None = None
        self._api_server: ChildProcess | None = None
        self._controllers: ChildProcess | None = None

    @property
    def server(self) -> str:
        """The URL of the API server, the same across its restarts."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def certificate_authority(self) -> Path:
        """What signs the API server's certificate (PEM)."""
        return self._folder / "apiserver" / "apiserver.crt"

    @property
    def client_authority(self) -> Path:
        """What must have signed the certificates by which users show who they are (PEM); its key is beside it."""
        return self._folder / "clients.crt"

    @property
    def crds(self) -> tuple[Path, ...]:
        """The Gateway API's definitions that routes need, as files."""
        names = ("gatewayclasses", "gateways", "grpcroutes", "httproutes")
        return tuple(self._programs / "crds" / f"gateway.networking.k8s.io_{name}.yaml" for name in names)

    def start(self) -> Self:
        """Serve; returns when the API server is ready. Raises ChildFailed with a program's last words."""
        _service_account_keys(self._folder)
        _authority(self.client_authority, "clients")
        rows = [f'{self.admin_token},admin,admin,"system:masters"', *(f"{token},{user},{user}" for user, token in self.tokens.items())]
        (self._folder / "tokens.csv").write_text("\n".join(rows) + "\n")
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                self._start_etcd()
                self._port = free_port()
                self.start_api_server()
                break
            except ChildFailed as failure:
                self._end_children()
                if attempt == _START_ATTEMPTS or "address already in use" not in str(failure):
                    raise
        if self._controlled:
            self._start_controllers()
        return self

    def start_api_server(self) -> None:
        """Start the API server (again), on its port and with its data."""
        options = {
            "bind-address": "127.0.0.1",
            "secure-port": self._port,
            "cert-dir": self._folder / "apiserver",
            "etcd-servers": self._etcd_url,
            "service-cluster-ip-range": "10.96.0.0/16",
            "authorization-mode": "RBAC",
            "token-auth-file": self._folder / "tokens.csv",
            "client-ca-file": self.client_authority,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self._folder / "accounts.pub",
            "service-account-signing-key-file": self._folder / "accounts.key",
            "disable-admission-plugins": "ServiceAccount",
            "endpoint-reconciler-type": "none",
            "allow-privileged": "false",
            "shutdown-delay-duration": "0s",
            "v": "0",
        }
        self._api_server = self._child("kube-apiserver", options)
        self._api_server.wait_ready(self.ready, _READY_SECONDS)

    def kill_api_server(self) -> None:
        """A crash of the API server (SIGKILL); ``start_api_server`` brings it back."""
        assert self._api_server is not None
        self._api_server.kill()

    def pause_api_server(self) -> None:
        """Stop answering without closing connections (SIGSTOP)."""
        assert self._api_server is not None
        self._api_server.signal(signal.SIGSTOP)

    def resume_api_server(self) -> None:
        """Go on after ``pause_api_server``."""
        assert self._api_server is not None
        self._api_server.signal(signal.SIGCONT)

    def compact(self) -> int:
        """Make the store forget every state but the newest (etcd's compaction); its revision."""
        revision = int(_told(self._etcd_url + "/v3/maintenance/status", {})["header"]["revision"])
        _told(self._etcd_url + "/v3/kv/compaction", {"revision": str(revision), "physical": True})
        return revision

    def look(self) -> None:
        """Raise ChildFailed, with its last words, where a part has ended that was not told to."""
        for child in (self._etcd, self._api_server, self._controllers):
            if child is not None and not child.running:
                raise ChildFailed(f"{child.name} ended with status {child.returncode}:\n{child.log_tail()}")

    def ready(self) -> bool:
        """Whether the API server says that it is ready."""
        if not self.certificate_authority.exists():
            return False
        request = urllib.request.Request(self.server + "/readyz", headers={"Authorization": f"Bearer {self.admin_token}"})
        try:
            trust = ssl.create_default_context(cafile=str(self.certificate_authority))
            with urllib.request.urlopen(request, context=trust, timeout=2.0) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    @property
    def programs(self) -> Path:
        """The folder in which ``kubectl`` lies, of the server's own version."""
        return self._programs

    def kubeconfig(self, token: str, name: str = "test") -> Path:
        """A kubeconfig file for that token; its one context has that name."""
        path = self._folder / f"{name}.kubeconfig"
        cluster = {"server": self.server, "certificate-authority": str(self.certificate_authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def close(self) -> None:
        """End everything at once and remove the data."""
        self._end_children()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _start_etcd(self) -> None:
        port, peers = free_port(), free_port()
        self._etcd_url = f"http://127.0.0.1:{port}"
        shutil.rmtree(self._folder / "etcd", ignore_errors=True)
        options = {
            "data-dir": self._folder / "etcd",
            "listen-client-urls": self._etcd_url,
            "advertise-client-urls": self._etcd_url,
            "listen-peer-urls": f"http://127.0.0.1:{peers}",
            "initial-advertise-peer-urls": f"http://127.0.0.1:{peers}",
            "initial-cluster": f"default=http://127.0.0.1:{peers}",
            "unsafe-no-fsync": "true",
            "log-level": "error",
        }
        self._etcd = self._child("etcd", options)
        self._etcd.wait_ready(lambda: _healthy(self._etcd_url), _READY_SECONDS)

    def _start_controllers(self) -> None:
        options = {
            "kubeconfig": self.kubeconfig(self.admin_token, "controllers"),
            "controllers": ",".join(_CONTROLLERS),
            "horizontal-pod-autoscaler-sync-period": "1s",
            "kube-api-qps": 500,  # The default of 20 spares a server that others use too; here everybody would wait for it.
            "kube-api-burst": 1000,
            "service-account-private-key-file": self._folder / "accounts.key",
            "secure-port": 0,
            "leader-elect": "false",
            "v": "0",
        }
        self._controllers = self._child("kube-controller-manager", options)

    def _child(self, part: str, options: Mapping[str, object]) -> ChildProcess:
        command = [str(self._programs / part), *(f"--{key}={value}" for key, value in options.items())]
        return ChildProcess(part, command, log=self._folder / f"{part}.log")

    def _end_children(self) -> None:
        for child in (self._controllers, self._api_server, self._etcd):
            if child is not None:
                child.kill()


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/health", timeout=2.0) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _told(url: str, body: Mapping[str, object]) -> dict[str, Any]:
    """What etcd answers through its JSON gateway. Raises OSError."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10.0) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def _service_account_keys(folder: Path) -> None:
    key, public = folder / "accounts.key", folder / "accounts.pub"
    _openssl("genrsa", "-out", key, "2048")
    _openssl("rsa", "-in", key, "-pubout", "-out", public)


def _authority(certificate: Path, name: str) -> None:
    """A CA that signs itself, its key beside it."""
    key = certificate.with_suffix(".key")
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}", "-keyout", key, "-out", certificate)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
