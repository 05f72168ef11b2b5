"""Which field of which repository says what runs: the file that maps targets to repositories and places in YAML files.

::

    repositories:
      shop: {url: https://git.example/acme/shop-config.git, branch: main, author: Release engine <release@acme.example>}
    environments:
      production: {repository: shop, weights: cluster}    # weights and aborts by the Kubernetes actuator
      staging: {repository: shop}                         # by commits alone: a version has all the traffic or none
    services:
      shop/cart:
        fields:
          - {file: "overlays/{environment}/kustomization.yaml", image: cart}          # Kustomize: images[name=cart].digest
      shop/orders:
        fields:
          - {file: "charts/orders/values-{environment}.yaml", value: image.digest}    # a Helm value
          - {file: "charts/orders/values-{environment}.yaml", value: image.release, write: label}
      shop/mail:
        fields:                                                                       # a field of a plain manifest
          - {file: mail.yaml, kind: Deployment, name: mail, field: "spec.template.spec.containers[name=mail].image"}

Read when a worker starts. A field must be there already, with any value: what is not there is never invented.
"""

from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ctrlplane_stream.actuators.gitops.yaml_text import Locator, path_problem
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.wire.yaml_documents import yaml_document

AUTHOR = "ctrlplane-stream <ctrlplane-stream@localhost>"


class GitPlacementError(ValueError):
    """The placement file cannot be used; the text names the file and says what to change."""


class Weights(StrEnum):
    """What moves weight: a commit, all or nothing; or the cluster's API, while commits declare the versions."""

    COMMIT = "commit"
    CLUSTER = "cluster"


class Writes(StrEnum):
    """What a field holds of a version: its digest, image and digest, its label (``#3``), or every version that exists."""

    DIGEST = "digest"
    IMAGE = "image"
    LABEL = "label"
    VERSIONS = "versions"


class Field(msgspec.Struct, frozen=True):
    """A scalar in a file of the repository, and what is written there."""

    file: str
    where: Locator
    write: Writes

    def __str__(self) -> str:
        return f"{self.file}: {self.where.path}"


class Repository(msgspec.Struct, frozen=True):
    """A repository and the branch that Argo CD or Flux follows. ``author``: ``Name <address>`` of our commits."""

    url: str
    branch: str = "main"
    author: str = AUTHOR


class GitPlace(msgspec.Struct, frozen=True):
    """Where one target is declared."""

    repository: Repository
    fields: tuple[Field, ...]
    weights: Weights


class _Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    file: str
    image: str | None = None
    value: str | None = None
    field: str | None = None
    kind: str | None = None
    name: str | None = None
    write: Writes | None = None


class _Repository(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    branch: str = "main"
    author: str = AUTHOR


class _Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    repository: str
    weights: Weights = Weights.COMMIT


class _Override(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fields: tuple[_Field, ...]


class _Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fields: tuple[_Field, ...] = ()
    environments: dict[str, _Override] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    repositories: dict[str, _Repository]
    environments: dict[str, _Environment]
    services: dict[str, _Service]


class GitPlacements:
    """The places of all targets that a file names."""

    def __init__(self, places: dict[Target, GitPlace]) -> None:
        self._places = places

    def place(self, target: Target) -> GitPlace | None:
        """Where a target is declared, or None where the file does not name it."""
        return self._places.get(target)

    def all(self) -> tuple[tuple[Target, GitPlace], ...]:
        """Every target with its place, sorted."""
        return tuple(sorted(self._places.items()))


def read_git_placements(path: Path) -> GitPlacements:
    """The placements in a file. Raises GitPlacementError."""
    try:
        document = yaml_document(path.read_text())
        file = msgspec.convert({} if document is None else document, _File)
        return GitPlacements(_places(file))
    except OSError as error:
        raise GitPlacementError(f"{path}: {error.strerror}; CTRLPLANE_GITOPS_PLACEMENT must name a file that can be read") from error
    except ValueError as error:
        raise GitPlacementError(f"{path}: {error}") from error


def _places(file: _File) -> dict[Target, GitPlace]:
    for name, repository in sorted(file.repositories.items()):
        if (wrong := _url_problem(repository.url) or _author_problem(repository.author)) is not None:
            raise GitPlacementError(f"repository {name}: {wrong}")
    places: dict[Target, GitPlace] = {}
    owners: dict[tuple[str, str, Locator], Target] = {}
    for environment, here in sorted(file.environments.items()):
        if here.repository not in file.repositories:
            raise GitPlacementError(f"environment {environment} names the repository {here.repository}, which is not listed")
        repository = file.repositories[here.repository]
        for service, entry in sorted(file.services.items()):
            written = entry.environments[environment].fields if environment in entry.environments else entry.fields
            if not written:
                continue
            target = Target(environment, service)
            fields = tuple(_field(each, target) for each in written)
            for field in fields:
                owner = owners.setdefault((repository.url + repository.branch, field.file, field.where), target)
                if owner != target:
                    raise GitPlacementError(f"{owner} and {target} would write the same field ({field})")
            places[target] = GitPlace(Repository(repository.url, repository.branch, repository.author), fields, here.weights)
    unknown = sorted({name for entry in file.services.values() for name in entry.environments} - set(file.environments))
    if unknown:
        raise GitPlacementError(f"{', '.join(unknown)} is not listed under environments")
    return places


def _field(entry: _Field, target: Target) -> Field:
    ways = [way for way in (entry.image, entry.value, entry.field) if way is not None]
    if len(ways) != 1:
        raise GitPlacementError(f"{target}: a field of {entry.file} needs exactly one of image, value and field")
    if entry.image is not None:
        where, write = Locator(f"images[name={entry.image}].digest"), Writes.DIGEST
    elif entry.value is not None:
        where, write = Locator(entry.value), Writes.DIGEST
    else:
        if entry.kind is None:
            raise GitPlacementError(f"{target}: the field {entry.field} of {entry.file} needs the kind (and name) of its manifest")
        where, write = Locator(str(entry.field), entry.kind, entry.name), Writes.IMAGE
    if (wrong := path_problem(where.path)) is not None:
        raise GitPlacementError(f"{target}: {wrong}")
    file = entry.file.replace("{environment}", target.environment)
    if file.startswith("/") or ".." in file.split("/"):
        raise GitPlacementError(f"{target}: {file} must be a path inside the repository")
    return Field(file.removeprefix("./"), where, entry.write or write)


def _url_problem(url: str) -> str | None:
    parts = urlsplit(url)
    if parts.password is not None:
        return "its URL holds a password, which logs would show: set CTRLPLANE_GITOPS_TOKEN, or a credential helper of git"
    if parts.scheme == "git":
        return "git:// cannot be pushed to: use https:// or ssh://"
    if parts.scheme in ("http", "https", "ssh", "file") or url.startswith("/") or ("@" in url and ":" in url and "://" not in url):
        return None
    return f"{url!r} is no URL that can be pushed to: https://, http://, ssh://, user@host:path, file:// or a path from the root"


def _author_problem(author: str) -> str | None:
    name, bracket, address = author.partition(" <")
    fine = bool(name and bracket and address.endswith(">") and "<" not in address and "\n" not in author)
    return None if fine else f"author {author!r} must be written: Name <address>"
