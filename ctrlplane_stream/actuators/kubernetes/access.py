"""Where an API server is and who we are to it: from a kubeconfig context, or from inside a Pod.

Credentials are the official client's business (exec plugins, in-cluster mounts); requests are ours (``api.py``), because that client
blocks. It reads most of them once, though, and whoever rotates them replaces certificates, keys, tokens and whole kubeconfigs under a
worker that runs for months: so they are found anew (``renewed``) when the server does not know them, or we do not know it.
"""

import functools
import os
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from kubernetes import client, config
from kubernetes.config import kube_config
from kubernetes.config.exec_provider import ExecProvider

from ctrlplane_stream.actuators.port import WorldUnreachable

_PLUGIN_SECONDS = 15
"""For a credential plugin that nobody can answer: the official client would wait for ever for one that hangs."""
_ENDED_IN_TIME = """
import os, signal, subprocess, sys
seconds, *command = sys.argv[1:]
try:
    plugin = subprocess.Popen(command, start_new_session=True)
    sys.exit(plugin.wait(float(seconds)))
except OSError as error:
    sys.exit(str(error))
except subprocess.TimeoutExpired:
    os.killpg(plugin.pid, signal.SIGKILL)
    sys.exit(f"{command[0]} gave no answer within {seconds} s and was ended")
"""


class AccessError(WorldUnreachable):
    """No credentials for the cluster; the text says where they were looked for."""


class Access(msgspec.Struct, frozen=True):
    """A server's URL, how to trust it, and the value of the ``Authorization`` header at the moment it is asked for.

    ``server_name``: by what name its certificate is for another; ``proxy``: the URL of the one before it. ``renewed`` finds all of it anew,
    and may raise AccessError; None where there is nothing to look for.
    """

    server: str
    tls: ssl.SSLContext | None
    authorization: Callable[[], str | None]
    server_name: str | None = None
    proxy: str | None = None
    renewed: "Callable[[], Access] | None" = None


class _EndedInTime(ExecProvider):
    """Runs a credential plugin, and ends it with all that it started where it hangs; at a terminal somebody may have to answer it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        if os.name == "posix" and not sys.stdout.isatty():
            self.args: list[str] = [sys.executable, "-I", "-S", "-c", _ENDED_IN_TIME, str(_PLUGIN_SECONDS), *self.args]


vars(kube_config)["ExecProvider"] = _EndedInTime  # The client offers no other way to say how one is run.


def token_access(server: str, token: str, certificate_authority: str | None = None) -> Access:
    """Access by a bearer token; ``certificate_authority`` is a path (PEM), None for what the system trusts."""
    tls = ssl.create_default_context(cafile=certificate_authority) if server.startswith("https") else None
    return Access(server.rstrip("/"), tls, lambda: f"Bearer {token}")


def find_access(context: str | None = None) -> Access:
    """Access by a kubeconfig context ($KUBECONFIG or ~/.kube/config; None: the current one, or the Pod's own account)."""
    configuration: Any = client.Configuration()
    configuration.proxy = None  # The environment's, of which it knows no exceptions.
    kube: Any = config
    file = os.environ.get("KUBECONFIG") or None  # The client itself reads the variable once, on import.
    inside = context is None and file is None and not Path(config.KUBE_CONFIG_DEFAULT_LOCATION).expanduser().exists()
    where = f"context {context} of the kubeconfig" if context else "the kubeconfig or the Pod's service account"
    try:  # Its own ``load_config`` prints which of the two it takes.
        if inside:
            kube.load_incluster_config(client_configuration=configuration)
        else:
            kube.load_kube_config(config_file=file, context=context, client_configuration=configuration)
        tls = _tls(configuration)
        trouble = None if inside else _trouble(_user(file, context), configuration)
    except (config.ConfigException, yaml.YAMLError, OSError, TypeError, ValueError) as error:  # ValueError: half of a rotated file
        raise AccessError(f"no access to a cluster by {where}: {error}") from error
    if trouble is not None:
        raise AccessError(f"no access to a cluster by {where}: {trouble}")
    return Access(
        configuration.host.rstrip("/"),
        tls,
        lambda: _authorization(configuration),
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
        renewed=functools.partial(find_access, context),
    )


def _user(file: str | None, context: str | None) -> Mapping[str, Any]:
    """The context's user in the kubeconfig; empty where it names none."""
    known: Any = kube_config
    contexts, active = known.list_kube_config_contexts(config_file=file)
    chosen = active if context is None else next(each for each in contexts if each["name"] == context)
    if "user" not in chosen["context"]:
        return {}
    merged = known.KubeConfigMerger(file or config.KUBE_CONFIG_DEFAULT_LOCATION).config
    found: Mapping[str, Any] = merged["users"].get_with_name(chosen["context"]["user"])["user"].value
    return found


def _trouble(user: Mapping[str, Any], configuration: Any) -> str | None:
    """What of a user the official client passes over, so that we would act as another; or None."""
    if "as" in user:
        return "acting as somebody else (`as`) is not supported: give that one credentials of its own"
    knows = configuration.cert_file or configuration.api_key
    if "exec" in user and not knows:  # We would go on as nobody, whom a server forbids everything, for good.
        return (
            f"its credential plugin {user['exec'].get('command')} gave none, for which it has {_PLUGIN_SECONDS} s: the log has what it said"
        )
    return None


def _authorization(configuration: Any) -> str | None:
    """Asking for the key lets the client refresh it where it is about to expire. A token from a file may end its line."""
    settings: dict[str, dict[str, str]] = configuration.auth_settings()
    return next((scheme["value"].strip() for scheme in settings.values() if scheme.get("in") == "header"), None)


def _tls(configuration: Any) -> ssl.SSLContext | None:
    if not configuration.host.startswith("https"):
        return None
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, configuration.key_file)
    return tls
