"""What of one's own settings an installation hands to its worker: variables, keys of one Secret, and files that lie in it.

Whatever is not at its default goes along, so that a worker in the cluster reaches the broker as the command here does. No
secret's value and no key is read: the Secret is made by whoever has them, and ``secret_command`` says how.
"""

import shlex

import msgspec

from ctrlplane_stream.settings import SETTINGS, Settings

SECRET = "ctrlplane-stream"
"""The one Secret, in the worker's namespace: secret settings by their variables, files by the names of ``_FILES``."""

SECRET_FOLDER = "/etc/ctrlplane-stream-secret"
PLACEMENT_FOLDER = "/etc/ctrlplane-stream"
GITOPS_FILE = "gitops.yaml"
_CLONES = "/tmp/gitops"  # noqa: S108 - a folder of the Pod's own, where it may write

_FILES = {"kafka_ssl_cafile": "ca.pem", "kafka_ssl_certfile": "cert.pem", "kafka_ssl_keyfile": "key.pem"}
_OF_THE_POD = frozenset({"instance", "kubernetes_placement", "gitops_placement", "gitops_folder"})
"""Where something lies here says nothing about a Pod, and each of several Pods has its own name."""


class HandedOver(msgspec.Struct, frozen=True):
    """``environment``: variables and values; ``secrets``: variables whose values are keys of the Secret; ``files``: key to path here."""

    environment: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    files: dict[str, str] = {}


def hand_over(settings: Settings) -> HandedOver:
    """Everything that differs from its default, each in its way."""
    environment = {name: text for name, text in settings.variables().items() if name in _plain()}
    files = {key: path for name, key in _FILES.items() if (path := getattr(settings, name))}
    environment |= {s.variable: f"{SECRET_FOLDER}/{_FILES[s.name]}" for s in SETTINGS if s.name in _FILES and getattr(settings, s.name)}
    if settings.gitops_placement:
        environment |= {"CTRLPLANE_GITOPS_PLACEMENT": f"{PLACEMENT_FOLDER}/{GITOPS_FILE}", "CTRLPLANE_GITOPS_FOLDER": _CLONES}
    return HandedOver(environment, tuple(s.variable for s in SETTINGS if s.secret and getattr(settings, s.name)), files)


def secret_command(handed: HandedOver, namespace: str) -> str | None:
    """What to type (in bash) to make the Secret from the same environment; None where none is needed. No value is in it."""
    if not handed.secrets and not handed.files:
        return None
    # A file that printf, a part of the shell, writes: a literal would show in the process list.
    keys = [f'--from-file={name}=<(printf %s "${name}")' for name in handed.secrets]
    keys += [f"--from-file={key}={shlex.quote(path)}" for key, path in handed.files.items()]
    return f"kubectl -n {namespace} create secret generic {SECRET} {' '.join(keys)}"


def _plain() -> frozenset[str]:
    return frozenset(s.variable for s in SETTINGS if not s.secret and s.name not in _FILES and s.name not in _OF_THE_POD)
