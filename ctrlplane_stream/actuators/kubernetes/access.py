"""Where an API server is and who we are to it: from a kubeconfig context, or from inside a Pod.

Credentials are the official client's business (exec plugins, rotated tokens, in-cluster mounts); requests are ours
(``api.py``), because that client blocks.
"""

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from kubernetes import client, config

from ctrlplane_stream.actuators.port import WorldUnreachable


class AccessError(WorldUnreachable):
    """No credentials for the cluster; the text says where they were looked for."""


class Access(msgspec.Struct, frozen=True):
    """A server's URL, how to trust it, and the value of the ``Authorization`` header at the moment it is asked for."""

    server: str
    tls: ssl.SSLContext | None
    authorization: Callable[[], str | None]


def token_access(server: str, token: str, certificate_authority: str | None = None) -> Access:
    """Access by a bearer token; ``certificate_authority`` is a path (PEM), None for what the system trusts."""
    tls = ssl.create_default_context(cafile=certificate_authority) if server.startswith("https") else None
    return Access(server.rstrip("/"), tls, lambda: f"Bearer {token}")


def find_access(context: str | None = None) -> Access:
    """Access by a kubeconfig context ($KUBECONFIG or ~/.kube/config; None: the current one, or the Pod's own account)."""
    configuration: Any = client.Configuration()
    kube: Any = config
    file = os.environ.get("KUBECONFIG") or None  # The client itself reads the variable once, on import.
    try:  # Its own ``load_config`` prints which of the two it takes.
        if context is None and file is None and not Path(config.KUBE_CONFIG_DEFAULT_LOCATION).expanduser().exists():
            kube.load_incluster_config(client_configuration=configuration)
        else:
            kube.load_kube_config(config_file=file, context=context, client_configuration=configuration)
    except (config.ConfigException, TypeError) as error:
        where = f"context {context} of the kubeconfig" if context else "the kubeconfig or the Pod's service account"
        raise AccessError(f"no access to a cluster by {where}: {error}") from error
    return Access(configuration.host.rstrip("/"), _tls(configuration), lambda: _authorization(configuration))


def _authorization(configuration: Any) -> str | None:
    """Asking for the key lets the client refresh it where it is about to expire."""
    settings: dict[str, dict[str, str]] = configuration.auth_settings()
    return next((scheme["value"] for scheme in settings.values() if scheme.get("in") == "header"), None)


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
