"""What a new catalog changes: in a few words which environments, services and policies, and field by field in those of the file."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml

from ctrlplane_stream.model.catalog import Catalog
from ctrlplane_stream.wire.catalog_file import sparse

_NOTHING = "nothing"


def changes(before: Catalog | None, after: Catalog) -> list[str]:
    """A line for each kind of thing that changes, such as ``services: shop/cart added, shop/web changed``; the first catalog adds all."""
    old = before or Catalog({}, {})
    kinds: tuple[tuple[str, Mapping[str, object], Mapping[str, object]], ...] = (
        ("environments", old.environments, after.environments),
        ("services", old.services, after.services),
        ("policies", old.policies, after.policies),
    )
    return [f"{kind}: {said}" for kind, was, now in kinds if (said := _changed(was, now))]


def _changed(was: Mapping[str, object], now: Mapping[str, object]) -> str:
    added = [name for name in now if name not in was]
    removed = [name for name in was if name not in now]
    other = [name for name in now if name in was and now[name] != was[name]]
    kinds = ((added, "added"), (removed, "removed"), (other, "changed"))
    return "; ".join(f"{', '.join(sorted(names))} {how}" for names, how in kinds if names)


def differences(before: Catalog | None, after: Catalog) -> list[str]:
    """A line for each field that changes: where it stands in the file, what it is and what it would be, such as
    ``policies.quick.bake_seconds: 30.0 -> 40.0``. What is so by default is told as that, since no file says it."""
    return [f"{'.'.join(path)}: {_flow(was)} -> {_flow(now)}" for path, was, now in _differing((), before or Catalog({}, {}), after)]


def _differing(path: tuple[str, ...], was: Any, now: Any) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Every place below the path where the two differ, as deep as both have one; ``UNSET`` for what one does not have."""
    if was == now:
        return
    old, new = _parts(was), _parts(now)
    lists = isinstance(was, tuple) and isinstance(now, tuple)
    if old is None or new is None or (lists and len(old) != len(new)):
        yield path, was, now
        return
    for name in dict.fromkeys((*old, *new)):
        yield from _differing((*path, name), old.get(name, msgspec.UNSET), new.get(name, msgspec.UNSET))


def _parts(value: Any) -> Mapping[str, Any] | None:
    """What a value is made of, by the names that the file has for it; None for one that is told as a whole."""
    if isinstance(value, msgspec.Struct):
        return {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
    if isinstance(value, tuple) and all(isinstance(item, msgspec.Struct) for item in value):
        return {str(at): item for at, item in enumerate(value)}
    return value if isinstance(value, dict) else None


def _flow(value: Any) -> str:
    """The value on one line, as it could stand in the file."""
    if value is None or value is msgspec.UNSET:
        return _NOTHING
    return (
        yaml.safe_dump(sparse(value), default_flow_style=True, sort_keys=False, allow_unicode=True, width=1 << 30)
        .removesuffix("...\n")
        .strip()
    )
