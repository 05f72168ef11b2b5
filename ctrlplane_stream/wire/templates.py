"""Templates that a catalog names: people write ``cart.yaml``, a file beside theirs, and what is published is ``cart.yaml@sha256:HEX``.

The digest is that of the file's bytes, as ``sha256sum`` prints it. So a changed template is a changed catalog, and a version says for ever
which one it is made from, whatever the file of that name has become.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from ctrlplane_stream.model.catalog import Catalog, ServiceEntry

ContentsOf = Callable[[str], bytes | None]
"""The bytes of the file of that name beside the catalog, or None where there is none."""
_RESOLVED = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
_Located = tuple[tuple[Any, ...], str]


def template_name(name: str, contents: bytes) -> str:
    """A template by name and digest: ``NAME@sha256:HEX``."""
    return f"{name}@sha256:{hashlib.sha256(contents).hexdigest()}"


def digest_of(template: str) -> str:
    """The part of ``NAME@sha256:HEX`` that says which template it is; the name is for people."""
    return template.rpartition("@")[2]


def unresolved(catalog: Catalog) -> Iterator[_Located]:
    """Templates that are not named by their digest, each with its place."""
    for path, template in _named(catalog):
        if not _RESOLVED.fullmatch(template):
            text = f"the template {template[:100]!r} is not named by its digest, NAME@sha256:HEX; use `ctrlplane-stream catalog apply`"
            yield path, f"service {path[1]}: {text}"


def template_problems(catalog: Catalog, contents_of: ContentsOf) -> Iterator[_Located]:
    """What keeps the templates of a file from being named by their digests, each with its place."""
    for path, template in _named(catalog):
        if (wrong := _problem(template, contents_of)) is not None:
            yield path, f"service {path[1]}: {wrong}"


def _problem(template: str, contents_of: ContentsOf) -> str | None:
    name, _, digest = template.partition("@")
    contents = contents_of(name)
    if digest and not _RESOLVED.fullmatch(template):
        return f"the template {template!r} is no NAME@sha256: with 64 hexadecimal digits: say NAME alone, and its file is taken as it is"
    if not digest and contents is None:
        return (
            f"there is no file {name!r} beside the catalog: put the template there, or name it by its digest, "
            f"NAME@sha256:HEX (`ctrlplane-stream catalog show` has what is in force)"
        )
    if digest and contents is not None and template_name(name, contents) != template:
        there = digest_of(template_name(name, contents))
        return f"the file {name} is {there}, and the catalog names {digest}: say `template: {name}` to take the file as it is"
    return None


def resolved(catalog: Catalog, contents_of: ContentsOf) -> Catalog:
    """The catalog with every template named by its digest, where nothing keeps it from that."""

    def of(template: str | None) -> str | None:
        contents = contents_of(template) if template and "@" not in template else None
        return template if template is None or contents is None else template_name(template, contents)

    def entry(service: ServiceEntry) -> ServiceEntry:
        here = {where: replace(override, template=of(override.template)) for where, override in service.environments.items()}
        return replace(service, template=of(service.template), environments=here)

    return replace(catalog, services={name: entry(service) for name, service in catalog.services.items()})


def _named(catalog: Catalog) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every template that is named, with its place in the file."""
    for name, service in catalog.services.items():
        if service.template is not None:
            yield ("services", name, "template"), service.template
        for where, here in service.environments.items():
            if here.template is not None:
                yield ("services", name, "environments", where, "template"), here.template
